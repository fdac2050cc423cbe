# SPDX-License-Identifier: GPL-2.0-only
"""The partition table of a new disk is read without anybody having to wait for it."""

from rnbdbench import network
from rnbdbench.disks import PAGE
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.rnbd import MAP_DEVICE
from rnbdbench.stalling import StallingDisk

MEGABYTES = 16
SECTORS = MEGABYTES << 11

FAST = 2048
"""Sectors at the beginning that can always be read; the end of a GPT is beyond."""

PATIENCE = 10
"""Seconds that map_device waits for the table."""


class HalfHung:
    """A disk with a partition, whose second copy of the partition table cannot be read."""

    def __init__(self, bench: Pair) -> None:
        guest = bench.target.guest
        ram = bench.target.ram_disk(MEGABYTES, count=2)
        self.below = StallingDisk.make(guest, "/dev/ram1")
        table = f"0 {FAST} linear {ram} 0\n{FAST} {SECTORS - FAST} linear {self.below.node} {FAST}"
        guest.run(f"printf '{table}' | dmsetup create halves --noudevsync")
        name = guest.output("dmsetup info -c --noheadings -o blkdevname halves")
        self.node = f"/dev/{name}"
        guest.run(f"echo ',4M,L' | sfdisk -q --label gpt --no-reread --no-tell-kernel {self.node}")
        guest.run(f"blockdev --flushbufs {self.node}")
        self.below.stop()

    def remove(self) -> None:
        """Removes it, as the clean-up after a test does not know which disk is above which."""
        self.below.guest.run("dmsetup remove halves --noudevsync")


def _read(device: Device) -> str:
    return f"dd if={device.node} of=/dev/null bs={PAGE} count=1 iflag=direct status=none"


def test_partitions_are_there_when_a_disk_is_mapped(loopback: Pair) -> None:
    disk = HalfHung(loopback)
    disk.below.go_on()
    device = loopback.map(disk.node)
    assert loopback.initiator.guest.exists(f"/sys/block/{device.name}/{device.name}p1/partition")
    assert device.unmap() is None
    disk.remove()


def test_a_table_that_cannot_be_read_does_not_hold_up_the_mapping(loopback: Pair) -> None:
    """Who opens the disk waits for its partitions, which it has as soon as they can be read."""
    guest = loopback.initiator.guest
    disk = HalfHung(loopback)
    device = loopback.map(disk.node, fast_io_fail_tmo="off")
    assert f"{device.name}: mapped, and its partition table is still being read" in guest.output(
        "dmesg"
    )
    partition = f"/sys/block/{device.name}/{device.name}p1/partition"
    assert not guest.exists(partition)
    disk.below.go_on()
    guest.wait_until(lambda: guest.exists(partition), "the partition")
    guest.run(_read(device))
    assert device.unmap() is None
    disk.remove()


def test_a_writer_of_map_device_can_be_killed_while_the_table_is_read(loopback: Pair) -> None:
    """The disk stays mapped, and can be unmapped by force."""
    guest = loopback.initiator.guest
    disk = HalfHung(loopback)
    loopback.load()
    line = f"sessname=bench path={network.TARGET.path()} device_path={disk.node}"
    job = guest.begin(f"exec dd of={MAP_DEVICE} status=none <<<'{line}'")
    guest.wait_until(lambda: bool(loopback.initiator.devices()), "the disk")
    job.cancel()
    guest.wait_until(lambda: not job.running, "the end of the writer", PATIENCE / 2)
    (device,) = loopback.initiator.devices()
    assert device.unmap("force") is None
    assert loopback.initiator.devices() == []
    disk.below.go_on()
    disk.remove()
