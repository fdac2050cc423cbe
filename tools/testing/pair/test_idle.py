# SPDX-License-Identifier: GPL-2.0-only
"""Sessions without I/O, which only heartbeats keep alive."""

import pytest

from rnbdbench import fio
from rnbdbench import rtrs
from rnbdbench.clock import Clock
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.rtrs import TransportPath

IDLE = 42.0
"""Seconds after which either driver has dropped a peer without heartbeats: 35 at most."""


def _mapped(bench: Pair) -> tuple[Device, TransportPath]:
    device = bench.map()
    (path,) = bench.initiator.transport().paths()
    assert path.state() == "connected"
    return device, path


@pytest.mark.long
@pytest.mark.drivers("rust-rust", "rust-c", "c-rust")
def test_an_idle_session_stays_connected(pair: Pair) -> None:
    """For longer than either side waits for a heartbeat; then I/O works as before."""
    guest = pair.initiator.guest
    device, path = _mapped(pair)
    fio.read_blocks(guest, device.node, 16)
    done = fio.completed(guest, device.name)
    Clock(guest).wait(IDLE)
    assert fio.completed(guest, device.name) == done, "it was not idle"
    assert path.state() == "connected"
    assert path.reconnects() == (0, 0)
    assert path.latency() > 0, "no heartbeat got a response"
    assert device.read("rnbd/state") == "open"
    assert len(pair.target.transport().path_names()) == 1
    assert pair.target.sessions() == ["bench"]
    fio.verify(guest, device.node, block="64k", size="2m")
    assert path.reconnects() == (0, 0)
    assert device.unmap() is None


@pytest.mark.long
@pytest.mark.drivers("rust-rust", "rust-c")
def test_an_idle_path_is_lost_with_its_server(pair: Pair) -> None:
    """Without any I/O, as heartbeats get no response."""
    guest = pair.initiator.guest
    device, path = _mapped(pair)
    guest.wait_until(lambda: path.latency() > 0, "heartbeats")
    pair.target.guest.kill()
    path.wait_for("disconnected", rtrs.LOSS)
    device.wait_for_state("closed")
    assert device.unmap() is None


@pytest.mark.long
@pytest.mark.drivers("rust-rust", "c-rust")
def test_the_server_drops_an_idle_client_that_is_gone(pair: Pair) -> None:
    """The server drops its session and closes its devices, for the same reason."""
    guest = pair.initiator.guest
    _, path = _mapped(pair)
    guest.wait_until(lambda: path.latency() > 0, "heartbeats")
    assert pair.target.exports() == ["ram0"]
    guest.kill()
    pair.target.guest.wait_until(
        lambda: pair.target.exports() == [] and pair.target.transports() == [],
        "the server to drop the session",
        rtrs.LOSS,
    )
