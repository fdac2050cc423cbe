# SPDX-License-Identifier: GPL-2.0-only
"""The scripts of rnbd-dkms: one line for what does not fit, with the command that mends it.

The tests use a copy of the scripts whose absolute folders are below a temporary one, and
programs that replace those of Debian.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rnbdbench.settings import TREE

RELEASE = "7.3.12+deb13-amd64"
COMPILER = "rustc 1.85.1 (4eb161250 2025-03-15) (built from a source tarball)"

SKIPPED = 77
"""DKMS goes on without the kernel."""


class Machine:
    """Headers, source and compiler as files, and the scripts that look at them."""

    def __init__(self, folder: Path) -> None:
        """Makes a machine that modules can be built on."""
        self.folder = folder
        self.programs = folder / "programs"
        self.headers = folder / "lib/modules" / RELEASE / "build"
        self.metadata = folder / "var/cache/rnbd-dkms" / RELEASE
        self.scripts = folder / "dkms"
        self.versions = {f"linux-headers-{RELEASE}": "7.3.12-1", "linux-source-7.3": "7.3.12-1"}
        for made in (self.programs, self.headers, folder / "usr/src"):
            made.mkdir(parents=True)
        (self.headers / ".config").write_text(f'CONFIG_RUSTC_VERSION_TEXT="{COMPILER}"\n')
        (folder / "usr/src/linux-source-7.3.tar.xz").touch()
        shutil.copytree(TREE / "tools/deb/dkms", self.scripts)
        shutil.copy(TREE / "tools/build/rust-metadata.sh", self.scripts)
        for script in self.scripts.iterdir():
            text = script.read_text()
            text = text.replace("PATH=", f"PATH={self.programs}:")
            moved = "lib/modules|usr/src|var/cache|var/lib/dkms|etc/dkms|sys/firmware"
            text = re.sub(rf"(?<=[= ])/({moved})", rf"{folder}/\1", text)
            script.write_text(text)
        self.pretend("rustc", f"echo '{COMPILER}'")
        self.pretend("df", "echo 9999M")

    def pretend(self, name: str, text: str) -> None:
        """Replaces a program."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a script."""
        cases = "\n".join(f"{name}) echo 'installed {v}' ;;" for name, v in self.versions.items())
        self.pretend("dpkg-query", f'case "$4" in\n{cases}\n*) exit 1 ;;\nesac')
        return subprocess.run(
            [self.scripts / script, *arguments],
            env={"DPKG_MAINTSCRIPT_PACKAGE": "rnbd-dkms"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def refused(self) -> tuple[str, str]:
        """Checks the kernel, which must not fit; returns reason and command."""
        result = self.run("prepare", "--check", RELEASE)
        assert result.returncode == SKIPPED, result.stderr
        (line,) = result.stderr.splitlines()
        found = re.fullmatch(
            rf"rnbd: no modules for kernel {re.escape(RELEASE)}: (.*); mend it with: (.*)", line
        )
        assert found, line
        return found[1], found[2]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine that modules can be built on."""
    return Machine(tmp_path)


def test_a_machine_that_has_everything_fits(machine: Machine) -> None:
    result = machine.run("prepare", "--check", RELEASE)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_missing_headers(machine: Machine) -> None:
    del machine.versions[f"linux-headers-{RELEASE}"]
    reason, command = machine.refused()
    assert "headers" in reason
    assert command == f"apt-get install linux-headers-{RELEASE}"


@pytest.mark.parametrize("there", ["rustc 1.92.0 (0 2026-01-01)", COMPILER[:30]])
def test_another_compiler(machine: Machine, there: str) -> None:
    machine.pretend("rustc", f"echo '{there}'")
    reason, command = machine.refused()
    assert COMPILER in reason and there in reason
    assert command == "apt-get install --allow-downgrades 'rustc=1.85.1*' 'rust-src=1.85.1*'"


def test_missing_source(machine: Machine) -> None:
    del machine.versions["linux-source-7.3"]
    reason, command = machine.refused()
    assert "source" in reason
    assert command == "apt-get install linux-source-7.3=7.3.12-1"


def test_source_of_another_version(machine: Machine) -> None:
    machine.versions["linux-source-7.3"] = "7.3.9-1"
    reason, command = machine.refused()
    assert "7.3.12-1" in reason and "7.3.9-1" in reason
    assert command == "apt-get install linux-source-7.3=7.3.12-1"
    machine.versions["linux-source-7.3"] = "7.3.13-1"
    reason, command = machine.refused()
    assert "7.3.13-1 already" in reason
    assert command == "apt-get install linux-image-amd64=7.3.13-1 linux-headers-amd64=7.3.13-1 && reboot"


def test_a_full_disk(machine: Machine) -> None:
    machine.pretend("df", "echo 100M")
    reason, _ = machine.refused()
    assert "100 MiB free" in reason


def test_metadata_that_is_there_needs_no_source(machine: Machine) -> None:
    types = machine.metadata / "rust/bindings/types"
    types.parent.mkdir(parents=True)
    types.touch()
    made_of = machine.metadata / "made-of"
    made_of.write_text(f"7.3.12-1, {COMPILER}\n")
    machine.versions["linux-source-7.3"] = "7.3.13-1"
    result = machine.run("prepare", RELEASE)
    assert (result.returncode, result.stderr) == (0, "")
    # Of headers that were replaced.
    made_of.write_text(f"7.3.11-1, {COMPILER}\n")
    assert "already" in machine.refused()[0]


def test_remove_leaves_the_metadata_of_other_kernels(machine: Machine) -> None:
    other = machine.metadata.parent / "7.3.9+deb13-amd64"
    for folder in (machine.metadata, other):
        folder.mkdir(parents=True)
    assert machine.run("remove", RELEASE).returncode == 0
    assert [path.name for path in other.parent.iterdir()] == [other.name]
    assert machine.run("remove", other.name).returncode == 0
    assert not other.parent.exists()
    # Nothing there, nothing to do.
    assert machine.run("remove", RELEASE).returncode == 0


@pytest.fixture
def dkms(machine: Machine) -> Machine:
    """A machine with DKMS, which records how it is called."""
    (machine.headers.parent / "kernel").mkdir()
    (machine.folder / "dkms.conf").write_text('BUILD_EXCLUSIVE_KERNEL="^(7[.]3)[.]"\n')
    machine.pretend(
        "dkms",
        f"""case "$*" in
        "status "*" -k {RELEASE}") cat {machine.folder}/installed 2>/dev/null ;;
        "status "*" -k "*) ;;
        status*) echo "rnbd/1: added" ;;
        *) echo "$*" >>{machine.folder}/called ;;
        esac""",
    )
    return machine


def test_modules_of_a_kernel_that_has_none_are_built(dkms: Machine) -> None:
    result = dkms.run("install-missing", "1")
    assert (result.returncode, result.stderr) == (0, "")
    called = (dkms.folder / "called").read_text()
    assert called == f"install -m rnbd -v 1 -k {RELEASE}\n"
    (dkms.folder / "called").unlink()
    (dkms.folder / "installed").write_text(f"rnbd/1, {RELEASE}, x86_64: installed\n")
    assert dkms.run("install-missing", "1").returncode == 0
    assert not (dkms.folder / "called").exists()


def test_what_the_newest_kernel_lacks_is_said(dkms: Machine) -> None:
    del dkms.versions["linux-source-7.3"]
    result = dkms.run("install-missing", "1")
    assert result.returncode == 0
    (line,) = result.stderr.splitlines()
    assert "its source is not installed; mend it with: apt-get install linux-source-7.3=" in line
    assert not (dkms.folder / "called").exists()


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ("7.10.1+deb13-amd64", "apt-get install rnbd-dkms"),
        ("6.12.43+deb13-amd64", "apt-get install -t trixie-backports linux-image-amd64 "),
        ("6.12.43+deb13-rt-amd64", "apt-get install -t trixie-backports linux-image-rt-amd64 "),
        ("6.1.0-37-cloud-amd64", "apt-get install -t trixie-backports linux-image-cloud-amd64 "),
    ],
)
def test_a_newest_kernel_of_another_series_is_named(
    dkms: Machine, release: str, command: str
) -> None:
    modules = dkms.headers.parent.parent
    shutil.rmtree(dkms.headers.parent)
    (modules / release / "kernel").mkdir(parents=True)
    (line,) = dkms.run("install-missing", "1").stderr.splitlines()
    assert f"kernel {release}: this version does not support it; mend it with: {command}" in line


@pytest.mark.parametrize("own", [False, True], ids=["made-by-dkms", "own"])
def test_a_key_that_is_not_enrolled_is_named(dkms: Machine, own: bool) -> None:
    """With Secure Boot only."""
    key = dkms.folder / ("root/own.der" if own else "var/lib/dkms/mok.pub")
    settings = dkms.folder / "etc/dkms/framework.conf.d"
    variables = dkms.folder / "sys/firmware/efi/efivars"
    for made in (key.parent, settings, variables):
        made.mkdir(parents=True)
    key.touch()
    if own:
        (settings / "key.conf").write_text(f'# mok_certificate=/x\nmok_certificate="{key}"\n')
    dkms.pretend("mokutil", f'[ "$2" = {key} ] && cat {dkms.folder}/answer')
    answer = dkms.folder / "answer"
    secure = variables / "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

    answer.write_text(f"{key} is not enrolled\n")
    secure.write_bytes(b"\6\0\0\0\1")
    (line,) = dkms.run("install-missing", "1").stderr.splitlines()
    assert line.endswith(f"mend it with: apt-get install mokutil && mokutil --import {key} && reboot")
    answer.write_text(f"{key} is already enrolled\n")
    assert dkms.run("install-missing", "1").stderr == ""
    answer.write_text("")
    secure.write_bytes(b"\6\0\0\0\0")
    assert dkms.run("install-missing", "1").stderr == ""


def test_the_bindings_are_those_of_the_kernel_build(tmp_path: Path) -> None:
    """Made against the folder that DKMS builds against, which has less than the kernel's own."""
    build, modules = (Path(os.environ[f"RNBD_STOCK_{name}"]) for name in ("BUILD", "RUST"))
    folder, made = tmp_path / "folder", tmp_path / "bindings_generated.rs"
    (folder / "scripts").mkdir(parents=True)
    for name in ("arch", "include"):
        (folder / name).symlink_to(build / name)
    script = f". {TREE}/tools/deb/dkms/metadata.sh && add_rust_metadata {folder} {build} /- {build}"
    subprocess.run(["bash", "-euc", script], check=True)
    bindings = TREE / "rtrs/bindings"
    subprocess.run(
        ["sh", bindings / "bindgen.sh", folder, "headers", bindings / "bindings.h", made, f"{made}.d"],
        check=True,
    )
    assert made.read_text() == (modules / "rtrs/bindings/bindings_generated.rs").read_text()
