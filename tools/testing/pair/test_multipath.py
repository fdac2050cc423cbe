# SPDX-License-Identifier: GPL-2.0-only
"""A session with two paths, each over a cable of its own."""

from dataclasses import replace

import pytest

from rnbdbench import fio
from rnbdbench import network
from rnbdbench import rtrs
from rnbdbench.clock import Clock
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.rtrs import TransportPath
from rnbdbench.rtrs import TransportSession

BOTH = [network.path(0), network.path(1)]
"""Names of the two paths."""

POLICIES = {
    "round-robin (RR: 0)": ["round-robin", "Round-Robin\n", "rr", "RR", "0"],
    "min-inflight (MI: 1)": ["min-inflight", "MIN-INFLIGHT", "mi", "MI\n", "1"],
    "min-latency (ML: 2)": ["min-latency", "Min-Latency", "ml", "ML", "2\n"],
}
"""The texts that mpath_policy shows, and those that it takes for each."""

DELAY = 50
"""Milliseconds by which a slow path is slower, far more than a busy machine adds."""

PULLS = 20
"""How often a cable is pulled in the test of many."""

DEPTH = 32
"""Requests in flight in it."""

RESENT = 8.0
"""Seconds after which retransmission has ended: the connection works or is lost."""

SECONDS = 300
"""The least number of seconds that it takes."""

MESSAGE = 32
"""Bytes of the message that describes a read or write."""


def _paths(bench: Pair) -> list[TransportPath]:
    """Both paths, in the order of the cables."""
    session = bench.initiator.transport()
    assert sorted(session.path_names()) == BOTH
    return [session.path(name) for name in BOTH]


def _add_path(session: TransportSession, text: str) -> None:
    """Adds a path, as soon as the server has dropped an old one with the same addresses."""
    session.guest.wait_until(
        lambda: session.add_path(text) is None, f"path {text} to be added", rtrs.LOSS
    )


def _carries_all(path: TransportPath, lost: TransportPath, guest: Guest, device: Device) -> None:
    """Checks that I/O goes on over one path, and stops over the other."""
    before = lost.counters().operations
    path.wait_for_traffic(50)
    fio.wait_for_io(guest, device.name)
    assert lost.counters().operations == before


def _expect_shared_load(bench: Pair) -> None:
    device = bench.map(paths=BOTH)
    session = bench.initiator.transport()
    paths = _paths(bench)
    assert [path.state() for path in paths] == ["connected", "connected"]
    assert [path.read("hca_name") for path in paths] == [network.rdma_name(0), network.rdma_name(1)]
    for number, path in enumerate(paths):
        assert path.read("src_addr") == network.INITIATORS[number].path()
        assert path.read("dst_addr") == network.TARGETS[number].path()
        assert path.reconnects() == (0, 0)
    assert sorted(bench.target.transport().path_names()) == BOTH

    assert session.set_policy("round-robin") is None
    before = [path.counters() for path in paths]
    fio.verify(bench.initiator.guest, device.node, block="4k-256k", size="16m", depth=32)
    for path, then in zip(paths, before, strict=True):
        now = path.counters()
        assert now.reads > then.reads
        assert now.bytes_read > then.bytes_read
        assert now.writes > then.writes
        assert now.bytes_written > then.bytes_written
        assert now.failovers == 0
    assert device.unmap() is None
    assert session.path_names() == []


def test_two_paths_share_the_load(two_links: Pair) -> None:
    """Both are connected at once, shown on both sides, and used in turn."""
    _expect_shared_load(two_links)


@pytest.mark.long
@pytest.mark.drivers("rust-c", "c-rust")
def test_two_paths_with_a_c_driver(two_links: Pair) -> None:
    """The same where one of the sides is the C driver."""
    _expect_shared_load(two_links)


def _expect_failover(bench: Pair) -> None:
    guest = bench.initiator.guest
    device = bench.map(paths=BOTH)
    assert bench.initiator.transport().set_policy("round-robin") is None
    kept, lost = _paths(bench)
    verify = fio.begin_verify(guest, device.node)
    lost.wait_for_traffic(50)

    bench.cable(1).pull()
    lost.wait_for("disconnected", rtrs.LOSS + rtrs.MARGIN)
    _carries_all(kept, lost, guest, device)
    assert kept.state() == "connected"
    assert kept.counters().failovers > 0
    assert device.read("rnbd/state") == "open"

    bench.cable(1).plug()
    bench.cable(1).wait_connected(lost, rtrs.RECONNECT + rtrs.MARGIN)
    assert lost.reconnects()[0] == 1
    assert kept.reconnects() == (0, 0)
    lost.wait_for_traffic(50)
    verify.end()
    assert device.unmap() is None


def test_one_cable_out_and_back(two_links: Pair) -> None:
    """I/O goes on over the other path without an error, and over both once it is back."""
    _expect_failover(two_links)


@pytest.mark.long
@pytest.mark.drivers("rust-c")
def test_one_cable_out_and_back_with_the_c_server(two_links: Pair) -> None:
    """The same with the C driver on the server; test_c_client.py has its client."""
    _expect_failover(two_links)


def test_policy_is_chosen_by_name_and_number(two_links: Pair) -> None:
    """In every form, while I/O runs; anything else is refused and changes nothing."""
    guest = two_links.initiator.guest
    device = two_links.map(paths=BOTH)
    session = two_links.initiator.transport()
    assert session.read("mpath_policy") == "min-inflight (MI: 1)"
    verify = fio.begin_verify(guest, device.node)
    fio.wait_for_io(guest, device.name)
    for shown, forms in POLICIES.items():
        for form in forms:
            assert session.set_policy(form) is None, form
            assert session.read("mpath_policy") == shown, form
        fio.wait_for_io(guest, device.name)
    for wrong in ("3", "-1", "\n", "min", "r", "fastest"):
        assert session.set_policy(wrong) == "EINVAL", wrong
    assert session.read("mpath_policy") == "min-latency (ML: 2)"
    verify.end()
    assert device.unmap() is None


@pytest.mark.long
def test_policies_differ_when_one_path_is_slow(two_links: Pair) -> None:
    """Round-robin uses both alike, min-inflight uses it less, min-latency hardly at all."""
    guest = two_links.initiator.guest
    device = two_links.map(paths=BOTH)
    session = two_links.initiator.transport()
    fast, slow = _paths(two_links)

    def share_of_fast(policy: str) -> float:
        assert session.set_policy(policy) is None
        # What was sent under the policy before is done by then.
        fio.wait_for_io(guest, device.name)
        start = [path.counters().operations for path in (fast, slow)]

        def sent() -> list[int]:
            now = [path.counters().operations for path in (fast, slow)]
            return [count - then for count, then in zip(now, start, strict=True)]

        guest.wait_until(lambda: sum(sent()) > 1000, f"1000 requests under {policy}", 60)
        counts = sent()
        return counts[0] / sum(counts)

    with network.delay(guest, 1, DELAY):
        # Few requests at a time, as many would make both paths slow.
        load = fio.begin_load(guest, device.node, depth=4)
        guest.wait_until(
            lambda: slow.latency() > DELAY * 1_000_000 > 2 * fast.latency() > 0,
            "heartbeats to tell which path is the slow one",
        )
        shares = {policy: share_of_fast(policy) for policy in ("rr", "mi", "ml")}
        assert load.running
        load.cancel()
        load.wait()
    assert 0.4 < shares["rr"] < 0.6, shares
    assert shares["mi"] > 0.6, shares
    assert shares["ml"] > 0.9, shares
    assert device.unmap() is None


def test_path_is_added_and_removed_during_io(two_links: Pair) -> None:
    """It carries I/O at once, and no I/O fails when it is removed."""
    guest = two_links.initiator.guest
    device = two_links.map(paths=BOTH[:1])
    session = two_links.initiator.transport()
    assert session.set_policy("round-robin") is None
    verify = fio.begin_verify(guest, device.node)
    fio.wait_for_io(guest, device.name)

    # The source is optional: the kernel chooses one.
    for text in (network.TARGETS[1].path(), f"{BOTH[1]}\n"):
        _add_path(session, text)
        first, second = _paths(two_links)
        assert second.state() == "connected"
        second.wait_for_traffic(50)
        for existing in (*BOTH, network.TARGETS[1].path()):
            assert session.add_path(existing) == "EEXIST", existing
        assert second.write("remove_path", "0") == "EINVAL"
        assert second.remove() is None
        assert session.path_names() == [first.name]
        fio.wait_for_io(guest, device.name)
    for wrong in ("\n", "10.50.101.66", "ip:10.50.101.366", f"ip:x@{network.TARGETS[1].path()}"):
        assert session.add_path(wrong) == "EINVAL", wrong
    assert session.path_names() == BOTH[:1]
    verify.end()
    assert device.unmap() is None


def test_last_path_is_removed_and_another_one_added(two_links: Pair) -> None:
    """Without a path the device stays, but is closed; a new path opens it again."""
    guest = two_links.initiator.guest
    device = two_links.map(paths=BOTH[:1])
    session = two_links.initiator.transport()
    assert session.paths()[0].remove() is None
    assert session.path_names() == []
    device.wait_for_state("closed")
    _add_path(session, BOTH[1])
    assert session.path_names() == BOTH[1:]
    device.wait_for_state("open")
    fio.verify(guest, device.node, block="64k", size="4m")
    assert device.unmap() is None


def test_one_of_two_paths_is_disconnected_by_hand(two_links: Pair) -> None:
    """And connected again; I/O goes on all the time."""
    guest = two_links.initiator.guest
    device = two_links.map(paths=BOTH)
    assert two_links.initiator.transport().set_policy("round-robin") is None
    kept, lost = _paths(two_links)
    verify = fio.begin_verify(guest, device.node)
    lost.wait_for_traffic(50)
    for attribute in ("disconnect", "reconnect"):
        assert lost.write(attribute, "yes") == "EINVAL"
    assert lost.disconnect() is None
    assert lost.state() == "disconnected"
    _carries_all(kept, lost, guest, device)
    lost.force_connection()
    assert lost.reconnects()[0] == 1
    lost.wait_for_traffic(50)
    verify.end()
    assert device.unmap() is None


def _connected(path: TransportPath) -> int:
    """Returns how often the client has logged that this path is connected."""
    text = f"{path.name}: connected,"
    return int(path.guest.output(f"dmesg | grep -cF '{text}' || true"))


def _wait_for_responses(path: TransportPath) -> None:
    """Waits until a path has carried more requests than can be in flight."""
    start = path.counters().operations
    path.guest.wait_until(
        lambda: path.counters().operations > start + 2 * DEPTH,
        f"responses over {path.name}",
        rtrs.BACK,
    )
    assert path.state() == "connected"


def _pull_in_turn(bench: Pair, device: Device, pulls: range, clock: Clock) -> list[int]:
    """Pulls one cable after the other; returns how often each path was lost at least.

    Each stays out until its path is lost, the next time only until the card noticed.
    """
    guest = bench.initiator.guest
    paths = _paths(bench)
    losses = [0, 0]
    for pull in pulls:
        # Both cables in turn, and each of them in turn for long and for a moment.
        number, held = pull % 2, pull // 2 % 2 == 0
        clock.wait(pull * SECONDS / PULLS)
        bench.cable(number).pull()
        if held:
            paths[number].wait_for("disconnected", rtrs.LOSS + rtrs.MARGIN)
            losses[number] += 1
            fio.wait_for_io(guest, device.name)
        else:
            network.wait_for_carrier(guest, number, up=False)
        bench.cable(number).plug()
        # A moment may have taken one connection, and the path with it, some seconds later.
        # Nothing must be left of that when the other cable goes.
        Clock(guest).wait(RESENT)
        bench.cable(number).wait_connected(paths[number], rtrs.BACK)
        _wait_for_responses(paths[number])
    return losses


def _expect_reconnects(paths: list[TransportPath], said: list[int], seen: list[int]) -> None:
    """Checks that each path came back as often as it was lost, by what the client said."""
    for path, before, held in zip(paths, said, seen, strict=True):
        again = _connected(path) - before
        assert again >= held > 0, f"{path.name}: {again} times again, seen lost {held} times"
        assert path.reconnects()[0] == again, f"{path.name}: connected {again} times again"


def _expect_same_counters(bench: Pair, device: Device) -> None:
    """Checks that the server counts what the client sends, while no path is lost."""
    paths = _paths(bench)
    for path in paths:
        path.reset()
        bench.target.transport().path(path.name).reset()
    fio.verify(bench.initiator.guest, device.node, block="4k-64k", size="8m", depth=DEPTH)
    for path in paths:
        sent, arrived = path.counters(), bench.target.transport().path(path.name).counters()
        assert sent.reads > 0 and sent.writes > 0
        assert sent.failovers == 0
        # The server counts the messages among the bytes.
        sent = replace(
            sent,
            bytes_read=sent.bytes_read + sent.reads * MESSAGE,
            bytes_written=sent.bytes_written + sent.writes * MESSAGE,
        )
        assert sent == arrived, path.name


@pytest.mark.long
def test_links_go_up_and_down(two_links: Pair) -> None:
    """Twenty times in five minutes of I/O, 32 deep, without a pause; all counters agree."""
    guest = two_links.initiator.guest
    device = two_links.map(paths=BOTH)
    session = two_links.initiator.transport()
    assert session.set_policy("round-robin") is None
    first, second = _paths(two_links)
    said = [_connected(path) for path in (first, second)]
    # The server was told of the device.
    before = sum(path.counters().operations for path in (first, second))
    start = fio.completed(guest, device.name)
    clock = Clock(guest)
    verify = fio.begin_verify(guest, device.node, depth=DEPTH)
    for path in (first, second):
        _wait_for_responses(path)
    seen = _pull_in_turn(two_links, device, range(PULLS // 2), clock)
    _expect_reconnects([first, second], said, seen)

    # With nothing in flight its counters stand still.
    assert first.disconnect() is None
    removed = first.counters()
    assert removed.inflight == 0
    assert first.remove() is None
    assert session.path_names() == BOTH[1:]
    fio.wait_for_io(guest, device.name)
    _add_path(session, first.name)
    assert first.reconnects() == (0, 0)
    _wait_for_responses(first)
    said[0] = _connected(first)

    later = _pull_in_turn(two_links, device, range(PULLS // 2, PULLS), clock)
    _expect_reconnects([first, second], said, [later[0], seen[1] + later[1]])
    clock.wait(SECONDS)
    assert verify.running
    verify.end()
    assert [path.state() for path in (first, second)] == ["connected", "connected"]
    assert device.read("rnbd/state") == "open"

    counters = [path.counters() for path in (first, second)]
    assert [each.inflight for each in counters] == [0, 0]
    requests = fio.completed(guest, device.name) - start
    operations = sum(each.operations for each in (removed, *counters)) - before
    failovers = sum(each.failovers for each in (removed, *counters))
    assert failovers > 0
    # A request that failed over was sent twice, and was counted once or twice.
    assert requests <= operations <= requests + failovers
    _expect_same_counters(two_links, device)
    assert device.unmap() is None


@pytest.mark.parametrize("side", [pytest.param("initiator", marks=pytest.mark.long), "target"])
def test_an_rdma_device_is_removed_under_load(two_links: Pair, side: str) -> None:
    """Its path is lost at once, I/O goes on over the other; it is back with the device."""
    guest = two_links.initiator.guest
    loser = getattr(two_links, side).guest
    device = two_links.map(paths=BOTH)
    assert two_links.initiator.transport().set_policy("round-robin") is None
    kept, lost = _paths(two_links)
    verify = fio.begin_verify(guest, device.node)
    lost.wait_for_traffic(50)

    network.remove_rdma(loser, 1)
    lost.wait_for("disconnected", rtrs.LOSS + rtrs.MARGIN)
    _carries_all(kept, lost, guest, device)

    network.add_rdma(loser, 1)
    lost.wait_for("connected", rtrs.BACK)
    lost.wait_for_traffic(0)
    verify.end()
    assert device.unmap() is None
