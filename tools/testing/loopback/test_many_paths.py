# SPDX-License-Identifier: GPL-2.0-only
"""As many paths as there can be, over many addresses of one card."""

from collections.abc import Iterator

import pytest

from rnbdbench import fio
from rnbdbench import network
from rnbdbench import rtrs
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.rtrs import TransportSession

AT_MAP = 6
"""Paths that one command may name."""

MOST = 128
"""Paths of a session."""

SOURCES = [f"10.50.102.{number}" for number in range(1, 17)]
DESTINATIONS = [f"10.50.102.{number}" for number in range(101, 110)]

NAMES = [f"ip:{source}@ip:{destination}" for destination in DESTINATIONS for source in SOURCES]
"""More than a session takes; those next to each other have different sources."""

SMALL = {"sess_queue_depth": 32, "max_chunk_size": 32768}
"""Of what each path has a share."""


@pytest.fixture
def addresses(loopback: Pair) -> Iterator[None]:
    """Gives the only card all of these addresses."""
    guest = loopback.initiator.guest
    _change_addresses(guest, "add")
    yield
    # After a failure the guest is gone.
    if guest.alive:
        _change_addresses(guest, "delete")


def _change_addresses(guest: Guest, order: str) -> None:
    lines = "\n".join(
        f"address {order} {address}/32 dev {network.card_name()}"
        for address in SOURCES + DESTINATIONS
    )
    guest.run(f"ip -batch - <<<'{lines}'")


def _map(bench: Pair) -> tuple[Device, TransportSession]:
    disk = bench.target.ram_disk(16)
    bench.load(transport=SMALL)
    words = ["sessname=bench", f"device_path={disk}"]
    words += [f"path={name}" for name in NAMES[: AT_MAP + 1]]
    assert bench.initiator.request(" ".join(words)) == "EINVAL"
    assert bench.initiator.devices() == []
    assert bench.target.transports() == []
    device = bench.initiator.map(disk, paths=NAMES[:AT_MAP])
    session = bench.initiator.transport()
    assert session.set_policy("round-robin") is None
    return device, session


def _expect_use_of(session: TransportSession, device: Device, names: list[str]) -> None:
    """Checks that these are the paths, that all are up and that each carries I/O."""
    assert sorted(session.path_names()) == sorted(names)
    paths = session.paths()
    assert {path.state() for path in paths} == {"connected"}
    for path in paths:
        path.reset()
    fio.verify(device.guest, device.node, block="4k", size="4m")
    idle = [path.name for path in paths if path.counters().operations == 0]
    assert not idle, f"{len(idle)} paths carry nothing: {idle}"
    assert {path.reconnects() for path in paths} == {(0, 0)}


def _expect_clean_end(bench: Pair, device: Device) -> None:
    assert device.unmap() is None
    assert bench.initiator.guest.names(rtrs.CLIENT_SESSIONS) == []
    bench.target.guest.wait_until(
        lambda: bench.target.transports() == [], "the server to forget the session"
    )


@pytest.mark.usefixtures("addresses")
def test_six_paths_are_named_at_once_and_no_more(loopback: Pair) -> None:
    """The seventh is refused with all of them; the six work."""
    device, session = _map(loopback)
    _expect_use_of(session, device, NAMES[:AT_MAP])
    assert sorted(loopback.target.transport().path_names()) == sorted(NAMES[:AT_MAP])
    _expect_clean_end(loopback, device)


@pytest.mark.long
@pytest.mark.kernels("stock")
@pytest.mark.usefixtures("addresses")
def test_a_session_has_as_many_paths_as_allowed(loopback: Pair) -> None:
    """128 of them, added one by one, all in use; the next one is refused until one goes."""
    device, session = _map(loopback)
    for name in NAMES[AT_MAP:MOST]:
        assert session.add_path(name) is None, name
    assert session.add_path(NAMES[MOST]) == "ENOSPC"
    assert session.add_path(NAMES[0]) == "EEXIST"
    _expect_use_of(session, device, NAMES[:MOST])
    assert sorted(loopback.target.transport().path_names()) == sorted(NAMES[:MOST])

    assert session.path(NAMES[0]).remove() is None
    assert session.add_path(NAMES[MOST]) is None
    assert session.add_path(NAMES[0]) == "ENOSPC"
    _expect_use_of(session, device, NAMES[1 : MOST + 1])
    _expect_clean_end(loopback, device)
