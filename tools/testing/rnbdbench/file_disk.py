# SPDX-License-Identifier: GPL-2.0-only
"""Disks of a target that are files, for changing their size or examining their blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rnbdbench import disks
from rnbdbench.guest import Guest


@dataclass(frozen=True)
class FileDisk:
    """A file that is used as a disk by the loop driver."""

    guest: Guest
    node: str
    """Such as `/dev/loop0`."""
    file: str

    @classmethod
    def make(cls, guest: Guest, megabytes: int, name: str = "disk") -> "FileDisk":
        """Makes one that is filled with zeroes."""
        file = f"/run/{name}"
        node = guest.output(
            f"modprobe loop && rm -f {file} && truncate -s {megabytes}M {file}"
            f" && losetup --show -f {file}"
        )
        return cls(guest, node, file)

    def resize(self, megabytes: int) -> None:
        """Changes the size, even while the disk is in use."""
        self.guest.run(f"truncate -s {megabytes}M {self.file} && losetup -c {self.node}")


@dataclass(frozen=True)
class SparseDisk:
    """A file on a file system that can zero a range with and without freeing it."""

    guest: Guest
    node: str
    """Such as `/dev/loop0`."""
    file: str

    def allocated(self) -> int:
        """Returns how many sectors of the file system it occupies."""
        self.guest.run(f"sync {self.file}")
        return int(self.guest.output(f"stat -c %b {self.file}"))


@contextmanager
def sparse_disk(guest: Guest, ram: str, size: int) -> Iterator[SparseDisk]:
    """Makes one of `size` bytes on a RAM disk, for the duration of a `with` block."""
    guest.run(
        f"modprobe -q ext4; mkfs.ext4 -q -b {disks.PAGE} {ram}"
        f" && mkdir -p /mnt/disk && mount {ram} /mnt/disk"
    )
    file = "/mnt/disk/image"
    node = disks.loop(guest, size, file, "--direct-io=on")
    yield SparseDisk(guest, node, file)
    # After a failure the guest is not used again.
    guest.run(f"losetup -d {node} && umount /mnt/disk")
