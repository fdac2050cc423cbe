# SPDX-License-Identifier: GPL-2.0-only
"""A disk of the target whose driver sleeps beside other disks."""

from collections.abc import Iterator

import pytest

from rnbdbench import rnbd
from rnbdbench.guest import Job
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS
from rnbdbench.nbd import NbdDisk
from rnbdbench.rnbd import Device

pytestmark = REMOVES_DISKS

MEGABYTES = 16

AT_ONCE = 5
"""Seconds for what must not wait for the disk that hangs."""

BUSY = 24
"""Requests in flight, with more data than fits into the socket of the disk."""


@pytest.fixture(name="disk")
def _disk(loopback: Pair) -> Iterator[NbdDisk]:
    """A disk that the target exports as the only one of nbd."""
    disk = NbdDisk.make(loopback.target.guest, MEGABYTES)
    yield disk
    disk.go_on()
    guest = disk.guest
    guest.wait_until(lambda: disk.name not in loopback.target.exports(), "the disk to be closed")
    disk.remove()


def _begin_io(device: Device, rw: str, block: str = "64k") -> Job:
    """Starts I/O by the first CPU, and so by the same connection as that of `_read`."""
    return device.guest.begin(
        f"taskset -c 0 fio --name=hung --thread --filename={device.node} --direct=1"
        f" --ioengine=io_uring --rw={rw} --bs={block} --size={MEGABYTES}m --iodepth=256"
        " --minimal"
    )


def _read(device: Device) -> None:
    """Reads a block, at once."""
    device.guest.run(
        f"taskset -c 0 dd if={device.node} of=/dev/null bs=4k count=1 iflag=direct status=none",
        timeout=AT_ONCE,
    )


def _wait_until_busy(device: Device, requests: int) -> None:
    device.guest.wait_until(
        lambda: sum(int(word) for word in device.read("inflight").split()) >= requests,
        f"{device.name} to be busy",
    )


def test_neighbours_of_a_disk_whose_driver_sleeps(loopback: Pair, disk: NbdDisk) -> None:
    """Those of the same session and of another one go on; its I/O ends when the driver does."""
    loopback.target.ram_disk(MEGABYTES, count=3)
    hung = loopback.map(disk.node)
    neighbour = loopback.initiator.map("/dev/ram1", path="")
    other = loopback.initiator.map("/dev/ram2", session="other")
    disk.stop()
    writes = _begin_io(hung, "randwrite")
    _wait_until_busy(hung, BUSY)
    for _ in range(3):
        _read(neighbour)
        _read(other)
    assert writes.running, "it did not hang, so this shows nothing"
    disk.go_on()
    assert writes.wait().code == 0
    assert [each.unmap() for each in (hung, neighbour, other)] == [None] * 3


def test_a_disk_whose_driver_sleeps_is_taken_away(loopback: Pair, disk: NbdDisk) -> None:
    """The client unmaps it by force, after the administrator of the target has closed it."""
    guest = loopback.initiator.guest
    loopback.target.ram_disk(MEGABYTES, count=2)
    hung = loopback.map(disk.node)
    neighbour = loopback.initiator.map("/dev/ram1", path="")
    disk.stop()
    writes = _begin_io(hung, "randwrite")
    _wait_until_busy(hung, BUSY)
    close = f"{rnbd.SERVER_DEVICES}/{disk.name}/sessions/bench/force_close"
    assert guest.write(close, "1", timeout=4 * AT_ONCE) is None
    _read(neighbour)
    unmap = f"/sys/block/{hung.name}/rnbd/unmap_device"
    assert guest.write(unmap, "force", timeout=4 * AT_ONCE) is None
    assert writes.wait().code != 0
    assert not hung.exists()
    assert disk.name in loopback.target.exports(), "its requests are with the driver"
    _read(neighbour)
    disk.go_on()
    guest.wait_until(
        lambda: disk.name not in loopback.target.exports(), "the target to close the disk"
    )
    _read(neighbour)
    assert neighbour.unmap() is None
