# SPDX-License-Identifier: GPL-2.0-only
"""The Debian packages: what debian/ says, and which files are in them.

The folder that the packages are built in is made for real, and not built. `make deb` builds
it, and checks the packages with lintian.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rnbdbench.settings import TREE

RELEASE = "7.3.12+deb13-amd64"
VERSION = "0.9.0+git20261129.130144.e408f55c"
DEB = TREE / "tools/deb"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the packages are built in, without what is compiled."""
    path = tmp_path_factory.mktemp("packages") / "rnbd"
    subprocess.run(
        [TREE / "tools/build/deb-source.sh", path, ""],
        env={
            **os.environ,
            "RNBD_STOCK_RELEASE": RELEASE,
            "RNBD_VERSION": VERSION,
            "RNBD_SECONDS": "1795957304",
            "RNBD_MAINTAINER": "Jane Doe <jane@example.org>",
        },
        check=True,
    )
    return path


def fields(stanza: str) -> dict[str, str]:
    """The fields of a stanza of debian/control."""
    return {
        name: " ".join(value.split())
        for name, value in re.findall(r"^([\w-]+):((?:.*\n?)(?: .*\n?)*)", stanza, re.M)
    }


def control(folder: Path) -> dict[str, dict[str, str]]:
    """The packages of debian/control, by name."""
    stanzas = (folder / "debian/control").read_text().split("\n\n")
    found = [fields(stanza) for stanza in stanzas]
    return {stanza["Package"]: stanza for stanza in found if "Package" in stanza}


def words(value: str) -> set[str]:
    """The names in a list of packages."""
    return {re.split(r"[ (|]", item.strip())[0] for item in value.split(",")}


def test_all_names_are_filled_in(folder: Path) -> None:
    left = [
        f"{path.name}: {name}"
        for path in (folder / "debian").rglob("*")
        if path.is_file()
        for name in re.findall(r"@[A-Z]+@", path.read_text())
    ]
    assert not left


def test_packages_depend_on_their_kernel_and_on_compilers(folder: Path) -> None:
    packages = control(folder)
    modules = packages[f"rnbd-modules-{RELEASE}"]
    assert packages.keys() == {f"rnbd-modules-{RELEASE}", "rnbd-dkms", "rnbd-tools"}
    assert modules["Architecture"] == "amd64"
    assert f"linux-image-{RELEASE}" in words(modules["Depends"])
    assert "rnbd-dkms" in words(modules["Conflicts"])
    assert packages["rnbd-dkms"]["Architecture"] == "all"
    # What builds them here builds them there.
    here = {"gcc-14", *re.findall(r"^[a-z].*", (TREE / "tools/build/packages-build").read_text(), re.M)}
    there = words(packages["rnbd-dkms"]["Depends"])
    assert {name for name in there if not name.startswith(("linux-source-", "$"))} <= here
    assert {"rustc", "rust-src", "bindgen", "gcc-14", "linux-source-7.3"} <= there


@pytest.mark.parametrize(
    ("release", "architecture"),
    [
        ("7.3.12+deb13-rt-amd64", "amd64"),
        ("7.3.12+deb13-arm64", "arm64"),
        ("7.3.12+deb13-arm64-16k", "arm64"),
        ("7.2.13+deb14-cloud-arm64", "arm64"),
    ],
)
def test_modules_have_the_architecture_of_their_kernel(
    tmp_path: Path, release: str, architecture: str
) -> None:
    variables = {"RNBD_STOCK_RELEASE": release, "RNBD_VERSION": VERSION, "RNBD_SECONDS": "0"}
    made = tmp_path / "rnbd"
    subprocess.run(
        [TREE / "tools/build/deb-source.sh", made, ""], env={**os.environ, **variables}, check=True
    )
    modules = control(made)[f"rnbd-modules-{release}"]
    assert modules["Architecture"] == architecture


def test_changelog_has_version_and_maintainer(folder: Path) -> None:
    text = (folder / "debian/changelog").read_text()
    assert text.startswith(f"rnbd ({VERSION}) unstable; urgency=")
    assert text.endswith(" -- Jane Doe <jane@example.org>  Sun, 29 Nov 2026 13:01:44 +0000\n")


def test_dkms_conf_skips_kernels_without_rust(folder: Path) -> None:
    text = (folder / "debian/rnbd-dkms.dkms").read_text()
    values = dict(re.findall(r'^(\w+(?:\[\d\])?)="(.*)"$', text, re.M))
    kernels = values["BUILD_EXCLUSIVE_KERNEL"]
    assert re.search(kernels, RELEASE)
    for other in ("6.12.43+deb13-amd64", "7.30.1+deb13-amd64", "17.3.1-amd64"):
        assert not re.search(kernels, other)
    wanted = values["BUILD_EXCLUSIVE_CONFIG"].split()
    assert {"CONFIG_RUST", "CONFIG_INFINIBAND", "!CONFIG_MODVERSIONS"} <= set(wanted)
    assert [values[f"BUILT_MODULE_NAME[{i}]"] for i in range(3)] == [
        "rtrs",
        "rnbd_client",
        "rnbd_server",
    ]
    for script in (values["PRE_BUILD"], values["POST_REMOVE"]):
        assert os.access(folder / "built/source" / script.split()[0], os.X_OK)


def test_the_source_is_what_is_compiled_and_nothing_else(folder: Path) -> None:
    source = folder / "built/source"
    found = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    tracked = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "--",
         "Kbuild", "proto/src", "rtrs", "rnbd-client", "rnbd-server"],
        cwd=TREE,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    scripts = {"prepare", "check.sh", "kernel.sh", "metadata.sh", "remove", "install-missing"}
    scripts.add("rust-metadata.sh")
    wanted = {*map(Path, tracked), *(Path("dkms") / name for name in scripts)}
    assert found == wanted


def test_every_file_for_boot_is_packed(folder: Path) -> None:
    boot = TREE / "tools/boot"
    packed = {path.name for path in (folder / "built").rglob("*") if "tools" in path.parts}
    # Documentation of a folder is no part of it.
    files = {path.name for path in boot.rglob("*") if path.is_file() and path.suffix != ".md"}
    assert files <= packed


def version(tree: Path) -> str:
    """What tools/build/version.sh prints of a tree, without the time."""
    result = subprocess.run(
        [tree / "tools/build/version.sh"], capture_output=True, text=True, check=True
    )
    name, seconds = result.stdout.split()
    assert int(seconds) > 1_700_000_000
    return name


def git(tree: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments],
        cwd=tree,
        check=True,
        capture_output=True,
    )


def test_versions_name_the_commit(tmp_path: Path) -> None:
    """In a repository, with changes, with a tag, in an archive, and without any of them."""
    tree = tmp_path / "tree"
    for name in ("tools/build/version.sh", "tools/build/lib.sh", "rtrs/kernel_ext/version.rs",
                 ".gitattributes", "NEWS"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TREE / name, tree / name)
    base = version(tree)
    assert re.search(rf"^{re.escape(base)}$", (TREE / "NEWS").read_text(), re.M)

    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "first")
    named = version(tree)
    assert re.fullmatch(re.escape(base) + r"\+git\d{8}\.\d{6}\.[0-9a-f]{8}", named)

    archive = tmp_path / "archive"
    archive.mkdir()
    git(tree, "archive", "-o", str(tmp_path / "tree.tar"), "HEAD")
    subprocess.run(["tar", "-xf", tmp_path / "tree.tar", "-C", archive], check=True)
    assert version(archive) == named

    (tree / "NEWS").write_text("changed")
    assert version(tree) == named + ".modified"
    git(tree, "checkout", "-q", "NEWS")
    git(tree, "tag", f"v{base}")
    assert version(tree) == base
