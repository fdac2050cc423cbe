# SPDX-License-Identifier: GPL-2.0-only
"""A disk that hangs or is slow leaves its neighbour alone, with C drivers on the other side."""

import pytest

from rnbdbench.commands import Job
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.stalling import StallingDisk

PERIOD_MS = 500
"""Timeout of a disk's requests."""

AT_ONCE = 5
"""Seconds for what must not wait for the other disk."""

DEPTH = 32
"""Requests in flight."""


def _begin_reads(device: Device) -> Job:
    job = device.guest.begin(
        f"taskset -c 0 fio --name=hung --thread --filename={device.node} --direct=1"
        f" --ioengine=io_uring --rw=randread --bs=4k --size=4m --iodepth={DEPTH} --minimal"
    )
    device.wait_for_read()
    return job


def _read(device: Device) -> None:
    """Reads a block, at once, by the same CPU and so the same connection."""
    device.guest.run(
        f"taskset -c 0 dd if={device.node} of=/dev/null bs=4k count=1 iflag=direct status=none",
        timeout=AT_ONCE,
    )


@pytest.mark.drivers("rust-c")
def test_a_disk_of_a_c_server_hangs(pair: Pair) -> None:
    """Its requests end by their own timeout, and it is unmapped by force."""
    guest = pair.initiator.guest
    below = StallingDisk.make(pair.target.guest, pair.target.ram_disk(16, count=2))
    hung = pair.map(below.node)
    neighbour = pair.initiator.map("/dev/ram1", path="")
    (path,) = pair.initiator.transport().paths()
    connects = path.read("stats/reconnects")
    assert guest.write(f"/sys/block/{hung.name}/queue/io_timeout", str(PERIOD_MS)) is None

    below.stop()
    _begin_reads(hung)
    _read(neighbour)
    hung.wait_for_state("closed")
    _read(neighbour)
    assert hung.unmap("force") is None
    assert not hung.exists()
    _read(neighbour)
    below.go_on()
    pair.target.guest.wait_until(
        lambda: below.name not in pair.target.exports(), "the target to close the disk"
    )
    _read(neighbour)
    assert (path.state(), path.read("stats/reconnects")) == ("connected", connects)
    assert neighbour.unmap() is None


@pytest.mark.drivers("c-rust")
def test_a_disk_of_a_c_client_has_to_wait(pair: Pair) -> None:
    """The server has no free request for it, and executes those for the other one."""
    slow = pair.target.null_disk(
        irqmode=2, completion_nsec=300_000_000, hw_queue_depth=1, submit_queues=1
    )
    pair.target.ram_disk(16, count=2)
    neighbour = pair.map("/dev/ram1")
    device = pair.initiator.map(slow, path="")
    load = _begin_reads(device)
    for _ in range(5):
        _read(neighbour)
    assert load.running, "it was not slow, so this shows nothing"
    load.cancel()
    pair.initiator.guest.wait_until(lambda: device.unmap() is None, "the slow disk to be unmapped")
    assert neighbour.unmap() is None
