# SPDX-License-Identifier: GPL-2.0-only
"""The limit of attempts to reconnect is lowered while a path waits for the next one."""

from rnbdbench import rtrs
from rnbdbench.lab import Pair


def test_the_log_counts_the_attempts_that_were_made(loopback: Pair) -> None:
    """No further attempt follows, and the log does not take the new limit for their number."""
    guest = loopback.initiator.guest
    device = loopback.map()
    session = loopback.initiator.transport()
    (path,) = session.paths()
    guest.run("rmmod rnbd_server", timeout=60)
    guest.wait_until(lambda: path.reconnects() == (0, 1), "the first attempt", rtrs.MARGIN)

    mark = guest.console.mark()
    assert session.set_max_reconnect_attempts("0") is None
    guest.wait_until(lambda: "giving up after" in guest.console.since(mark), "the last line")
    assert "giving up after 1 reconnect attempts" in guest.console.since(mark)
    assert path.reconnects() == (0, 1)
    assert device.unmap("force") is None
