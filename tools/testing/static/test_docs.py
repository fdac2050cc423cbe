# SPDX-License-Identifier: GPL-2.0-only
"""The pages of the documentation name files, types and locks that exist."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from rnbdbench import table
from rnbdbench.settings import TREE

FOLDERS = ("proto", "rtrs", "rnbd-client", "rnbd-server", "tools", "Documentation")
MODULES = ("rtrs", "rnbd-client", "rnbd-server")
PAGES = [TREE / "README.md", *sorted((TREE / "Documentation").glob("*.md"))]

FENCE = re.compile(r"^\s*```.*?^\s*```", re.S | re.M)
QUOTED = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
PATH = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./<>-]*")
TYPE = re.compile(r"[A-Z][a-z0-9]+[A-Za-z0-9]*(?:<\w+>)?(?:::\w+)*(?:\(\))?")
LOCK = re.compile(r"(\w+) <- new_(?:mutex|noio_mutex|spinlock|spinlock_irq)!")


@cache
def _words() -> set[str]:
    """Every identifier of the sources."""
    words: set[str] = set()
    for folder in FOLDERS:
        for source in (TREE / folder).rglob("*"):
            if source.suffix in {".rs", ".py", ".c", ".h", ".sh"} and "target" not in source.parts:
                words |= set(re.findall(r"\w+", source.read_text(encoding="utf-8")))
    return words


def _texts() -> Iterator[tuple[str, str]]:
    """Name and text of each page, without its examples."""
    for page in PAGES:
        yield page.name, FENCE.sub("", page.read_text(encoding="utf-8"))


def _slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


def _anchors(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return {_slug(heading) for heading in re.findall(r"^#+ (.*)", text, re.M)}


def test_links_lead_somewhere() -> None:
    """To a file of the tree, and to a heading in it."""
    broken = []
    for page in PAGES:
        for target, anchor in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
            if target.startswith(("http:", "https:")):
                continue
            file = page.parent / target if target else page
            if not file.exists() or (anchor and anchor not in _anchors(file)):
                broken.append(f"{page.name}: {target}#{anchor}")
    assert not broken


def test_named_files_exist() -> None:
    """Paths from the top of the tree."""
    missing = [
        f"{name}: {path}"
        for name, text in _texts()
        for quoted in QUOTED.findall(text)
        for path in PATH.findall(quoted)
        if PATH.fullmatch(quoted) and "<" not in path and not (TREE / path).exists()
    ]
    assert not missing


def test_kernels_are_those_of_the_table() -> None:
    """In the same order, with the architecture and what is tested."""
    text = (TREE / "Documentation" / "kernels.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([^`]+)` \| (\w+) \| (\w+) \|$", text, re.M)
    assert listed == [
        (kernel.name, kernel.architecture, kernel.tested) for kernel in table.kernels()
    ]


def test_named_types_exist() -> None:
    """Types, their fields and functions occur in the sources."""
    missing = [
        f"{name}: {quoted}"
        for name, text in _texts()
        for quoted in QUOTED.findall(text)
        if TYPE.fullmatch(quoted) and not (TREE / quoted).exists()
        for word in re.findall(r"\w+", quoted)
        if word not in _words()
    ]
    assert not missing


def test_all_locks_are_listed() -> None:
    """Each lock of the modules stands in locking.md, with its file, and no other does."""
    text = (TREE / "Documentation" / "locking.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `\w+::(\w+)` \| `([^`]+)` \| (?:mutex|spinlock)", text, re.M))
    made = set()
    for module in MODULES:
        for source in (TREE / module).rglob("*.rs"):
            for name in LOCK.findall(source.read_text(encoding="utf-8")):
                made.add((name, source.relative_to(TREE).as_posix()))
    assert made == listed
