# SPDX-License-Identifier: GPL-2.0-only
"""The table of the kernels that modules are built for, tools/build/kernels."""

from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).resolve().parents[2] / "build" / "kernels"


@dataclass(frozen=True)
class Kernel:
    """A line of the table."""

    series: str
    flavour: str
    architecture: str
    suite: str
    tested: str

    @property
    def name(self) -> str:
        """Its name, such as `7.3-rt-amd64` or `7.2-sid-rt-amd64`."""
        suite = "" if self.suite == "trixie-backports" else f"{self.suite}-"
        return f"{self.series}-{suite}{self.flavour}"


def kernels() -> list[Kernel]:
    """Returns all kernels of the table."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return [Kernel(*line.split()) for line in lines if line and not line.startswith("#")]


def names(tested: str = "") -> list[str]:
    """Returns the names of all kernels, or of those that are `tested` in the given way."""
    return [kernel.name for kernel in kernels() if tested in ("", kernel.tested)]


def find(name: str) -> Kernel:
    """Returns the kernel of a name."""
    (found,) = (kernel for kernel in kernels() if kernel.name == name)
    return found
