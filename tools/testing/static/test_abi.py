# SPDX-License-Identifier: GPL-2.0-only
"""The documents of sysfs files agree with the code."""

import re

from rnbdbench import abi
from rnbdbench.settings import TREE

MODULES = ("rtrs", "rnbd-client", "rnbd-server")

DECLARATION = re.compile(r"sysfs_files! \{\n.*?^\}", re.S | re.M)
FILE = re.compile(r'^\s+c"(\w+)" =>', re.M)

NOT_FILES = {"block_dev", "<device>@<session>"}
"""Links."""


def _declared() -> set[str]:
    """Returns the names of the files that the modules declare."""
    names = set()
    for module in MODULES:
        for source in (TREE / module).rglob("*.rs"):
            for block in DECLARATION.findall(source.read_text(encoding="utf-8")):
                names |= set(FILE.findall(block))
    return names


def test_every_entry_is_complete() -> None:
    """All fields, in the order of the kernel's documents, and a description."""
    wrong = [
        f"{entry.document}: {entry.what}"
        for entry in abi.entries()
        if entry.fields != abi.FIELDS or not entry.text.endswith(".")
    ]
    assert not wrong


def test_no_file_has_two_entries() -> None:
    """A path is described once."""
    paths = [entry.what for entry in abi.entries()]
    assert sorted(paths) == sorted(set(paths))


def test_documents_and_code_name_the_same_files() -> None:
    """By their last names; where they are is for a test with a guest."""
    documented = {entry.what.rsplit("/", 1)[-1] for entry in abi.entries()}
    assert documented - NOT_FILES == _declared()
