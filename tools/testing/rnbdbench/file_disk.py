# SPDX-License-Identifier: GPL-2.0-only
"""Disks of a target whose size can be changed."""

from dataclasses import dataclass

from rnbdbench.guest import Guest


@dataclass(frozen=True)
class FileDisk:
    """A file as a disk, by the loop driver."""

    guest: Guest
    node: str
    """Such as `/dev/loop0`."""
    file: str

    @classmethod
    def make(cls, guest: Guest, megabytes: int, name: str = "disk") -> "FileDisk":
        """Makes one of zeroes."""
        file = f"/run/{name}"
        node = guest.output(
            f"modprobe loop && rm -f {file} && truncate -s {megabytes}M {file}"
            f" && losetup --show -f {file}"
        )
        return cls(guest, node, file)

    def resize(self, megabytes: int) -> None:
        """Gives it another size, while it is in use or not."""
        self.guest.run(f"truncate -s {megabytes}M {self.file} && losetup -c {self.node}")
