# SPDX-License-Identifier: GPL-2.0-only
"""The build has no warnings, and repeats no work.

Everything is built in a copy of the tree, so the files that a user works on
keep their times.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rnbdbench import settings
from rnbdbench.settings import TREE

SOURCES = ("Kbuild", "Kconfig", "proto", "rtrs", "rnbd-client", "rnbd-server")

OBJECTS = {
    "proto/src/lib.o",
    "rtrs/rtrs.o",
    "rnbd-client/rnbd_client.o",
    "rnbd-server/rnbd_server.o",
}

MODULES = ("rtrs.ko", "rnbd_client.ko", "rnbd_server.ko")


class Build:
    """A copy of the sources, and the kernel's build system at work in it."""

    def __init__(self, kernel: str, folder: Path) -> None:
        """Copies the tree."""
        self.kernel = Path(os.environ[f"RNBD_{kernel.upper()}_BUILD"])
        self.source = folder / "source"
        self.source.mkdir()
        ignored = shutil.ignore_patterns("target", ".*", "*.o", "*.ko")
        for name in SOURCES:
            if (TREE / name).is_dir():
                shutil.copytree(TREE / name, self.source / name, ignore=ignored)
            else:
                shutil.copy(TREE / name, self.source / name)

    def make(self, *arguments: str) -> str:
        """Runs a module build, and returns its output."""
        result = subprocess.run(
            ["make", "-C", self.kernel, f"M={self.source}", f"-j{os.cpu_count()}", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if result.returncode:
            pytest.fail(result.stdout, pytrace=False)
        return result.stdout

    def compiled(self) -> set[str]:
        """Builds; returns the objects that were made of Rust sources."""
        return set(re.findall(r"RUSTC \[M\] (\S+)", self.make("modules")))

    def change(self, name: str) -> set[str]:
        """Touches a file and builds; returns the objects that were made again."""
        # Later than any object, even with a coarse clock.
        later = max(path.stat().st_mtime for path in self.source.rglob("*.o")) + 1
        os.utime(self.source / name, (later, later))
        return self.compiled()


def expect_silence(output: str) -> None:
    """Fails when a build's output has warnings."""
    if re.search(r"^(warning|error)|: (warning|error):|WARNING:", output, re.M):
        pytest.fail(output, pytrace=False)


STOCK = pytest.mark.parametrize(
    "build", ["stock", pytest.param("sanitize", marks=pytest.mark.long)], indirect=True
)
"""Runs a test with the stock kernel; with `--long` with both, whose build system is one."""


@pytest.fixture(scope="module")
def build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A build of its own for each of the two kernels."""
    if f"RNBD_{request.param.upper()}_BUILD" not in os.environ:
        pytest.skip(f"no kernel {request.param} is prepared")
    return Build(request.param, tmp_path_factory.mktemp(request.param))


@STOCK
def test_modules_build_without_warnings(build: Build) -> None:
    expect_silence(build.make("modules"))
    assert all((build.source / name).exists() for name in MODULES)


@STOCK
def test_modules_have_the_version_of_the_tree(build: Build) -> None:
    build.make("modules")
    version = settings.version()
    assert re.search(rf"^{re.escape(version)}$", (TREE / "NEWS").read_text(), re.M)
    for name in MODULES:
        # Each text of the section .modinfo ends with a zero.
        assert f"\0version={version}\0".encode() in (build.source / name).read_bytes(), name


@STOCK
def test_second_build_does_nothing(build: Build) -> None:
    assert not re.findall(r"^  [A-Z]+ .*", build.make("modules"), re.M)


@STOCK
@pytest.mark.parametrize(
    ("file", "objects"),
    [
        ("rnbd-client/rnbd_client.rs", {"rnbd-client/rnbd_client.o"}),
        # The bindings are generated from it.
        ("rtrs/bindings/helpers.c", OBJECTS - {"proto/src/lib.o"}),
        pytest.param("rtrs/rtrs.rs", OBJECTS - {"proto/src/lib.o"}, marks=pytest.mark.long),
        pytest.param("proto/src/lib.rs", OBJECTS, marks=pytest.mark.long),
        pytest.param("proto/src/wire/rtrs/rkey.rs", OBJECTS, marks=pytest.mark.long),
    ],
)
def test_a_change_builds_what_depends_on_it(build: Build, file: str, objects: set[str]) -> None:
    assert build.change(file) == objects


@STOCK
def test_clippy_has_nothing_to_say(build: Build) -> None:
    # Clippy is another compiler, so everything is built again.
    expect_silence(build.make("CLIPPY=1", "modules"))


def test_bindings_are_made_without_rustfmt(tmp_path: Path) -> None:
    """Bindgen then writes one line; rustfmt is no package that builds need."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bindgen", "sed", "sh"):
        (programs / name).symlink_to(shutil.which(name))
    output = tmp_path / "bindings.rs"
    folder = TREE / "rtrs/bindings"
    subprocess.run(
        ["sh", folder / "bindgen.sh", os.environ["RNBD_STOCK_BUILD"], "headers",
         folder / "bindings.h", output, tmp_path / "bindings.d"],
        env={"PATH": str(programs)},
        check=True,
    )
    text = output.read_text()
    made = set(re.findall(r"pub const (\w+)", text))
    header = (folder / "bindings.h").read_text()
    assert set(re.findall(r"RUST_CONST_HELPER_(\w+)", header)) <= made


def test_documentation_is_sound() -> None:
    result = subprocess.run(
        [TREE / "tools/build/rustdoc.sh", "-D", "warnings", "-A", "rustdoc::redundant_explicit_links",
         "-A", "rustdoc::private_intra_doc_links"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode:
        pytest.fail(result.stdout, pytrace=False)
