# SPDX-License-Identifier: GPL-2.0-only
"""A slow disk of the target beside another one of its session."""

from collections.abc import Callable

import pytest

from rnbdbench import disks
from rnbdbench import fio
from rnbdbench.guest import Guest
from rnbdbench.guest import Job
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device

ENOUGH = 8
"""Requests in flight with which the slow disk is busy."""


def _begin_io(guest: Guest, device: Device, rw: str) -> Job:
    """Starts direct I/O by the first CPU."""
    return guest.begin(
        f"taskset -c 0 fio --name=slow --thread --filename={device.node} --direct=1"
        f" --ioengine=io_uring --rw={rw} --bs=4k --size=4m --iodepth=64 --time_based"
        " --runtime=600 --minimal"
    )


def _begin_reads(guest: Guest, device: Device) -> Job:
    return _begin_io(guest, device, "randread")


def _begin_writes(guest: Guest, device: Device) -> Job:
    return _begin_io(guest, device, "randwrite")


def _begin_discards(guest: Guest, device: Device) -> Job:
    """Starts many small discards at a time, which the initiator does not throttle."""
    queue = f"/sys/block/{device.name}/queue"
    assert guest.write(f"{queue}/discard_max_bytes", "4096") is None
    if guest.exists(f"{queue}/wbt_lat_usec"):
        assert guest.write(f"{queue}/wbt_lat_usec", "0") is None
    return guest.begin(f"taskset -c 0 blkdiscard --force --length 1m {device.node}")


def _neighbour_goes_on(loopback: Pair, slow: str, begin: Callable[[Guest, Device], Job]) -> None:
    """Measures reads of another disk of the same session, by the same connection."""
    guest = loopback.initiator.guest
    neighbour = loopback.map("/dev/ram1")
    quiet = fio.slowest(guest, neighbour.node)
    device = loopback.initiator.map(slow, path="")
    load = begin(guest, device)
    guest.wait_until(
        lambda: sum(int(word) for word in device.read("inflight").split()) >= ENOUGH,
        "the slow disk to be busy",
    )
    beside = fio.slowest(guest, neighbour.node)
    assert load.running, "it was not slow, so this shows nothing"
    assert beside < 2 * quiet + fio.SLACK, f"{beside} us beside a slow disk, {quiet} us otherwise"
    load.cancel()
    load.wait()
    guest.wait_until(lambda: device.unmap() is None, "the slow disk to be unmapped")
    assert neighbour.unmap() is None


@pytest.mark.parametrize(
    ("begin", "depth"),
    [
        pytest.param(_begin_reads, 1, id="reads"),
        pytest.param(_begin_writes, 1, id="writes", marks=pytest.mark.long),
        pytest.param(_begin_writes, 64, id="throttled_writes"),
        pytest.param(_begin_discards, 64, id="throttled_discards"),
    ],
)
def test_a_disk_that_takes_no_more_requests(
    loopback: Pair, begin: Callable[[Guest, Device], Job], depth: int
) -> None:
    """What waits for it on the target leaves the requests for the neighbour alone.

    A deep queue is not full before the writeback throttling of the disk lets writes and
    discards wait.
    """
    slow = loopback.target.null_disk(
        irqmode=2, completion_nsec=300_000_000, hw_queue_depth=depth, submit_queues=1, discard=1
    )
    loopback.target.ram_disk(16, count=2)
    _neighbour_goes_on(loopback, slow, begin)


def test_a_disk_that_delays_writes(loopback: Pair) -> None:
    """Its driver cannot be asked not to wait, so a worker of the disk submits all requests."""
    below = loopback.target.ram_disk(16, count=2)
    slow = disks.slow_to_write(loopback.target.guest, "slow", below, 300)
    _neighbour_goes_on(loopback, slow, _begin_writes)
