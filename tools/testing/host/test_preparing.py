# SPDX-License-Identifier: GPL-2.0-only
"""tools/build: each failure has one message, with the command that repairs it.

The tests use a copy of the scripts with a cache of its own, and programs that replace
Debian's package lists.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnbdbench.settings import TREE

NOBODY = 65534

NOWHERE = "http://127.0.0.1:9/debian"
"""No mirror: nothing listens there."""

NEWEST = "7.3.12+deb13+1-amd64"

OFFERED = [
    "7.3.4+deb13-amd64",
    "7.3.12+deb13-amd64",
    NEWEST,
    "7.3.13+deb13-cloud-amd64",
    "7.3.13+deb13-rt-amd64",
    "7.3.13+deb13-common",
    "7.3.13-amd64-unsigned",
]

APT_CACHE = f"""#!/bin/sh
case $1 in
pkgnames) printf 'linux-headers-%s\\n' {" ".join(OFFERED)} ;;
show) case $2 in linux-*-7.3.[34]*|*=*) echo "E: No packages found" >&2; exit 100 ;; esac
	echo "Version: 7.3.12-1" ;;
esac
"""
"""Knows the names of all kernels, but offers neither the older ones nor any source."""


class Scripts:
    """A copy of tools/build, which any user may write to."""

    def __init__(self, folder: Path) -> None:
        """Copies the scripts."""
        self.tree = folder / "tree"
        self.cache = folder / "cache"
        self.programs = folder / "programs"
        shutil.copytree(TREE / "tools/build", self.tree / "tools/build")
        shutil.copy(TREE / "Makefile", self.tree / "Makefile")
        self.cache.mkdir()
        self.programs.mkdir()
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o777)

    def pretend(self, **programs: str) -> None:
        """Replaces programs by scripts; `_` in a name stands for `-`."""
        for name, text in programs.items():
            path = self.programs / name.replace("_", "-")
            path.write_text(text)
            path.chmod(0o755)

    def run(self, *command: str, user: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a script of tools/build, or `make`."""
        program = command[0] if command[0] == "make" else str(self.tree / "tools/build" / command[0])
        # Without the variables of this run.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RNBD_")}
        environment |= {
            "RNBD_CACHE": str(self.cache),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            [program, *command[1:]],
            cwd=self.tree,
            env=environment | variables,
            user=user,
            group=user,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def refused(self, *command: str, user: int = 0, **variables: str) -> tuple[str, str]:
        """Runs a command that must fail; returns its message and the command that repairs it."""
        result = self.run(*command, user=user, **variables)
        said = result.stdout + result.stderr
        assert result.returncode != 0, f"{command} did not fail:\n{said}"
        # make adds a line of its own, which begins with its name.
        assert len(re.findall(r"^error: ", said, re.M)) == 1, said
        found = re.search(r"^error: (.*?)\nmend it with:\n\n    (\S.*)\n\n", said, re.M | re.S)
        assert found, f"no command that mends it:\n{said}"
        assert "unbound" not in said and "not found\n" not in said, said
        return found[1], found[2]


@pytest.fixture
def scripts() -> Iterator[Scripts]:
    """The copy; not below pytest's own folders, which other users cannot read."""
    with tempfile.TemporaryDirectory(prefix="rnbd-scripts-") as folder:
        yield Scripts(Path(folder))


@pytest.mark.parametrize(
    "release",
    [
        "7.3.4+deb13-amd64",
        "7.3.12+deb13+1-amd64",
        "7.3.4+deb13-cloud-amd64",
        "7.2.12+deb13-rt-arm64",
        "7.2.12+deb14-rt-arm64",
        "7.3.4+deb13-arm64-16k",
    ],
)
def test_releases_of_the_table_are_taken(scripts: Scripts, release: str) -> None:
    result = scripts.run("check-release.sh", release)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "release",
    [
        "6.12.43+deb13-amd64",
        "7.30.1+deb13-amd64",
        "7.3.4+deb12-amd64",
        "7.3.4+deb13-riscv64",
        "7.3.4-arch1-1",
        "7.3-amd64-unsigned",
        "7.3-riscv64",
        "newest-arm",
        "",
    ],
)
def test_other_kernels_are_refused(scripts: Scripts, release: str) -> None:
    message, command = scripts.refused("for-release", release, "true")
    assert message.startswith(f"{release} is not a kernel")
    assert "7.2-rt-arm64" in message
    assert command == "make KVER=newest"


@pytest.mark.parametrize(
    ("version", "kernel", "architecture", "root"),
    [
        ("newest", "7.3-amd64", "amd64", "root-"),
        ("newest-rt-arm64", "7.3-rt-arm64", "arm64", "root-trixie-arm64-"),
        ("7.2-arm64-16k", "7.2-arm64-16k", "arm64", "root-trixie-arm64-"),
        ("7.2.12+deb13-cloud-amd64", "7.2-cloud-amd64", "amd64", "root-"),
        ("7.2-sid-amd64", "7.2-sid-amd64", "amd64", "root-sid-amd64-"),
        ("7.2.12+deb14-rt-amd64", "7.2-forky-rt-amd64", "amd64", "root-forky-amd64-"),
    ],
)
def test_kernels_have_short_names(
    scripts: Scripts, version: str, kernel: str, architecture: str, root: str
) -> None:
    """A release has one, too, and the newest release of each kernel is remembered."""
    (scripts.cache / f"kernel-release-{kernel}").write_text("remembered\n")
    show = '. tools/build/lib.sh; . tools/build/paths.sh; echo "$RNBD_KERNEL $RNBD_ARCH" &&' + (
        'echo "$RNBD_STOCK_RELEASE $RNBD_ROOT"'
    )
    result = scripts.run("for-release", version, "bash", "-c", show)
    assert result.returncode == 0, result.stderr
    names, made = result.stdout.splitlines()
    assert names == f"{kernel} {architecture}"
    release, folder = made.split()
    assert release == ("remembered" if "+" not in version else version)
    assert re.fullmatch(f"{root}[0-9a-f]{{12}}", Path(folder).name), folder


def test_a_release_is_of_the_suite_that_had_it_last(scripts: Scripts) -> None:
    """Kernels of sid and of the next release have the same names."""
    release = "7.2.13+deb14-amd64"
    (scripts.cache / "kernel-release-7.2-forky-amd64").write_text("7.2.12+deb14-amd64\n")
    (scripts.cache / "kernel-release-7.2-sid-amd64").write_text(f"{release}\n")
    result = scripts.run("for-release", release, "sh", "-c", "echo $RNBD_KERNEL")
    assert result.stdout == "7.2-sid-amd64\n", result.stderr


def test_an_unreachable_mirror_is_named(scripts: Scripts) -> None:
    """Whether a build root is to be made or the machine's own compilers will do."""
    scripts.pretend(unshare="#!/bin/sh\n")
    for place in ("root", "host"):
        message, mend = scripts.refused("preflight.sh", "1", place, RNBD_MIRROR=NOWHERE)
        assert NOWHERE in message
        assert mend.startswith("RNBD_MIRROR=")


def test_unreadable_package_lists_are_not_missing_kernels(scripts: Scripts) -> None:
    for wanted in ("newest", NEWEST):
        message, mend = scripts.refused("kernel-release.sh", wanted, RNBD_MIRROR=NOWHERE)
        assert NOWHERE in message and "cannot be reached" in message
        assert mend.startswith("RNBD_MIRROR=")


def test_disk_space_is_checked_before_the_network(scripts: Scripts) -> None:
    message, mend = scripts.refused("preflight.sh", "999999999", "host", RNBD_MIRROR=NOWHERE)
    assert "999999999 are needed" in message
    assert mend.startswith("RNBD_CACHE=")


def test_the_message_about_root_repeats_the_command(scripts: Scripts) -> None:
    goal = {"RNBD_GOAL": "make demo", "RNBD_MIRROR": NOWHERE}
    assert scripts.refused("preflight.sh", "1", "root", user=NOBODY, **goal)[1] == "sudo make demo"
    lacks = "this machine lacks the packages bc"
    message, _ = scripts.refused("preflight.sh", "1", "root", user=NOBODY, RNBD_HOST_LACKS=lacks)
    assert lacks in message
    # Without a build root, root is not needed.
    message, _ = scripts.refused("preflight.sh", "1", "host", user=NOBODY, **goal)
    assert "root" not in message


def test_a_container_without_privileges_is_refused(scripts: Scripts) -> None:
    scripts.pretend(unshare="#!/bin/sh\nexit 1\n")
    message, mend = scripts.refused("preflight.sh", "1", "root", RNBD_MIRROR=NOWHERE)
    assert "container" in message and "--privileged" in mend


def test_the_newest_plain_kernel_is_found(scripts: Scripts) -> None:
    """A second build of one version is newer than the first, and 12 than 4."""
    scripts.pretend(apt_get="#!/bin/sh\n", apt_cache=APT_CACHE)
    scripts.run("kernel-release.sh", "newest", RNBD_MIRROR=NOWHERE)
    assert (scripts.cache / "kernel-release-7.3-amd64").read_text() == f"{NEWEST}\n"


def test_the_newest_kernel_of_a_flavour_is_found(scripts: Scripts) -> None:
    scripts.pretend(apt_get="#!/bin/sh\n", apt_cache=APT_CACHE)
    scripts.run("kernel-release.sh", "newest", RNBD_KERNEL="7.3-rt-amd64", RNBD_MIRROR=NOWHERE)
    found = (scripts.cache / "kernel-release-7.3-rt-amd64").read_text()
    assert found == "7.3.13+deb13-rt-amd64\n"


def test_a_mirror_without_kernels_of_the_series_is_refused(scripts: Scripts) -> None:
    scripts.pretend(apt_get="#!/bin/sh\n", apt_cache="#!/bin/sh\n")
    message, mend = scripts.refused("kernel-release.sh", "newest", RNBD_MIRROR=NOWHERE)
    assert "no kernel 7.3-amd64" in message and mend.startswith("RNBD_MIRROR=")


def test_a_missing_kernel_has_the_command_for_its_choice(scripts: Scripts) -> None:
    """Remembered from an earlier run, running here, or named."""
    gone = "7.3.3+deb13-amd64"
    (scripts.cache / "kernel-release-7.3-amd64").write_text(f"{gone}\n")
    scripts.pretend(apt_get="#!/bin/sh\n", apt_cache=APT_CACHE)
    message, mend = scripts.refused("kernel-release.sh", "remembered", RNBD_MIRROR=NOWHERE)
    assert f"does not offer kernel {gone}" in message
    assert mend == "make update"
    older = {"RNBD_KERNEL": "7.3-rt-amd64", "RNBD_MIRROR": NOWHERE}
    (scripts.cache / "kernel-release-7.3-rt-amd64").write_text("7.3.3+deb13-rt-amd64\n")
    _, mend = scripts.refused("kernel-release.sh", "remembered", **older)
    assert mend == "make update KVER=7.3-rt-amd64"
    message, mend = scripts.refused("kernel-release.sh", gone, RNBD_MIRROR=NOWHERE)
    assert f"does not offer kernel {gone}" in message
    assert mend == "make KVER=newest"
    scripts.pretend(uname=f"#!/bin/sh\necho {gone}\n")
    _, mend = scripts.refused("kernel-release.sh", gone, RNBD_MIRROR=NOWHERE)
    assert "linux-image-amd64" in mend


def test_a_kernel_without_its_source_is_refused(scripts: Scripts) -> None:
    scripts.pretend(apt_get="#!/bin/sh\n", apt_cache=APT_CACHE)
    message, mend = scripts.refused("kernel-release.sh", NEWEST, RNBD_MIRROR=NOWHERE)
    assert "source" in message and mend == "make KVER=newest"


def test_a_kernel_of_another_compiler_is_refused_before_it_is_downloaded(scripts: Scripts) -> None:
    headers = f"usr/src/linux-headers-{NEWEST}"
    scripts.pretend(
        apt_get=f"""#!/bin/sh
case "$*" in *download*linux-headers-{NEWEST}) ;; *download*) exit 9 ;; *) exit 0 ;; esac
mkdir -p d/DEBIAN d/{headers}
printf 'Package: x\\nVersion: 1\\nArchitecture: all\\nMaintainer: x\\nDescription: x\\n' >d/DEBIAN/control
echo 'CONFIG_RUSTC_VERSION_TEXT="rustc 1.85.1 (4eb161250 2025-03-15)"' >d/{headers}/.config
dpkg-deb -b d linux-headers-{NEWEST}_1_all.deb
""",
        apt_cache="""#!/bin/sh
case $1 in policy) echo "  Candidate: $(cat "$0.rustc")" ;; *) echo "Version: 7.3.12-1" ;; esac
""",
    )
    offered = scripts.programs / "apt-cache.rustc"
    offered.write_text("1.85.1+dfsg1-1+deb13u1\n")
    result = scripts.run("kernel-release.sh", NEWEST, RNBD_MIRROR=NOWHERE)
    assert result.returncode == 0, result.stdout + result.stderr
    offered.write_text("1.96.1+dfsg1-1\n")
    message, mend = scripts.refused("kernel-release.sh", NEWEST, RNBD_MIRROR=NOWHERE)
    assert "'rustc 1.85.1'" in message and "'rustc 1.96.1'" in message
    assert mend == "make KVER=newest"


def _built(scripts: Scripts) -> None:
    folder = scripts.tree / "build" / NEWEST
    folder.mkdir(parents=True)
    for name in ("rtrs", "rnbd_client", "rnbd_server"):
        (folder / f"{name}.ko").write_text(name)


def test_installing_copies_what_is_built_and_builds_nothing(scripts: Scripts) -> None:
    message, mend = scripts.refused("make", "install", f"KVER={NEWEST}", "DESTDIR=/nowhere")
    assert f"not built for {NEWEST}" in message
    assert mend == f"make KVER={NEWEST}"
    _built(scripts)
    target = scripts.cache / "target"
    result = scripts.run("make", "install", f"KVER={NEWEST}", f"DESTDIR={target}")
    assert result.returncode == 0, result.stderr
    installed = target / "lib/modules" / NEWEST / "updates"
    assert {path.name: path.read_text() for path in installed.iterdir()} == {
        "rtrs.ko": "rtrs",
        "rnbd_client.ko": "rnbd_client",
        "rnbd_server.ko": "rnbd_server",
    }


def test_a_read_only_folder_is_refused(scripts: Scripts) -> None:
    _built(scripts)
    closed = scripts.cache / "closed"
    closed.mkdir(mode=0o755)
    message, mend = scripts.refused(
        "make", "install", f"KVER={NEWEST}", f"DESTDIR={closed}", user=NOBODY
    )
    assert f"{closed}/lib/modules/{NEWEST}/updates cannot be written" in message
    assert mend == f"sudo make install KVER={NEWEST} DESTDIR={closed}"


def test_installing_the_newest_needs_to_know_its_release(scripts: Scripts) -> None:
    _built(scripts)
    message, mend = scripts.refused("make", "install", "KVER=newest")
    assert "newest" in message
    assert "KVER=<release" in mend and "KVER=newest" not in mend


def test_distclean_removes_only_what_it_made(scripts: Scripts) -> None:
    names = "apt.options apt-trixie-amd64/x source-1/x guest-arm64-1/x kernel-release-7.3-amd64 root-1.lock fuzz/x bench/x build-1/x log/x cargo/x mine"
    for name in names.split():
        path = scripts.cache / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert scripts.run("distclean.sh").returncode == 0
    assert [path.name for path in scripts.cache.iterdir()] == ["mine"]
