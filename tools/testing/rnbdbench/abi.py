# SPDX-License-Identifier: GPL-2.0-only
"""The documents of sysfs files, in the format of the kernel's Documentation/ABI."""

import re
from dataclasses import dataclass

from rnbdbench import settings

FOLDER = settings.TREE / "Documentation" / "ABI"

FIELDS = ["What", "Date", "KernelVersion", "Contact", "Description"]
"""The fields of each entry, in this order."""


@dataclass(frozen=True)
class Entry:
    """The description of one file."""

    document: str
    fields: list[str]
    """Names of its fields, in their order."""
    what: str
    """The path, with placeholders such as `<session>`."""
    text: str
    """The description."""


def entries() -> list[Entry]:
    """Returns all entries of all documents."""
    found = []
    for document in sorted(FOLDER.iterdir()):
        _, *parts = re.split(r"^(?=What:)", document.read_text(encoding="utf-8"), flags=re.M)
        for part in parts:
            fields = re.findall(r"^(\w+):[ \t]*(.*)", part, flags=re.M)
            text = part.partition("Description:")[2].strip()
            found.append(Entry(document.name, [name for name, _ in fields], fields[0][1], text))
    return found
