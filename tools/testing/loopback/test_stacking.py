# SPDX-License-Identifier: GPL-2.0-only
"""Disks of ours below other drivers of the initiator."""

import pytest

from rnbdbench import blktrace
from rnbdbench import disks
from rnbdbench import fio
from rnbdbench.blktrace import Arrival
from rnbdbench.lab import Pair


@pytest.mark.kernels("stock")
def test_a_mirror_survives_the_loss_of_a_member(loopback: Pair) -> None:
    """RAID1 over two sessions: one is unmapped by force under load."""
    guest = loopback.initiator.guest
    loopback.target.ram_disk(16, count=2)
    loopback.target.load()
    loopback.initiator.load()
    first = loopback.initiator.map("/dev/ram0", session="first")
    second = loopback.initiator.map("/dev/ram1", session="second")
    array = disks.mirror(guest, first.node, second.node)
    load = fio.begin_verify(guest, array)
    fio.wait_for_io(guest, second.name)
    assert first.unmap("force") is None
    assert load.running
    load.end()
    assert guest.output("cat /sys/block/md0/md/degraded") == "1"
    assert "[_U]" in guest.output("cat /proc/mdstat")
    guest.run("echo clear > /sys/block/md0/md/array_state")
    assert second.unmap() is None


@pytest.mark.kernels("stock")
def test_device_mapper_passes_operations_on(loopback: Pair) -> None:
    """A linear device on a disk of ours: data, discard and a flush arrive below."""
    guest = loopback.initiator.guest
    disk = loopback.target.null_disk(discard=1, cache_size=4, size=16)
    loopback.target.load()
    loopback.initiator.load()
    device = loopback.initiator.map(disk)
    top = disks.linear(guest, "rnbdtest", device.node)
    disks.fill(guest, top, 8)
    with blktrace.arrivals(guest, disk) as arrived:
        guest.run(
            f"blkdiscard --force --offset {2 * disks.PAGE} --length {disks.PAGE} {top}"
            f" && sync {top}"
        )
    assert Arrival("discard", 16, 8) in arrived
    assert any(each.preflush for each in arrived)
    assert disks.picture(guest, disk, 8) == "##.#####"
    fio.verify(guest, top, block="4k-128k", size="4m")
    guest.run("DM_DISABLE_UDEV=1 dmsetup remove rnbdtest")
    assert device.unmap() is None


@pytest.mark.kernels("stock")
def test_partitions_are_found(loopback: Pair) -> None:
    """A table that is on the target's disk, and one that is written through ours."""
    guest = loopback.initiator.guest
    disk = loopback.target.null_disk(size=64)
    loopback.target.load()
    loopback.initiator.load()
    device = loopback.initiator.map(disk)
    part = disks.partition(guest, device.node, 2048, 16384)
    assert disks.sectors(guest, part) == 16384
    disks.fill(guest, part, 1)
    assert disks.picture(guest, disk, 257) == f"#{'.' * 255}#"
    assert device.unmap() is None
    device = loopback.initiator.map(disk)
    assert disks.sectors(guest, f"{device.node}p1") == 16384
    assert device.unmap() is None
