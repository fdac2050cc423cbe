# SPDX-License-Identifier: GPL-2.0-only
"""A disk of a target that can be stopped, so that requests wait, or fail."""

from dataclasses import dataclass

from rnbdbench.commands import Job
from rnbdbench.guest import Guest

NAME = "stalling"
"""Its name for dmsetup."""


def wait_for_kernel(guest: Guest, function: str, what: str, process: str = "[0-9]*") -> None:
    """Waits until a process sleeps in a function, or in one of a `[module]`; any by default."""
    find = f"grep -qsF '{function}' /proc/{process}/stack"
    guest.wait_until(lambda: guest.run(find, check=False).code == 0, what)


@dataclass(frozen=True)
class StallingDisk:
    """A device-mapper device that maps all of another device."""

    guest: Guest
    node: str
    """Such as `/dev/dm-0`."""
    sectors: str
    below: str
    """The other device."""

    @classmethod
    def make(cls, guest: Guest, below: str) -> "StallingDisk":
        """Makes the only one of a guest; the clean-up after a test removes it."""
        sectors = guest.output(f"blockdev --getsz {below}")
        table = f"0 {sectors} linear {below} 0"
        guest.run(f"modprobe dm-mod && dmsetup create {NAME} --noudevsync --table '{table}'")
        name = guest.output(f"dmsetup info -c --noheadings -o blkdevname {NAME}")
        return cls(guest, f"/dev/{name}", sectors, below)

    @property
    def name(self) -> str:
        """Its name in /sys/block."""
        return self.node.removeprefix("/dev/")

    def stop(self) -> None:
        """Makes requests wait."""
        self.guest.run(f"dmsetup suspend {NAME} --noudevsync")

    def go_on(self) -> None:
        """Executes requests again, those that waited first."""
        self.guest.run(f"dmsetup resume {NAME} --noudevsync")

    def with_partitions(self) -> str:
        """Makes a disk on top of it that can have partitions; returns its path."""
        self.guest.run("modprobe -q loop")
        return self.guest.output(f"losetup --find --show --partscan --direct-io=on {self.node}")

    def keep_from_being_opened(self, node: str) -> Job:
        """Stops while partitions are read from the disk on top of it, which blocks opening that."""
        self.stop()
        partitions = self.guest.begin(f"blockdev --rereadpt {node}")
        wait_for_kernel(self.guest, "disk_scan_partitions", "the kernel to read the partitions")
        return partitions

    def fail(self) -> None:
        """Makes requests fail."""
        self._change("error")

    def work_again(self) -> None:
        """Ends what `fail` began."""
        self._change(f"linear {self.below} 0")

    def _change(self, target: str) -> None:
        self.guest.run(f"dmsetup load {NAME} --table '0 {self.sectors} {target}'")
        self.stop()
        self.go_on()
