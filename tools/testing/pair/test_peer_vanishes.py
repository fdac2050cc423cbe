# SPDX-License-Identifier: GPL-2.0-only
"""A machine that loses power."""

import time

import pytest

from rnbdbench import dmesg
from rnbdbench import fio
from rnbdbench import network
from rnbdbench import rtrs
from rnbdbench.lab import Lab
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.rnbd import Initiator

pytestmark = pytest.mark.fabrics("rxe", "siw")

HEARTBEAT = 30.0
"""Seconds after which a silent peer is lost: a period of 5 s, 5 missed ones, and one more."""

MARGIN = 15.0
"""Seconds to add to it for work queues, clean-up and a slow machine."""

FORCE = 10.0
"""Seconds that unmapping by force may take; it needs no response."""

FAIL_AFTER = 5
"""`fast_io_fail_tmo` of a test, in seconds."""


@pytest.mark.drivers("rust-rust", "c-rust", long=["c-rust"])
def test_server_forgets_a_client_that_was_killed(pair: Pair, lab: Lab) -> None:
    """Within the heartbeat time the disk is free, and serves the next client."""
    disk = pair.target.ram_disk(64)
    guest = pair.initiator.guest
    device = pair.map(disk)
    fio.begin_load(guest, device.node)
    fio.wait_for_io(guest, device.name)

    guest.kill()
    pair.target.guest.wait_until(
        lambda: pair.target.transports() == [] and pair.target.exports() == [],
        "the server to drop the session",
        HEARTBEAT + MARGIN,
    )

    fresh = lab.replace(guest)
    network.connect(fresh, network.INITIATOR)
    next_client = Initiator(fresh)
    next_client.load()
    device = next_client.map(disk)
    fio.verify(fresh, device.node, block="64k", size="2m")
    assert device.unmap() is None


@pytest.mark.drivers("rust-rust", "rust-c")
def test_client_survives_a_server_that_was_killed(pair: Pair, device: Device) -> None:
    """Its I/O ends with an error in bounded time, and it can be unmapped and unloaded."""
    guest = pair.initiator.guest
    load = fio.begin_load(guest, device.node)
    fio.wait_for_io(guest, device.name)
    # Otherwise I/O waits for the server to come back.
    assert pair.initiator.transport().set_max_reconnect_attempts("0") is None

    pair.target.guest.kill()
    assert load.wait(HEARTBEAT + MARGIN).code != 0
    assert device.unmap("force") is None
    assert not device.exists()
    assert pair.initiator.transports() == []
    guest.run("rmmod rnbd_client", timeout=60)


def test_unmap_right_after_the_server_was_killed(pair: Pair, device: Device) -> None:
    """The client has not noticed, and I/O would wait for long: `force` ends it soon."""
    guest = pair.initiator.guest
    load = fio.begin_load(guest, device.node)
    fio.wait_for_io(guest, device.name)

    pair.target.guest.kill()
    assert any(map(int, device.read("inflight").split())), "no I/O is in flight"
    start = time.monotonic()
    assert device.unmap("force") is None
    took = time.monotonic() - start
    assert took < FORCE * guest.patience, f"unmapping took {took:.1f} s"
    assert load.wait(MARGIN).code != 0
    assert not device.exists()
    assert pair.initiator.transports() == []


@pytest.mark.long
def test_io_ends_though_the_client_goes_on_connecting(pair: Pair, device: Device) -> None:
    """fast_io_fail_tmo: so long after the loss I/O fails, and attempts have no end."""
    guest = pair.initiator.guest
    session = pair.initiator.transport()
    (path,) = session.paths()
    assert session.write("fast_io_fail_tmo", str(FAIL_AFTER)) is None
    assert session.read("max_reconnect_attempts") == "-1"
    load = fio.begin_load(guest, device.node)
    fio.wait_for_io(guest, device.name)

    mark = guest.console.mark()
    pair.target.guest.kill()
    assert load.wait(rtrs.LOSS + FAIL_AFTER + MARGIN).code != 0
    said = guest.printed_since(mark)
    lost = dmesg.seconds(said, "session bench: disconnected, I/O on its devices waits")
    failed = dmesg.seconds(said, "bench: no path within fast_io_fail_tmo")
    # The first line may be late by a little, as it is written before the clock is set.
    assert FAIL_AFTER - 0.5 < failed - lost < FAIL_AFTER + MARGIN, said

    device.wait_for_state("closed")
    read = guest.run(f"dd if={device.node} of=/dev/null bs=4k count=1 iflag=direct", check=False)
    assert "Input/output error" in read.stderr, read
    _, attempts = path.reconnects()
    limit = rtrs.RECONNECT + rtrs.attempt(guest)
    guest.wait_until(lambda: path.reconnects()[1] > attempts, "one more attempt", limit)
    assert device.unmap("force") is None
    assert pair.initiator.transports() == []


def test_unreachable_server(pair: Pair) -> None:
    """An unused address: EHOSTUNREACH, a line with the reason, and nothing left behind."""
    pair.initiator.load()
    guest = pair.initiator.guest
    mark = guest.console.mark()
    line = "sessname=bench path=ip:10.50.100.99 device_path=/dev/ram0"
    assert pair.initiator.request(line) == "EHOSTUNREACH"
    log = guest.printed_since(mark)
    (said,) = dmesg.said_by(log, "rnbd_client")
    for word in ("path", "bench", "EHOSTUNREACH"):
        assert dmesg.names(said, word), said
    # The transport names the path.
    (said,) = dmesg.said_by(log, "rtrs")
    assert dmesg.names(said, "ip:10.50.100.99") and dmesg.names(said, "EHOSTUNREACH"), said
    assert pair.initiator.devices() == []
    assert pair.initiator.transports() == []
