# SPDX-License-Identifier: GPL-2.0-only
"""A path to a link-local address, which is one of a network interface."""

import pytest

from rnbdbench import network
from rnbdbench import rtrs
from rnbdbench.commands import CommandFailed
from rnbdbench.lab import Pair

TARGET = "fe80::5054:ff:fe50:42"
"""The address that the target's card has by itself."""


@pytest.mark.long
def test_the_interface_is_looked_up_at_each_attempt(pair: Pair) -> None:
    """It is removed and comes back under its name, with another number."""
    guest = pair.initiator.guest
    card = network.card_name()
    disk = pair.target.ram_disk(16)
    pair.load()
    device = pair.initiator.map(disk, path=f"ip:{TARGET}%{card}")
    session = pair.initiator.transport()
    (path,) = session.paths()
    number = guest.read(f"/sys/class/net/{card}/ifindex")
    bus = guest.real(f"/sys/class/net/{card}/device").rsplit("/", 1)[-1]
    driver = "/sys/bus/virtio/drivers/virtio_net"

    guest.run(f"echo {bus} > {driver}/unbind")
    path.wait_for("disconnected", rtrs.LOSS)
    guest.run(f"echo {bus} > {driver}/bind")
    network.connect(guest, network.INITIATOR)
    assert guest.read(f"/sys/class/net/{card}/ifindex") != number

    def back() -> bool:
        # The name of the path has the address of this side, which is another one while the
        # link-local address of the new interface is still being checked for duplicates.
        try:
            return [each.state() for each in session.paths()] == ["connected"]
        except CommandFailed:
            return False  # It was renamed after it was listed.

    guest.wait_until(back, "the path to be back", rtrs.BACK)
    device.wait_for_state("open")
    assert device.begin_read().wait().code == 0
    assert device.unmap() is None
