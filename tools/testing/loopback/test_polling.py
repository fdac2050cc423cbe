# SPDX-License-Identifier: GPL-2.0-only
"""I/O that is polled for goes by connections of its own, and ends by polling alone."""

import math

import pytest

from rnbdbench import dmesg
from rnbdbench import fio
from rnbdbench import network
from rnbdbench.lab import Pair

IPV4 = f"{network.INITIATOR.path()}@{network.TARGET.path()}"
IPV6 = f"{network.INITIATOR.path(6)}@{network.TARGET.path(6)}"


@pytest.mark.parametrize("queues", [1, -1], ids=["one-queue", "queue-for-each-cpu"])
def test_polled_io_completes_only_by_polling(loopback: Pair, queues: int) -> None:
    """Each polled response is counted, and no other one."""
    guest = loopback.initiator.guest
    device = loopback.map(path=IPV4, nr_poll_queues=queues)
    cpus = int(guest.output("nproc"))
    expected = cpus if queues < 0 else queues
    assert device.read("rnbd/nr_poll_queues") == str(expected)
    assert device.read("queue/io_poll") == "1"
    assert len(guest.names(f"/sys/block/{device.name}/mq")) == cpus + expected
    (path,) = loopback.initiator.transport().paths()

    path.reset()
    fio.read_blocks(guest, device.node, 200, polled=True)
    assert path.polled() == 200, "each of the polled reads, and nothing else, is polled for"
    fio.read_blocks(guest, device.node, 100)
    assert path.polled() == 200, "reads without polling complete by interrupts"
    fio.verify(guest, device.node, block="4k-256k", size="8m", polled=True)
    path.reset()
    assert path.polled() == 0
    assert device.unmap() is None


def test_polled_io_goes_on_over_the_other_path(loopback: Pair) -> None:
    """A path that is added, disconnected or removed carries polled I/O, or loses it to others."""
    guest = loopback.initiator.guest
    device = loopback.map(path=IPV4, nr_poll_queues=2)
    session = loopback.initiator.transport()
    assert session.set_policy("round-robin") is None
    assert session.add_path(IPV6) is None
    first, added = session.path(IPV4), session.path(IPV6)
    verify = fio.begin_verify(guest, device.node, polled=True)
    first.wait_for_traffic(0)
    added.wait_for_traffic(0)
    guest.wait_until(lambda: added.polled() > 100, "polled responses on the added path")

    assert first.disconnect() is None
    added.wait_for_traffic(0)
    first.force_connection()
    first.wait_for_traffic(0)
    assert added.remove() is None
    first.wait_for_traffic(0)

    # Without a path, polled I/O waits like other I/O.
    assert first.disconnect() is None
    assert device.read("rnbd/state") == "closed"
    first.force_connection()
    first.wait_for_traffic(0)
    verify.end()
    assert device.unmap() is None


@pytest.mark.long
def test_a_polled_connection_may_be_idle(loopback: Pair) -> None:
    """Nobody handles its completions then, and the path does not take that for a lost request."""
    guest = loopback.initiator.guest
    device = loopback.map(path=IPV4, nr_poll_queues=1)
    (path,) = loopback.initiator.transport().paths()
    fio.read_blocks(guest, device.node, 200, polled=True)
    mark, connected = guest.console.mark(), path.reconnects()
    # A path is given up at the eighth heartbeat at last.
    path.wait_for_heartbeats(10)
    # The last one; those of the control connection may be under way whenever that is looked at.
    polled = int(guest.output("nproc")) + 1
    assert f"connection {polled} made no progress" not in guest.printed_since(mark)
    assert path.reconnects() == connected, "the path was lost"
    assert device.unmap() is None


@pytest.mark.kernels("stock")
def test_a_path_is_disconnected_without_waiting_for_polled_queues(loopback: Pair) -> None:
    """`ib_drain_qp` would look for completions of each queue after 0.2 s, one after the other.

    On the sanitizing kernel everything takes as long.
    """
    guest = loopback.initiator.guest
    device = loopback.map(path=IPV4, nr_poll_queues=-1)
    queues = int(device.read("rnbd/nr_poll_queues"))
    (path,) = loopback.initiator.transport().paths()
    shortest = math.inf
    # The machine may be busy, so the best of some attempts counts.
    for _ in range(10):
        began, ended = guest.output(
            f"date +%s%N; echo 1 > {path.folder}/disconnect; date +%s%N"
        ).split()
        assert path.state() == "disconnected"
        shortest = min(shortest, (int(ended) - int(began)) / 1e9)
        path.force_connection()
        if shortest < 0.2 * queues:
            break
    assert shortest < 0.2 * queues
    assert device.unmap() is None


def test_polled_io_fails_by_force(loopback: Pair) -> None:
    """Unmapping by force does not wait for a caller to poll."""
    guest = loopback.initiator.guest
    device = loopback.map(path=IPV4, nr_poll_queues=1)
    verify = fio.begin_verify(guest, device.node, polled=True)
    fio.wait_for_io(guest, device.name)
    assert device.unmap("force") is None
    assert verify.job.wait().code != 0
    assert not device.exists()


def test_a_polled_device_has_a_session_of_its_own(loopback: Pair) -> None:
    """Whichever device comes first; a line in the log names the reason."""
    guest = loopback.initiator.guest
    loopback.target.ram_disk(16, count=2)
    loopback.load()
    other = "path=ip:10.50.100.66 device_path=/dev/ram1"
    polled = loopback.initiator.map("/dev/ram0", session="polled", nr_poll_queues=1)
    plain = loopback.initiator.map("/dev/ram0", session="plain", access_mode="ro")
    assert loopback.initiator.request(f"sessname=polled {other}") == "EINVAL"
    assert "nr_poll_queues" in dmesg.last(guest)
    assert loopback.initiator.request(f"sessname=plain nr_poll_queues=1 {other}") == "EINVAL"
    assert "nr_poll_queues" in dmesg.last(guest)
    assert loopback.initiator.devices() == [polled, plain]
    assert polled.unmap() is None
    assert plain.unmap() is None
