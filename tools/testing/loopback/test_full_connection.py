# SPDX-License-Identifier: GPL-2.0-only
"""A machine of so many CPUs that each connection has a part of the session's queue only."""

import pytest

from rnbdbench import fio
from rnbdbench.lab import Pair

pytestmark = [pytest.mark.fabrics("rxe"), pytest.mark.cpus(4), pytest.mark.kernels("stock")]

DEPTH = 128
"""Requests of the session, of which a connection has half, as there are four of them."""

DISKS = 12
"""The disks have 12 * 6 requests in flight: each has a share of the queue."""


@pytest.mark.long
def test_requests_go_by_other_connections_when_one_is_full(loopback: Pair) -> None:
    """One CPU has more requests in flight than its connection; then data are checked."""
    guest = loopback.initiator.guest
    slow = [
        loopback.target.null_disk(irqmode=2, completion_nsec=300_000_000, hw_queue_depth=64)
        for _ in range(DISKS)
    ]
    disk = loopback.target.ram_disk(16)
    loopback.load(transport={"sess_queue_depth": DEPTH})
    checked = loopback.initiator.map(disk)
    devices = [loopback.initiator.map(each, path="") for each in slow]
    (path,) = loopback.initiator.transport().paths()
    jobs = " ".join(f"--name={each.name} --filename={each.node}" for each in devices)
    load = guest.begin(
        "taskset -c 0 fio --thread --direct=1 --ioengine=io_uring --rw=randread --bs=4k"
        f" --size=4m --iodepth=64 --time_based --runtime=600 --minimal {jobs}"
    )
    guest.wait_until(
        lambda: path.counters().inflight > DEPTH // 2 + 2, "more in flight than one connection has"
    )
    fio.verify(guest, checked.node, block="512-8k", size="64k", depth=8)
    assert load.running, "the disks were not busy"
    load.cancel()
    load.wait()
    for device in [checked, *devices]:
        guest.wait_until(lambda device=device: device.unmap() is None, "a disk to be unmapped")
