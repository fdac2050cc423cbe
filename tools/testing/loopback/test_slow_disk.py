# SPDX-License-Identifier: GPL-2.0-only
"""A slow disk of the target beside another one of its session."""

from rnbdbench import fio
from rnbdbench.lab import Pair


def test_a_disk_without_free_requests(loopback: Pair) -> None:
    """What waits for it on the target leaves the requests for the neighbour alone.

    Both use the same CPU, and so the same connection.
    """
    guest = loopback.initiator.guest
    slow = loopback.target.null_disk(
        irqmode=2, completion_nsec=300_000_000, hw_queue_depth=1, submit_queues=1
    )
    loopback.target.ram_disk(16, count=2)
    neighbour = loopback.map("/dev/ram1")
    quiet = fio.slowest(guest, neighbour.node)
    device = loopback.initiator.map(slow, path="")
    load = guest.begin(
        f"taskset -c 0 fio --name=slow --thread --filename={device.node} --direct=1"
        " --ioengine=io_uring --rw=randread --bs=4k --size=4m --iodepth=16 --number_ios=400"
        " --minimal"
    )
    device.wait_for_read()
    beside = fio.slowest(guest, neighbour.node)
    assert load.running, "it was not slow, so this shows nothing"
    assert beside < 2 * quiet + fio.SLACK, f"{beside} us beside a slow disk, {quiet} us otherwise"
    load.cancel()
    load.wait()
    guest.wait_until(lambda: device.unmap() is None, "the slow disk to be unmapped")
    assert neighbour.unmap() is None
