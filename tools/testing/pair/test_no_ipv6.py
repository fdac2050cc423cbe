# SPDX-License-Identifier: GPL-2.0-only
"""Machines whose kernel does without IPv6."""

import pytest

from rnbdbench import drivers
from rnbdbench import fio
from rnbdbench import network
from rnbdbench.lab import Pair

pytestmark = pytest.mark.parameters(network.NO_IPV6)


@pytest.mark.fabrics("rxe", "siw")
def test_the_server_listens_where_it_can(pair: Pair) -> None:
    """It is loaded, says where it does not listen, and serves clients over IPv4."""
    target = pair.target.guest
    assert not target.exists("/proc/sys/net/ipv6")
    drivers.unload(target)
    mark = target.console.mark()
    device = pair.map()
    # Soft-RoCE has no sockets that listen.
    if target.specification.fabric == "siw":
        assert "not listening on port 1234 of " in target.printed_since(mark)
    fio.verify(pair.initiator.guest, device.node, block="64k", size="4m")
    assert device.unmap() is None
