# SPDX-License-Identifier: GPL-2.0-only
"""What the target's transport shows of its sessions, and takes from the administrator."""

from rnbdbench import drivers
from rnbdbench import fio
from rnbdbench import network
from rnbdbench import rtrs
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.rnbd import Target
from rnbdbench.rtrs import Counters
from rnbdbench.rtrs import TransportPath

IO_MESSAGE = 32
"""Bytes of a request beside its data."""


def _keep_client_away(bench: Pair, session: str) -> None:
    """Lets the client take the loss of its path for final."""
    assert bench.initiator.transport(session).set_max_reconnect_attempts("0") is None


def _path(target: Target, session: str = "bench") -> TransportPath:
    """The only path of a session."""
    (path,) = target.transport(session).paths()
    return path


def _wait_for_sessions(target: Target, *names: str) -> None:
    """Waits until these are left."""
    target.guest.wait_until(lambda: target.transports() == list(names), "the end of the session")


def test_ipv6_path(loopback: Pair) -> None:
    """Addresses are written short, without port and brackets."""
    client, server = network.INITIATOR.path(6), network.TARGET.path(6)
    loopback.map(path=f"{client}@{server}")
    assert loopback.target.transport().path_names() == [f"{client}@{server}"]


def test_disconnect_ends_the_session(loopback: Pair, device: Device) -> None:
    """During I/O; the session's folder goes, and the name can be used again."""
    guest = loopback.target.guest
    _keep_client_away(loopback, "bench")
    load = fio.begin_load(guest, device.node)
    fio.wait_for_io(guest, device.name)
    assert _path(loopback.target).disconnect() is None
    _wait_for_sessions(loopback.target)
    assert loopback.target.exports() == []
    assert device.unmap("force") is None
    assert load.wait(60).code != 0
    device = loopback.initiator.map("/dev/ram0")
    assert loopback.target.transports() == ["bench"]
    assert device.unmap() is None
    _wait_for_sessions(loopback.target)


def test_disconnect_leaves_other_sessions_alone(loopback: Pair) -> None:
    """Two sessions, one of which loses its path."""
    guest = loopback.target.guest
    first = loopback.map(session="first", access_mode="ro")
    second = loopback.initiator.map("/dev/ram0", session="second", access_mode="ro")
    assert loopback.target.transports() == ["first", "second"]
    _keep_client_away(loopback, "first")
    assert _path(loopback.target, "first").disconnect() is None
    _wait_for_sessions(loopback.target, "second")
    guest.run(f"dd if={second.node} of=/dev/null bs=4k count=1 iflag=direct status=none")
    assert first.unmap("force") is None
    assert second.unmap() is None
    _wait_for_sessions(loopback.target)


def test_counters_agree_with_the_io_done(loopback: Pair, device: Device) -> None:
    """Reads and writes, each with its number and its bytes."""
    guest = loopback.target.guest
    path = _path(loopback.target)
    read = f"dd if={device.node} of=/dev/null bs=4k count=16 iflag=direct status=none"
    write = f"dd if=/dev/zero of={device.node} bs=8k count=9 oflag=direct conv=notrunc status=none"
    path.reset()
    assert path.counters() == Counters(0, 0, 0, 0)
    guest.run(read)
    reads = 16, 16 * (4096 + IO_MESSAGE)
    assert path.counters() == Counters(*reads, 0, 0)
    guest.run(write)
    assert path.counters() == Counters(*reads, 9, 9 * (8192 + IO_MESSAGE))
    assert path.write("stats/rdma") is None
    assert path.counters() == Counters(0, 0, 0, 0)
    guest.run(read)
    assert path.counters() == Counters(*reads, 0, 0)


def test_pinned_memory_is_that_of_the_chunks(loopback: Pair, device: Device) -> None:
    """One path has as many chunks as requests can be in flight, with 4 KiB for headers each."""
    guest = loopback.target.guest
    parameters = "/sys/module/rtrs/parameters"
    depth = int(guest.read(f"{parameters}/sess_queue_depth"))
    chunk = int(guest.read(f"{parameters}/max_chunk_size"))
    assert loopback.target.transport().read("pinned_memory") == str(depth * (chunk + 4096))


def test_everything_goes_with_the_mapping(loopback: Pair, device: Device) -> None:
    """The folder of a session goes with it, and the class with the module."""
    guest = loopback.target.guest
    for _ in range(3):
        assert loopback.target.transports() == ["bench"]
        assert device.unmap() is None
        # No wait: the name is free when the client is let in again.
        device = loopback.initiator.map("/dev/ram0")
    assert device.unmap() is None
    _wait_for_sessions(loopback.target)
    drivers.unload(guest)
    assert not guest.exists(rtrs.SERVER_SESSIONS)


def test_unload_with_the_files_in_use(loopback: Pair, device: Device) -> None:
    """Readers of the files do not keep the modules from going, nor harm them."""
    guest = loopback.target.guest
    reader = guest.begin(
        f"while :; do cd {rtrs.SERVER_SESSIONS} && cat */pinned_memory */paths/*/*"
        " */paths/*/stats/* >/dev/null 2>&1; cd /; done"
    )
    try:
        for _ in range(5):
            assert device.unmap() is None
            device = loopback.initiator.map("/dev/ram0")
        assert device.unmap() is None
        drivers.unload(guest)
    finally:
        reader.cancel()
        reader.wait()
