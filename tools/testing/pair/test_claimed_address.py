# SPDX-License-Identifier: GPL-2.0-only
"""A machine that asks for a connection in the name of another one."""

import pytest

from rnbdbench import image
from rnbdbench import network
from rnbdbench import peer
from rnbdbench.lab import Pair

OTHER = "10.50.100.9"
"""An address of the same network that no machine has."""


@pytest.mark.fabrics("rxe")
def test_an_address_must_be_that_of_the_gid_that_asks(pair: Pair) -> None:
    """A request counts by the address of its packets, not by the one that it claims.

    The C server has no check; its rules, if it had any, would see the claimed address.
    """
    pair.load()
    guest = pair.target.guest
    own = network.INITIATOR.v4
    mark = guest.console.mark()
    addresses = f"{own} {network.TARGET.v4} {peer.PORT} {own} {OTHER}"
    pair.initiator.guest.run(f"{image.program('claim.py')} {addresses}")
    end = network.TARGET.path()
    for said in (
        # A right request, as far as the connection manager is concerned.
        f"{end}@ip:{own}: connection refused: bad magic 0x1234",
        f"{end}@ip:{OTHER}: connection refused: it came from GID ::ffff:{own}, not from that",
    ):
        guest.wait_until(lambda said=said: said in guest.console.since(mark), said)
