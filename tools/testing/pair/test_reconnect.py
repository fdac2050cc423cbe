# SPDX-License-Identifier: GPL-2.0-only
"""A session with one path, which is lost and comes back."""

import pytest

from rnbdbench import dmesg
from rnbdbench import drivers
from rnbdbench import fio
from rnbdbench import network
from rnbdbench import rtrs
from rnbdbench.lab import Lab
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.rnbd import Target
from rnbdbench.rtrs import TransportPath
from rnbdbench.stalling import StallingDisk

DEPTH = 32
"""Requests at a time."""

NOTICED = 20.0
"""Seconds until a client notices by a heartbeat that a path is lost: by the next one, which is
sent three times."""


def _mapped(bench: Pair, **transport: int) -> tuple[Device, TransportPath]:
    device = bench.map(transport=transport)
    (path,) = bench.initiator.transport().paths()
    assert path.name == network.path()
    assert path.state() == "connected"
    return device, path


def test_io_waits_while_the_cable_is_out(pair: Pair) -> None:
    """No error; once it is back, so is the path, within the delay for reconnecting."""
    guest = pair.initiator.guest
    device, path = _mapped(pair)
    assert pair.initiator.transport().read("max_reconnect_attempts") == "-1"
    verify = fio.begin_verify(guest, device.node)
    fio.wait_for_io(guest, device.name)

    pair.cable().pull()
    path.wait_for("disconnected", rtrs.LOSS + rtrs.MARGIN)
    device.wait_for_state("closed")
    assert verify.running

    pair.cable().plug()
    pair.cable().wait_connected(path, rtrs.RECONNECT + rtrs.MARGIN)
    device.wait_for_state("open")
    assert path.reconnects()[0] == 1
    fio.wait_for_io(guest, device.name)
    verify.end()
    assert device.unmap() is None


def test_io_waits_while_the_path_is_disconnected_by_hand(pair: Pair) -> None:
    """Requests in flight wait, and so do later ones; all complete after `reconnect`."""
    guest = pair.initiator.guest
    device, path = _mapped(pair)
    verify = fio.begin_verify(guest, device.node)
    fio.wait_for_io(guest, device.name)
    assert path.disconnect() is None
    assert path.state() == "disconnected"
    device.wait_for_state("closed")
    read = device.begin_read()
    guest.wait_until(lambda: pair.target.sessions() == [], "the server's clean-up", rtrs.LOSS)
    assert read.running
    assert verify.running

    path.force_connection()
    device.wait_for_state("open")
    assert read.wait().code == 0
    fio.wait_for_io(guest, device.name)
    verify.end()
    assert device.unmap() is None


def test_io_fails_when_there_is_no_reconnecting(pair: Pair) -> None:
    """max_reconnect_attempts=0: an error once the path is lost, in bounded time."""
    guest = pair.initiator.guest
    device, path = _mapped(pair)
    session = pair.initiator.transport()
    for good in ("9999", "-1\n", "0"):
        assert session.set_max_reconnect_attempts(good) is None
        assert session.read("max_reconnect_attempts") == good.strip()
    for wrong in ("-2", "10000", "\n", "many"):
        assert session.set_max_reconnect_attempts(wrong) == "EINVAL", wrong
    assert session.read("max_reconnect_attempts") == "0"
    load = fio.begin_load(guest, device.node)
    fio.wait_for_io(guest, device.name)

    pair.cable().pull()
    assert load.wait(rtrs.LOSS + rtrs.MARGIN).code != 0
    path.wait_for("disconnected", rtrs.MARGIN)
    assert device.begin_read().wait(rtrs.MARGIN).code != 0
    assert device.unmap("force") is None
    assert not device.exists()


# On the sanitizing kernel unloading takes as long as the attempts do.
@pytest.mark.long
@pytest.mark.kernels("stock")
def test_attempts_end_after_as_many_as_allowed(pair: Pair) -> None:
    """Each is counted; then the path is closed and I/O fails, until a reconnect by hand."""
    guest = pair.initiator.guest
    device, path = _mapped(pair)
    session = pair.initiator.transport()
    assert session.set_max_reconnect_attempts("2") is None
    # The time after which I/O fails anyway must not be what makes it fail.
    assert session.write("fast_io_fail_tmo", "off") is None
    drivers.unload(pair.target.guest)
    path.wait_for("disconnected", rtrs.MARGIN)
    device.wait_for_state("closed")
    read = device.begin_read()

    def failed() -> int:
        successful, failed = path.reconnects()
        assert successful == 0
        return failed

    guest.wait_until(lambda: failed() == 1, "the first attempt", rtrs.MARGIN)
    assert read.running, "I/O must wait while there is an attempt left"
    assert read.wait(rtrs.RECONNECT + rtrs.MARGIN).code != 0
    assert failed() == 2
    said = guest.output("dmesg | grep 'giving up after'").splitlines()
    assert path.name in said[-1], said
    assert path.state() == "disconnected"
    device.wait_for_state("closed")
    assert device.begin_read().wait(rtrs.MARGIN).code != 0, "I/O is to fail at once now"

    pair.target.load()
    path.force_connection()
    assert path.reconnects() == (1, 2)
    device.wait_for_state("open")
    fio.verify(guest, device.node, block="64k", size="4m")
    assert device.unmap() is None


def test_io_goes_on_after_a_lost_response(pair: Pair) -> None:
    """The server's network card refuses it; the client does not wait for it for ever.

    Soft-RoCE then moves the queue pair to the error state, and shows that only by flushing
    posted work requests; all requests have arrived, so the client cannot notice.
    """
    guest, target = pair.initiator.guest, pair.target.guest
    disk = StallingDisk.make(target, pair.target.ram_disk(32))
    device = pair.map(disk.node)
    (path,) = pair.initiator.transport().paths()
    (served,) = pair.target.transport().paths()
    disk.stop()
    load = fio.begin_load(guest, device.node, rw="randwrite", depth=DEPTH)

    def inflight() -> int:
        return sum(map(int, device.read("inflight").split()))

    def arrived() -> bool:
        return served.counters().operations == path.counters().operations

    guest.wait_until(lambda: inflight() == DEPTH and arrived(), "all requests to arrive")
    refused = network.refused(target)
    with network.refusal(target):
        disk.go_on()
        target.wait_until(lambda: network.refused(target) > refused, "a response to be refused")
    guest.wait_until(
        lambda: path.state() != "connected" or path.reconnects()[0] > 0,
        "the path to be lost",
        NOTICED,
    )
    pair.cable().wait_connected(path, rtrs.BACK)
    done = fio.completed(guest, device.name)
    guest.wait_until(lambda: fio.completed(guest, device.name) > done, "I/O to go on")
    assert load.running
    load.cancel()
    load.wait()
    guest.wait_until(lambda: inflight() == 0, "the last requests to end")
    guest.wait_until(lambda: device.unmap() is None, "the device to be closed")


@pytest.mark.long
@pytest.mark.drivers("rust-rust", "rust-c")
def test_io_goes_on_when_the_server_was_booted_again(pair: Pair, lab: Lab) -> None:
    """Power is cut during I/O; the client waits until its disk is back."""
    guest = pair.initiator.guest
    device, path = _mapped(pair)
    # The content is lost with the server's memory, so this one does not look at it.
    load = fio.begin_load(guest, device.node)
    fio.wait_for_io(guest, device.name)
    # The sanitizing kernel may take longer to boot than I/O waits otherwise.
    assert pair.initiator.transport().write("fast_io_fail_tmo", "off") is None
    pair.target.guest.kill()
    path.wait_for("disconnected", rtrs.LOSS + rtrs.MARGIN)
    device.wait_for_state("closed")

    fresh = lab.replace(pair.target.guest)
    network.connect(fresh, network.TARGET)
    target = Target(fresh)
    target.ram_disk(32)
    target.load()
    # An attempt may be under way that gets no response.
    path.wait_for("connected", rtrs.BACK)
    device.wait_for_state("open")
    fio.wait_for_io(guest, device.name)
    assert load.running
    load.cancel()
    load.wait()
    fio.verify(guest, device.node, block="4k-64k", size="8m")
    assert device.unmap() is None


@pytest.mark.long
def test_a_server_comes_back_with_other_parameters(pair: Pair) -> None:
    """The client refuses limits below those of its disk, and accepts higher ones."""
    guest = pair.initiator.guest
    device, path = _mapped(pair, sess_queue_depth=128)
    verify = fio.begin_verify(guest, device.node)
    fio.wait_for_io(guest, device.name)
    for less in ({"sess_queue_depth": 64}, {"max_chunk_size": 65536}):
        drivers.unload(pair.target.guest)
        path.wait_for("disconnected", rtrs.MARGIN)
        pair.target.load(transport={"sess_queue_depth": 128, **less})
        guest.wait_until(lambda: path.reconnect() == "EPROTO", f"{less} to be refused")
        assert "unmap and map them again" in dmesg.last(guest, 5)
        device.wait_for_state("closed")
        assert verify.running
    drivers.unload(pair.target.guest)
    pair.target.load(transport={"sess_queue_depth": 256, "max_chunk_size": 262144})
    path.force_connection()
    device.wait_for_state("open")
    fio.wait_for_io(guest, device.name)
    verify.end()
    assert device.unmap() is None
