# SPDX-License-Identifier: GPL-2.0-only
"""Requests that are messages, and do not go through the server's chunks."""

import pytest

from rnbdbench import fio
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair

pytestmark = pytest.mark.fabrics("rxe")

SENDS = "/sys/class/infiniband/rdma0/ports/1/hw_counters/rdma_sends"
"""The messages that soft-RoCE has sent, but for those that are RDMA writes."""

READS = 200

DEPTH = 128
"""Of a session, twice as many as one of its four connections has in flight."""


def _messages_of(guest: Guest, device: str) -> int:
    """Returns how many messages it takes to read some blocks."""
    before = int(guest.read(SENDS))
    fio.read_blocks(guest, device, READS)
    return int(guest.read(SENDS)) - before


def test_data_of_each_length_arrive(loopback: Pair) -> None:
    """Below and above what fits into a message; each small read takes two messages."""
    guest = loopback.initiator.guest
    device = loopback.map()
    assert _messages_of(guest, device.node) >= 2 * READS
    fio.verify(guest, device.node, block="512-8k", size="2m")
    fio.verify(guest, device.node, block="512-8k", size="2m", misaligned=512)
    assert device.unmap() is None


def test_requests_go_through_chunks_if_told_to(loopback: Pair) -> None:
    """Then no small read takes a message."""
    guest = loopback.initiator.guest
    device = loopback.map(transport={"eager_requests": 0})
    # Some heartbeats may be among them.
    assert _messages_of(guest, device.node) < READS
    fio.verify(guest, device.node, block="512-8k", size="2m")
    assert device.unmap() is None


@pytest.mark.parametrize("polled", [False, True], ids=["interrupts", "polled"])
def test_data_arrive_over_connections_of_half_the_queue(loopback: Pair, polled: bool) -> None:
    """Two connections for CPUs, two for polled I/O."""
    guest = loopback.initiator.guest
    device = loopback.map(transport={"sess_queue_depth": DEPTH}, nr_poll_queues=2)
    fio.verify(guest, device.node, block="4k", size="4m", depth=DEPTH, polled=polled)
    assert device.unmap() is None
