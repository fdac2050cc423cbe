# SPDX-License-Identifier: GPL-2.0-only
"""The virtual machine of each architecture, as options of QEMU."""

BARE = ["-nodefaults", "-no-user-config", "-display", "none"]
"""A machine with nothing in it but what the other options name."""

_MACHINES = {
    "amd64": ("qemu-system-x86_64", "q35", "max"),
    # A server's processor, which has pages of 4 and of 16 KiB. With all features that QEMU
    # knows (`max`) a guest takes longer.
    "arm64": ("qemu-system-aarch64", "virt", "neoverse-n1"),
}


def command(architecture: str) -> list[str]:
    """Returns the program and the options of a machine, without processor."""
    program, machine, _ = _MACHINES[architecture]
    return [program, *BARE, "-machine", machine]


def processor(architecture: str) -> list[str]:
    """Returns the options of its processor, which is emulated."""
    return ["-accel", "tcg,thread=multi", "-cpu", _MACHINES[architecture][2]]
