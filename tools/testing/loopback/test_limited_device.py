# SPDX-License-Identifier: GPL-2.0-only
"""RDMA devices with lower limits than soft-RoCE, as hardware has them."""

from collections.abc import Mapping

import pytest

from rnbdbench import faulty_rxe
from rnbdbench import fio
from rnbdbench import network
from rnbdbench.lab import Pair

pytestmark = pytest.mark.kernels("stock")

NO_SPACE = "has no space for send queues of "

DEPTH = 256
"""Of a session whose queues a device of `WORK_REQUESTS` has space for."""

WORK_REQUESTS = 1500

LIMITS = {
    "page-size": ({"page_size_cap": 4096}, ""),
    "send-segments": ({"max_send_sge": 2}, ""),
    "receive-segments": ({"max_recv_sge": 1}, ""),
    "all": (
        {
            "page_size_cap": 4096,
            "max_send_sge": 2,
            "max_recv_sge": 1,
            "max_qp_wr": WORK_REQUESTS,
        },
        "",
    ),
    # The server's queues fit, of 1281 requests of one segment; the client's do not.
    "space": (
        {"send_space": 1500},
        f"{NO_SPACE}768 requests of 17 segments, using 384 of 2",
    ),
}
"""Limits of the device, and what the client says of them."""


@pytest.mark.parametrize(("limits", "words"), LIMITS.values(), ids=LIMITS)
def test_data_are_right_on_a_device_with(
    loopback: Pair, limits: Mapping[str, int], words: str
) -> None:
    """Of many sizes and alignments, more than are in flight at a time."""
    guest = loopback.initiator.guest
    mark = guest.console.mark()
    with faulty_rxe.limited(guest, **limits):
        device = loopback.map(transport={"sess_queue_depth": DEPTH})
        fio.verify(guest, device.node, block="512-256k", size="8m", depth=DEPTH)
        fio.verify(guest, device.node, block="4k-256k", size="8m", misaligned=512)
        assert device.unmap() is None
    log = guest.printed_since(mark)
    assert words in log
    assert (NO_SPACE in log) == bool(words), "the client asked for more than the device tells"


def test_a_device_of_too_few_work_requests_is_refused(loopback: Pair) -> None:
    """The server says how many it needs, and what to do."""
    guest = loopback.initiator.guest
    disk = loopback.target.ram_disk(16)
    loopback.load(transport={"sess_queue_depth": 512})
    mark = guest.console.mark()
    with faulty_rxe.limited(guest, max_qp_wr=WORK_REQUESTS):
        error = loopback.initiator.request(
            f"sessname=bench path={network.TARGET.path()} device_path={disk}"
        )
    assert error == "ENOTSUP", error
    assert (
        f"RDMA device rdma0 allows {WORK_REQUESTS} work requests in a queue, but 2562 are needed;"
        " a lower sess_queue_depth of the server needs fewer"
    ) in guest.printed_since(mark)
