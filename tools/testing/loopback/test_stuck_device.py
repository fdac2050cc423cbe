# SPDX-License-Identifier: GPL-2.0-only
"""An RDMA device that completes nothing more, and whose queue pairs cannot be drained."""

import pytest

from rnbdbench import network
from rnbdbench import stuck_rxe
from rnbdbench.lab import Pair

IPV4 = f"{network.INITIATOR.path()}@{network.TARGET.path()}"


@pytest.mark.kernels("stock")
def test_requests_that_a_device_has_lost_are_sent_again(loopback: Pair) -> None:
    """Their queue pairs are destroyed, and after that they are given back."""
    guest = loopback.initiator.guest
    device = loopback.map(path=IPV4)
    (path,) = loopback.initiator.transport().paths()
    dd = "dd bs=64k count=1 status=none"
    with stuck_rxe.stuck(guest):
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
