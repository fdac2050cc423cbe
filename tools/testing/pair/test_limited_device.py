# SPDX-License-Identifier: GPL-2.0-only
"""An initiator whose RDMA device has fewer work requests than the session of the target."""

import pytest

from rnbdbench import faulty_rxe
from rnbdbench import fio
from rnbdbench.lab import Pair

DEPTH = 512
"""Of the session: a client has three times as many work requests if it can."""

WORK_REQUESTS = 1100
"""Of the device, which suffice for the control connection."""


@pytest.mark.kernels("stock")
def test_a_client_makes_its_queues_as_long_as_its_device_allows(pair: Pair) -> None:
    """It asks the device, and does not find out by queues that are refused."""
    guest = pair.initiator.guest
    mark = guest.console.mark()
    with faulty_rxe.limited(guest, max_qp_wr=WORK_REQUESTS):
        device = pair.map(transport={"sess_queue_depth": DEPTH})
        fio.verify(guest, device.node, block="512-64k", size="8m", depth=DEPTH)
        assert device.unmap() is None
    assert "has no space for send queues" not in guest.printed_since(mark)
