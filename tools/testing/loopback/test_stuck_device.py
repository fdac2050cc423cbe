# SPDX-License-Identifier: GPL-2.0-only
"""RDMA devices that complete nothing more, or are slow when queues are destroyed."""

import pytest

from rnbdbench import faulty_rxe
from rnbdbench import network
from rnbdbench.lab import Pair

IPV4 = f"{network.INITIATOR.path()}@{network.TARGET.path()}"


@pytest.mark.kernels("stock")
def test_requests_that_a_device_has_lost_are_sent_again(loopback: Pair) -> None:
    """Their queue pairs are destroyed, and after that they are given back."""
    guest = loopback.initiator.guest
    device = loopback.map(path=IPV4)
    (path,) = loopback.initiator.transport().paths()
    dd = "dd bs=64k count=1 status=none"
    with faulty_rxe.stuck(guest):
        jobs = [
            guest.begin(f"{dd} if=/dev/urandom of={device.node} oflag=direct"),
            guest.begin(f"{dd} if={device.node} of=/dev/null iflag=direct skip=1"),
        ]
        guest.wait_until(lambda: path.counters().inflight == 2, "requests in flight")
        assert path.disconnect() is None
        assert all(job.running for job in jobs)
    path.force_connection()
    for job in jobs:
        assert job.wait().code == 0
    assert path.counters().inflight == 0
    assert device.unmap() is None


@pytest.mark.kernels("stock")
def test_completion_queues_are_freed_when_softirqs_are_done_with_them(loopback: Pair) -> None:
    """A softirq uses a queue once more after it has said that it has polled it."""
    with faulty_rxe.slow_to_arm(loopback.initiator.guest):
        for _ in range(5):
            assert loopback.map(path=IPV4).unmap() is None
