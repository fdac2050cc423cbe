# SPDX-License-Identifier: GPL-2.0-only
"""Files of sysfs: expected and actual modes and contents."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

from rnbdbench.guest import Guest

_LOOK = """
import json, os, sys
found = {}
for folder in sys.argv[1:]:
    found[folder] = files = {}
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and name != "uevent":
            mode = os.stat(path).st_mode & 0o7777
            with open(path) as file:
                files[name] = oct(mode)[2:], file.read()
print(json.dumps(found))
"""


@dataclass(frozen=True)
class File:
    """The expected properties of a file."""

    content: str
    """A regular expression for the whole content, including the newline at the end."""
    mode: str = "444"
    refused: Mapping[str, str] = field(default_factory=dict)
    """Texts that the file refuses, and the names of the errors."""
    beyond: bool = False
    """Whether the C drivers lack the file."""


Folder = Mapping[str, File]
"""The files of a folder by their names."""


def look(guest: Guest, folders: list[str]) -> dict[str, dict[str, tuple[str, str]]]:
    """Returns mode and content of each file of some folders, except `uevent`."""
    words = " ".join(map(shlex.quote, folders))
    found = json.loads(guest.output(f"python3 -I -S -c {shlex.quote(_LOOK)} {words}"))
    return {
        folder: {name: (mode, text) for name, (mode, text) in files.items()}
        for folder, files in found.items()
    }


def differences(
    wanted: Mapping[str, Folder], found: Mapping[str, Mapping[str, tuple[str, str]]]
) -> list[str]:
    """Returns the differences from the expected properties, a line for each file."""
    wrong = []
    for folder, files in wanted.items():
        there = found[folder]
        for name in sorted(files.keys() ^ there.keys()):
            wrong.append(f"{folder}/{name}: {'missing' if name in files else 'unexpected'}")
        for name in sorted(files.keys() & there.keys()):
            mode, text = there[name]
            if mode != files[name].mode:
                wrong.append(f"{folder}/{name}: mode {mode}, not {files[name].mode}")
            if not re.fullmatch(files[name].content, text):
                wrong.append(f"{folder}/{name}: {text!r} is not {files[name].content!r}")
    return wrong
