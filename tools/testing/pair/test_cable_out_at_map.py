# SPDX-License-Identifier: GPL-2.0-only
"""Mapping while one of the paths cannot be connected."""

from collections.abc import Iterator

import pytest

from rnbdbench import fio
from rnbdbench import network
from rnbdbench import rtrs
from rnbdbench.lab import Pair
from rnbdbench.network import Plugs
from rnbdbench.rnbd import Device

SOURCES = ("10.50.102.65", "10.50.102.67")
"""An address of each of the initiator's cards, in one subnet."""

SHARED = "10.50.102.66"
"""An address that both of the target's cards have in it."""


def _pull(bench: Pair, number: int) -> Plugs:
    cable = bench.cable(number)
    cable.pull()
    for guest in bench.guests:
        network.wait_for_carrier(guest, number, up=False)
    return cable


def _map(bench: Pair, paths: list[str]) -> Device:
    device = bench.map(paths=paths)
    assert bench.initiator.transport().set_policy("round-robin") is None
    assert device.read("rnbd/state") == "open"
    return device


def _expect_second_path(bench: Pair, device: Device, cable: Plugs, shown: str, name: str) -> None:
    """Checks a path that is `shown` while its cable is out, and comes by its `name` then."""
    guest = bench.initiator.guest
    session = bench.initiator.transport()
    assert shown in session.path_names()
    assert len(session.path_names()) == 2
    assert session.path(shown).state() == "disconnected"
    verify = fio.begin_verify(guest, device.node)
    fio.wait_for_io(guest, device.name)
    cable.plug()
    guest.wait_until(lambda: name in session.path_names(), f"path {name} to be shown", rtrs.BACK)
    late = session.path(name)
    cable.wait_connected(late, rtrs.BACK)
    assert len(session.path_names()) == 2
    assert late.reconnects()[0] == 0, "it was connected for the first time"
    late.wait_for_traffic(50)
    verify.end()
    assert device.unmap() is None
    assert session.path_names() == []


@pytest.mark.parametrize(
    "source",
    [
        # The route is looked up for a minute.
        pytest.param(False, id="no-source", marks=pytest.mark.long),
        pytest.param(True, id="source"),
    ],
)
def test_a_path_that_cannot_be_reached_comes_later(two_links: Pair, source: bool) -> None:
    """The device works over the other one; sysfs has both, by what is known of them."""
    name = network.path(1)
    asked = name if source else network.TARGETS[1].path()
    cable = _pull(two_links, 1)
    device = _map(two_links, [network.path(0), asked])
    first = two_links.initiator.transport().path(network.path(0))
    assert first.state() == "connected"
    _expect_second_path(two_links, device, cable, asked, name)


def _change_network(bench: Pair, order: str) -> None:
    """Adds the subnet that both cables have in common, or deletes it."""
    cards = [network.card_name(0), network.card_name(1)]
    initiator = [
        f"ip address {order} {source}/24 dev {card}"
        for source, card in zip(SOURCES, cards, strict=True)
    ]
    # Without this all would leave by the first card.
    initiator.append(f"ip route {order} 10.50.102.0/24 dev {cards[1]} table 102")
    initiator.append(f"ip rule {order} from {SOURCES[1]} lookup 102")
    target = [f"ip address {order} {SHARED}/24 dev {card}" for card in cards]
    for guest, commands in zip(bench.guests, (initiator, target), strict=True):
        # After a failure the guest is gone.
        if guest.alive:
            guest.run(" && ".join(commands))


@pytest.fixture
def shared_target(two_links: Pair) -> Iterator[list[str]]:
    """Two paths to one address, over a cable each, as the source says."""
    _change_network(two_links, "add")
    yield [f"ip:{source}@ip:{SHARED}" for source in SOURCES]
    _change_network(two_links, "delete")


def test_the_first_of_two_sources_cannot_reach_the_server(
    two_links: Pair, shared_target: list[str]
) -> None:
    """The same destination by another source is another path, and does."""
    lost, works = shared_target
    cable = _pull(two_links, 0)
    device = _map(two_links, [lost, works])
    assert two_links.initiator.transport().path(works).state() == "connected"
    _expect_second_path(two_links, device, cable, lost, lost)
