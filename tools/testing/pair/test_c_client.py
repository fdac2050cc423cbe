# SPDX-License-Identifier: GPL-2.0-only
"""The paths of the C client with our server.

It waits 30 seconds before each attempt to connect a path again, the first one included.
"""

import pytest

from rnbdbench import fio
from rnbdbench import network
from rnbdbench import rtrs
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.rtrs import TransportPath

pytestmark = pytest.mark.drivers("c-rust")

DEPTH = 1
"""Requests in flight.

When its path is lost a request looks for another one as often as there are paths, and
takes the next one in turn on its CPU. If other requests advance the turn between two looks,
it finds the lost path each time and fails with ECONNABORTED (`rtrs_clt_failover_req`).
"""


def _mapped(bench: Pair) -> tuple[Device, TransportPath, TransportPath]:
    device = bench.map(paths=[network.path(0), network.path(1)])
    session = bench.initiator.transport()
    return device, session.path(network.path(0)), session.path(network.path(1))


def _server_has(bench: Pair, *paths: TransportPath) -> None:
    """Waits until the server has exactly these paths of the session."""
    names = sorted(path.name for path in paths)
    bench.target.guest.wait_until(
        lambda: sorted(bench.target.transport().path_names()) == names,
        f"the server to have {len(names)} path(s)",
        rtrs.LOSS + rtrs.MARGIN,
    )


@pytest.mark.long
def test_the_c_client_disconnects_and_reconnects_by_hand(two_links: Pair) -> None:
    """One of two paths, twice, while data are verified: no I/O fails."""
    guest = two_links.initiator.guest
    device, kept, other = _mapped(two_links)
    verify = fio.begin_verify(guest, device.node, depth=DEPTH)
    other.wait_for_traffic(50)
    for times in (1, 2):
        assert other.disconnect() is None
        assert other.state() == "disconnected"
        _server_has(two_links, kept)
        kept.wait_for_traffic(50)
        other.force_connection()
        _server_has(two_links, kept, other)
        assert other.reconnects()[0] == times
        other.wait_for_traffic(50)
    assert kept.reconnects() == (0, 0)
    verify.end()
    assert device.unmap() is None
    _server_has(two_links)


@pytest.mark.long
@pytest.mark.parametrize("failures", [0, 1], ids=["for-a-moment", "for-an-attempt"])
def test_the_c_client_has_a_cable_out_and_back(two_links: Pair, failures: int) -> None:
    """I/O goes on over the other path; the lost one is connected again by itself."""
    guest = two_links.initiator.guest
    device, kept, lost = _mapped(two_links)
    verify = fio.begin_verify(guest, device.node, depth=DEPTH)
    lost.wait_for_traffic(50)
    two_links.cable(1).pull()
    lost.wait_for("disconnected", rtrs.LOSS + rtrs.MARGIN)
    kept.wait_for_traffic(50)
    fio.wait_for_io(guest, device.name)
    guest.wait_until(
        lambda: lost.reconnects()[1] >= failures,
        "an attempt to fail",
        rtrs.RECONNECT + rtrs.ATTEMPT + rtrs.MARGIN,
    )

    two_links.cable(1).plug()
    two_links.cable(1).wait_connected(lost, rtrs.BACK)
    assert lost.reconnects()[0] == 1
    _server_has(two_links, kept, lost)
    lost.wait_for_traffic(50)
    verify.end()
    assert device.unmap() is None
