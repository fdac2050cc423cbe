# SPDX-License-Identifier: GPL-2.0-only
"""Rules for every file of the tree."""

import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from rnbdbench.settings import TREE

LICENCE = "SPDX-License-Identifier: GPL-2.0-only"

GENERATED = {"Cargo.lock"}
"""Names of files that a tool writes, and would write without the line."""

UNSAFE_FOLDERS = (
    "rtrs/rdma",
    "rtrs/kernel_ext",
    "rtrs/bindings",
    "rnbd-client/mq",
    "rnbd-server/bdev",
)
"""Where `unsafe` may be, beside the module entry points."""

ENTRY_POINTS = ("rtrs/rtrs.rs", "rnbd-client/rnbd_client.rs", "rnbd-server/rnbd_server.rs")

MODULES = ("proto", "rtrs", "rnbd-client", "rnbd-server")


def tracked(pattern: str = "") -> list[Path]:
    """Files under version control, relative to the tree."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", *([pattern] if pattern else [])],
        cwd=TREE,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = [Path(name) for name in listing.split("\0") if name]
    return [name for name in names if (TREE / name).is_file()]


def rust_sources() -> list[Path]:
    """Rust files of the modules, tests of the host left out."""
    return [
        name
        for name in tracked("*.rs")
        if name.parts[0] in MODULES and "tests" not in name.parts and "fuzz" not in name.parts
    ]


def may_be_unsafe(name: Path) -> bool:
    """Whether a file is in a folder, or is the parent file of one, that may use `unsafe`."""
    path = name.as_posix()
    return path in ENTRY_POINTS or any(
        path.startswith(folder + "/") or path == folder + ".rs" for folder in UNSAFE_FOLDERS
    )


def code_of(line: str) -> str:
    """A line without its comment and its strings."""
    return re.sub(r'"(\\.|[^"\\])*"', '""', line).split("//")[0]


def unsafe_lines(name: Path) -> list[int]:
    """Numbers of the lines of a file that have `unsafe` in their code."""
    lines = (TREE / name).read_text().splitlines()
    return [
        number
        for number, line in enumerate(lines, 1)
        if re.search(r"\bunsafe\b", code_of(line)) and "unsafe_code" not in line
    ]


def test_every_file_names_its_licence() -> None:
    silent = []
    for name in tracked():
        if name.name in GENERATED:
            continue
        try:
            head = (TREE / name).read_text().splitlines()[:3]
        except UnicodeDecodeError:
            continue
        if not any(LICENCE in line for line in head):
            silent.append(str(name))
    assert not silent


def test_unsafe_only_where_it_may_be(record_property: Callable[[str, object], None]) -> None:
    total: Counter[str] = Counter()
    unsafe: Counter[str] = Counter()
    outside = []
    for name in rust_sources():
        found = unsafe_lines(name)
        if found and not may_be_unsafe(name):
            outside += [f"{name}:{line}" for line in found]
        folder = name.parent.as_posix()
        total[folder] += len((TREE / name).read_text().splitlines())
        unsafe[folder] += len(found)
    unsafe["all"], total["all"] = unsafe.total(), total.total()
    folders = [*sorted(total.keys() - {"all"}), "all"]
    rows = [f"{folder:24} {unsafe[folder]:5} of {total[folder]:6}" for folder in folders]
    record_property("lines with unsafe, of all lines", "\n".join(rows))
    assert not outside


def test_every_unsafe_block_has_a_reason() -> None:
    """A `SAFETY` comment or a `# Safety` section stands close above each `unsafe`."""
    silent = []
    for name in rust_sources():
        lines = (TREE / name).read_text().splitlines()
        for number in unsafe_lines(name):
            code = code_of(lines[number - 1])
            # A type of function or a declaration makes no promise of its own.
            if re.search(r"unsafe\s+extern\b", code) or not re.search(r"unsafe\s*(\{|impl\b)", code):
                continue
            above = lines[max(0, number - 12) : number]
            if not any("SAFETY:" in line for line in above):
                silent.append(f"{name}:{number}")
    assert not silent


def denies_unsafe(name: Path) -> bool:
    """Returns whether a file, or one that it is a module of, denies `unsafe`."""
    # a/b/c.rs is a module of a/b.rs, or of the crate's root.
    above = [folder.with_suffix(".rs") for folder in name.parents if folder.name]
    if name.parts[0] == "proto":
        above.append(Path("proto/src/lib.rs"))
    return any(
        re.search(r"^#!\[(deny|forbid)\(unsafe_code\)\]", (TREE / path).read_text(), re.M)
        for path in (name, *above)
        if (TREE / path).is_file()
    )


def test_safe_files_deny_unsafe_code() -> None:
    """The compiler refuses `unsafe` wherever this file does."""
    safe = [name for name in rust_sources() if not may_be_unsafe(name)]
    # All crates have such files, and most are.
    assert {name.parts[0] for name in safe} == set(MODULES)
    assert [str(name) for name in safe if not denies_unsafe(name)] == []


def test_no_path_of_one_machine() -> None:
    """No file has a path in the home or the cache of one user."""
    pattern = re.compile(r"/root/\.cache|/home/\w+/|/work/(main|shared)")
    here = Path(__file__).resolve().relative_to(TREE)
    found = []
    for name in tracked():
        if name == here:
            continue
        try:
            text = (TREE / name).read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {match}" for match in pattern.findall(text)]
    assert not found


def test_rust_is_formatted() -> None:
    result = subprocess.run(
        ["rustfmt", "--check", "--color=never", *map(str, tracked("*.rs"))],
        cwd=TREE,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        pytest.fail(result.stdout + result.stderr, pytrace=False)
