# SPDX-License-Identifier: GPL-2.0-only
"""Units, generator and udev rules of tools/boot/, checked by systemd's own programs."""

import subprocess
from pathlib import Path

import pytest

from rnbdbench import cargo
from rnbdbench.settings import TREE

BOOT = TREE / "tools/boot"
CRATE = TREE / "tools/rnbdctl"
PROGRAM = "/usr/bin/rnbdctl"

TAB = """\
# name session paths device options
data   blya 10.50.100.66,10.50.101.66 /dev/vg/data policy=round-robin,_netdev
my-log blya - /dev/vg/log nofail
hand   blya - /dev/vg/hand noauto
"""

WRONG = {
    "a b c": "has 3 fields",
    "a/b s - /dev/a": "name 'a/b'",
    "-a s - /dev/a": "name '-a'",
    "a s - /dev/a colour=red": "'colour=red' is unknown",
    "a s - /dev/a policy=": "'policy='",
    "a s - /dev/a port=65536": "'port=65536'",
    "a s - /dev/a ro,migration": "exclude",
    "data s - /dev/a": "two devices of the name data",
}
"""Wrong lines, and what is said about them."""


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a program."""
    return subprocess.run(
        command,
        env={"PATH": "/usr/sbin:/usr/bin", "LANG": "C.UTF-8", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def program() -> Path:
    """The program rnbdctl."""
    cargo.run(CRATE, "build", "--locked", "--quiet")
    return cargo.target() / "debug/rnbdctl"


class Units:
    """A folder of units as systemd sees it, and a machine with a table."""

    def __init__(self, folder: Path, program: Path) -> None:
        """Copies the units, with the program where it was built."""
        self.program = program
        self.root = folder / "root"
        self.generated = folder / "generated"
        self.installed = folder / "installed"
        for made in (self.root / "etc/rnbd", self.generated, self.installed):
            made.mkdir(parents=True)
        for unit in (BOOT / "systemd").glob("*.service"):
            text = unit.read_text(encoding="utf-8")
            text = text.replace(PROGRAM, str(program))
            (self.installed / unit.name).write_text(text, encoding="utf-8")

    def generate(self, tab: str) -> subprocess.CompletedProcess[str]:
        """Has the units of a table generated."""
        (self.root / "etc/rnbd/rnbdtab").write_text(tab, encoding="utf-8")
        return run(self.program, "--root", self.root, "units", self.generated)

    def verify(self, *names: str) -> None:
        """Has systemd look at units and at what they refer to."""
        path = f"{self.generated}:{self.installed}:"
        result = run(
            "systemd-analyze", "--man=no", "--recursive-errors=one", "verify", *names,
            SYSTEMD_UNIT_PATH=path,
        )
        assert (result.returncode, result.stdout) == (0, "")

    def started(self) -> set[str]:
        """Returns the units that are started at boot."""
        return {path.name for path in (self.generated / "remote-fs.target.wants").glob("*")}


@pytest.fixture
def units(program: Path, tmp_path: Path) -> Units:
    """Folders of units."""
    return Units(tmp_path, program)


def test_systemd_accepts_the_units(units: Units) -> None:
    """Those of a table, with the drop-in of nofail, and the others."""
    result = units.generate(TAB)
    assert (result.returncode, result.stdout) == (0, "")
    assert units.started() == {"rnbd-attach@data.service", "rnbd-attach@my-log.service"}
    names = ("data", "my-log", "hand")
    attach = (f"rnbd-attach@{name}.service" for name in names)
    units.verify(*attach, "rnbd-server.service", "rnbd-shutdown.service", "rnbd-arrays.service")


def test_units_link_to_an_installed_file(units: Units) -> None:
    """The template has the name and the folder that generated links lead to."""
    units.generate(TAB)
    for link in (units.generated / "remote-fs.target.wants").iterdir():
        target = link.readlink()
        assert target.parent == Path("/usr/lib/systemd/system")
        assert (BOOT / "systemd" / target.name).exists()


@pytest.mark.parametrize("line", WRONG)
def test_wrong_lines_are_named(units: Units, line: str) -> None:
    """By their numbers; the other devices are attached."""
    result = units.generate(f"{TAB}\n{line}\nlast blya - /dev/vg/last\n")
    number = len(TAB.splitlines()) + 2
    assert result.returncode == 2
    assert f"line {number}: " in result.stdout and WRONG[line] in result.stdout
    assert units.started() == {
        f"rnbd-attach@{name}.service" for name in ("data", "my-log", "last")
    }


def test_the_generator_calls_the_program() -> None:
    """It passes the first of systemd's three folders."""
    text = (BOOT / "systemd/rnbd-generator").read_text(encoding="utf-8")
    assert text.splitlines()[-1] == f'exec {PROGRAM} units "$1"'
    assert (BOOT / "systemd/rnbd-generator").stat().st_mode & 0o111


def test_examples_of_files_are_right(units: Units) -> None:
    """/etc/rnbd as it is installed has no device and no rule."""
    result = units.generate((BOOT / "etc/rnbd/rnbdtab").read_text(encoding="utf-8"))
    assert (result.returncode, result.stdout) == (0, "")
    assert not units.started()
    result = run(units.program, "rules", "check", BOOT / "etc/rnbd/exports")
    assert (result.returncode, result.stdout) == (0, "no client may open any device\n")


def test_udev_accepts_the_rules() -> None:
    """Syntax and style."""
    result = run("udevadm", "verify", *(BOOT / "udev").glob("*.rules"))
    assert result.returncode == 0, result.stdout
    assert "Success: 1" in result.stdout
