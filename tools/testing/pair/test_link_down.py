# SPDX-License-Identifier: GPL-2.0-only
"""An interface that is taken down and comes back, under I/O."""

import pytest

from rnbdbench import fio
from rnbdbench import network
from rnbdbench import rtrs
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.rtrs import TransportPath

BOTH = [network.path(0), network.path(1)]
"""Names of the two paths."""

ROUNDS = 20
"""How often the long test takes interfaces down."""

DOWN = 15.0
"""Seconds for which it does."""


def _set_link(guest: Guest, number: int, up: bool) -> None:
    guest.run(f"ip link set {network.card_name(number)} {'up' if up else 'down'}")


def _expect_working_gsi(bench: Pair) -> None:
    """Checks that no queue pair for management is in the error state, which it never leaves."""
    for guest in bench.guests:
        queues = guest.output("rdma resource show qp")
        gsi = [line for line in queues.splitlines() if "type GSI" in line]
        assert len(gsi) == 2, queues
        for line in gsi:
            assert "state RTS" in line, f"{guest.name}: {line}"


def _flap(bench: Pair, guest: Guest, number: int, path: TransportPath, seconds: float) -> None:
    """Takes an interface down, and up again; the path over it must be lost and come back."""
    before = path.reconnects()[0]
    _set_link(guest, number, up=False)
    path.wait_for("disconnected", rtrs.LOSS + rtrs.MARGIN)
    bench.initiator.guest.run(f"sleep {seconds}")
    # With a queue pair in error no path comes back.
    _expect_working_gsi(bench)
    _set_link(guest, number, up=True)
    path.wait_for("connected", rtrs.RECONNECT + rtrs.MARGIN)
    assert path.reconnects()[0] == before + 1
    path.wait_for_traffic(50)
    _expect_working_gsi(bench)


def _expect_paths_back(bench: Pair, rounds: int, seconds: float) -> None:
    guest = bench.initiator.guest
    device = bench.map(paths=BOTH)
    session = bench.initiator.transport()
    assert session.set_policy("round-robin") is None
    verify = fio.begin_verify(guest, device.node)
    for path in map(session.path, BOTH):
        path.wait_for_traffic(50)
    for count in range(rounds):
        guest, number = bench.guests[count % 2], count // 2 % 2
        _flap(bench, guest, number, session.path(BOTH[number]), seconds)
    verify.end()
    assert device.unmap() is None


def test_paths_come_back_when_their_interface_is_up_again(two_links: Pair) -> None:
    """On either side; nothing is sent for the lost path over the port that is down."""
    _expect_paths_back(two_links, rounds=2, seconds=1)


@pytest.mark.long
def test_paths_come_back_every_time(two_links: Pair) -> None:
    """As often and as long as an operator may do it, on both links in turn."""
    _expect_paths_back(two_links, rounds=ROUNDS, seconds=DOWN)
