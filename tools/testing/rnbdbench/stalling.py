# SPDX-License-Identifier: GPL-2.0-only
"""A disk of a target that can be stopped, so that requests wait, or fail."""

from dataclasses import dataclass

from rnbdbench.guest import Guest

NAME = "stalling"
"""Its name for dmsetup."""


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
