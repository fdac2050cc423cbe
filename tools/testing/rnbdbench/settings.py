# SPDX-License-Identifier: GPL-2.0-only
"""The settings of the bench, from environment variables.

The scripts of tools/build/ set them; Documentation/testing.md lists them.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from rnbdbench import table

TESTING = Path(__file__).resolve().parent.parent
TREE = TESTING.parent.parent
LOGS = Path(os.environ.get("RNBD_TEST_LOGS", TREE / "build" / "test-logs"))

PATIENCE = float(os.environ.get("RNBD_TEST_PATIENCE", "1"))
"""Factor for every limit of time, for machines that are slow or busy."""

FUZZ_SECONDS = float(os.environ.get("RNBD_FUZZ_SECONDS", "30"))
"""How long each fuzzer runs."""

SEED = os.environ.get("RNBD_SEED", "1")
"""Where the fuzzers begin: a seed, or `<seed>:<session>`."""


def version() -> str:
    """Returns the version of the tree, which the modules have."""
    source = (TREE / "rtrs/kernel_ext/version.rs").read_text(encoding="utf-8")
    (found,) = re.findall(r'^ +"([0-9.]+)"$', source, re.M)
    return found


OWN = ("stock", "sanitize")
"""The kernels that most tests run on: the one that was asked for, and a build of its source."""


class Missing(Exception):
    """A variable is unset, or names a file that does not exist."""


@dataclass(frozen=True)
class KernelFiles:
    """The paths of the files of one kernel."""

    name: str
    """`stock`, `sanitize`, or a name of the table of kernels."""
    vmlinuz: Path
    """The boot image."""
    modules: Path
    """The folder that has `kernel/` in it."""
    release: str
    """What `uname -r` prints."""
    drivers: dict[str, Path]
    """Folders with module files, by the name of the driver set."""
    architecture: str = "amd64"
    """In Debian's words."""
    root: Path = Path("/")
    """The root file system of its guests."""


def ends(kernel: str) -> tuple[str, str]:
    """Returns the kernels of initiator and target: `7.3-arm64+stock` names one for each."""
    initiator, _, target = kernel.partition("+")
    return initiator, target or initiator


def _path(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        raise Missing(f"{variable} is not set: start this by `make check` or `make demo`")
    path = Path(value)
    if not path.exists():
        raise Missing(f"{variable} names {path}, which does not exist")
    return path


def cache() -> Path:
    """Returns the folder for generated files."""
    path = _path("RNBD_CACHE") / "bench"
    path.mkdir(parents=True, exist_ok=True)
    return path


def available_kernels() -> list[str]:
    """Returns the names of the kernels that are prepared."""
    names = [*OWN, *table.names()]
    return [name for name in names if os.environ.get(f"{_prefix(name)}_VMLINUZ")]


def _prefix(name: str) -> str:
    """Returns how the variables of a kernel begin."""
    return "RNBD_" + re.sub(r"[-.]", "_", name.upper())


def kernel_files(name: str) -> KernelFiles:
    """Returns the files of the kernel called `name`."""
    prefix = _prefix(name)
    architecture = "amd64" if name in OWN else table.find(name).architecture
    # Some sets may not be built; a test that needs one fails.
    folders = {set_: os.environ.get(f"{prefix}_{set_.upper()}", "") for set_ in ("rust", "c")}
    drivers = {set_: Path(path) for set_, path in folders.items() if path and Path(path).is_dir()}
    release = os.environ.get(f"{prefix}_RELEASE")
    if not release:
        raise Missing(f"{prefix}_RELEASE is not set")
    return KernelFiles(
        name=name,
        vmlinuz=_path(f"{prefix}_VMLINUZ"),
        modules=_path(f"{prefix}_MODULES"),
        release=release,
        drivers=drivers,
        architecture=architecture,
        root=Path("/") if architecture == "amd64" else _path(f"RNBD_{architecture.upper()}_GUEST"),
    )
