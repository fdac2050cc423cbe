# SPDX-License-Identifier: GPL-2.0-only
"""Peers that stop while a path is being set up: nobody waits for them for long."""

import pytest

from rnbdbench import drivers
from rnbdbench import network
from rnbdbench import peer
from rnbdbench.lab import Pair
from rnbdbench.rnbd import MAP_DEVICE

TIMED_OUT = "closing: set-up timed out"

UNLOADING = 10.0
"""Seconds for the server to be unloaded, which are fewer than a path that is begun may take."""

KILLED = 5.0
"""Seconds until a task that was killed is gone."""


@pytest.mark.long
@pytest.mark.parametrize(("case", "seconds"), [("begun", 40.0), ("begun-bit-by-bit", 150.0)])
def test_a_path_that_is_not_set_up_in_time_is_closed(
    loopback: Pair, case: str, seconds: float
) -> None:
    """Each connection must come within 30 s, and all together within 120 s."""
    loopback.target.load()
    guest = loopback.target.guest
    expected = {case: ("closed", TIMED_OUT)}
    found = peer.begin_misbehaving(guest, "/dev/none", expected).outcomes(seconds + peer.CASE)
    wrong = peer.differences(expected, found)
    assert not wrong, wrong


def test_a_server_is_unloaded_while_a_path_is_begun(loopback: Pair) -> None:
    """The path is closed at once, and not when its time is up."""
    loopback.target.load()
    guest = loopback.target.guest
    rogue = peer.begin_misbehaving(guest, "/dev/none", ["begun"])
    guest.wait_until(
        lambda: "rnbdbench: a path is begun" in guest.console.since(rogue.mark), "a path"
    )
    guest.run("rmmod rnbd_server", timeout=UNLOADING)
    outcome, log = rogue.outcomes(peer.CASE)["begun"]
    assert outcome == "closed", log
    assert TIMED_OUT not in log
    drivers.unload(guest)


def test_a_writer_of_map_device_can_be_killed_while_a_server_is_silent(loopback: Pair) -> None:
    """The server has accepted all connections, and sends no INFO_RSP: no session is left."""
    guest = loopback.initiator.guest
    loopback.initiator.load()
    mark = guest.console.mark()
    line = (
        f"sessname=silent path={network.TARGET.path()} device_path=none"
        f" dest_port={peer.ROGUE_PORT}"
    )
    with peer.rogue_server(guest, ["silent"]):
        writer = guest.begin(f"exec dd of={MAP_DEVICE} status=none <<<'{line}'")
        guest.wait_until(
            lambda: "rnbdbench: the rogue server is silent" in guest.console.since(mark),
            "a client that waits",
        )
        assert writer.running
        assert loopback.initiator.transports() == ["silent"]
        writer.cancel()
        guest.wait_until(lambda: not writer.running, "the end of the writer", KILLED)
        assert loopback.initiator.transports() == []
    assert loopback.initiator.devices() == []
