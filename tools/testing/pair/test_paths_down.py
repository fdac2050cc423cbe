# SPDX-License-Identifier: GPL-2.0-only
"""All paths of a session are lost for a while, and come back."""

import pytest

from rnbdbench import fio
from rnbdbench import network
from rnbdbench import rtrs
from rnbdbench.clock import Clock
from rnbdbench.fio import Verify
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.rtrs import TransportPath

CABLES = (0, 1)

OUTAGE = 20.0
"""The least number of seconds that both cables are out."""

QUIET = 10.0
"""Seconds in which the client would have tried to reconnect a path by itself."""


def _busy(bench: Pair, attempts: str) -> tuple[Device, list[TransportPath], Verify]:
    """A device with I/O over both of its paths."""
    guest = bench.initiator.guest
    disk = bench.target.ram_disk(32)
    device = bench.map(disk, paths=[network.path(cable) for cable in CABLES])
    session = bench.initiator.transport()
    assert session.set_policy("round-robin") is None
    assert session.set_max_reconnect_attempts(attempts) is None
    # The tests are not about how long I/O waits.
    assert session.write("fast_io_fail_tmo", "off") is None
    paths = [session.path(network.path(cable)) for cable in CABLES]
    verify = fio.begin_verify(guest, device.node)
    for path in paths:
        path.wait_for_traffic(50)
    assert device.read("rnbd/state") == "open"
    return device, paths, verify


def _pull_both(bench: Pair, device: Device, paths: list[TransportPath]) -> Clock:
    """Pulls the cables and waits until both paths are lost; returns a clock from before that."""
    clock = Clock(bench.initiator.guest)
    for cable in CABLES:
        bench.cable(cable).pull()
    for path in paths:
        path.wait_for("disconnected", rtrs.LOSS + rtrs.MARGIN)
    device.wait_for_state("closed")
    return clock


def _plug_both(bench: Pair) -> None:
    for cable in CABLES:
        bench.cable(cable).plug()
    for cable in CABLES:
        for guest in bench.guests:
            network.wait_for_carrier(guest, cable, up=True)


@pytest.mark.long
def test_io_waits_until_paths_are_back(two_links: Pair) -> None:
    """No I/O completes meanwhile and none fails; then all of it goes on, over both paths."""
    guest = two_links.initiator.guest
    device, paths, verify = _busy(two_links, "-1")
    clock = _pull_both(two_links, device, paths)
    done = fio.completed(guest, device.name)
    clock.wait(OUTAGE)
    assert fio.completed(guest, device.name) == done
    assert [path.state() for path in paths] == ["disconnected", "disconnected"]
    assert device.read("rnbd/state") == "closed"
    assert verify.running

    _plug_both(two_links)
    for cable, path in zip(CABLES, paths, strict=True):
        two_links.cable(cable).wait_connected(path, rtrs.BACK)
    device.wait_for_state("open")
    for path in paths:
        assert path.reconnects()[0] == 1
        path.wait_for_traffic(50)
    verify.end()
    assert device.unmap() is None


@pytest.mark.long
def test_io_fails_without_reconnecting(two_links: Pair) -> None:
    """max_reconnect_attempts=0: at once, and until the paths are reconnected by hand."""
    guest = two_links.initiator.guest
    device, paths, verify = _busy(two_links, "0")
    clock = _pull_both(two_links, device, paths)
    assert verify.job.wait(rtrs.MARGIN).code != 0
    assert device.begin_read().wait(rtrs.MARGIN).code != 0
    clock.wait(OUTAGE)
    assert device.read("rnbd/state") == "closed"

    _plug_both(two_links)
    Clock(guest).wait(QUIET)
    assert [path.state() for path in paths] == ["disconnected", "disconnected"]
    assert [path.reconnects() for path in paths] == [(0, 0), (0, 0)]
    assert device.read("rnbd/state") == "closed"
    assert device.begin_read().wait(rtrs.MARGIN).code != 0

    for path in paths:
        path.force_connection()
        device.wait_for_state("open")
        assert path.reconnects() == (1, 0)
    fio.verify(guest, device.node, block="64k", size="4m")
    assert device.unmap() is None
