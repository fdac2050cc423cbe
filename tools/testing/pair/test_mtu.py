# SPDX-License-Identifier: GPL-2.0-only
"""Networks that lose long packets."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rnbdbench import fio
from rnbdbench import network
from rnbdbench.clock import Clock
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.rnbdctl import Rnbdctl

SMALL = 1500
"""An MTU that a RoCE packet of 4096 bytes does not fit in."""

LIMIT = 30.0
"""Seconds within which an operator is told."""

ENDLESS = 120.0
"""Seconds after which a read has not ended: five reconnects, and a margin."""


def _set_mtu(guest: Guest, mtu: int) -> None:
    guest.run(f"ip link set {network.card_name()} mtu {mtu}")


@pytest.fixture
def small_target(pair: Pair) -> Iterator[Pair]:
    """The network card of the target has a smaller MTU than that of the initiator."""
    _set_mtu(pair.target.guest, SMALL)
    yield pair
    # After a failure the guest is gone.
    if pair.target.guest.alive:
        _set_mtu(pair.target.guest, network.MTU)


def test_mapping_names_the_mtu_as_the_cause(small_target: Pair) -> None:
    """Short messages pass, so that the session comes up; data does not."""
    initiator = small_target.initiator
    disk = small_target.target.ram_disk(16)
    small_target.load(transport={"sess_queue_depth": 64})
    line = f"sessname=bench path={network.TARGET.path()} device_path={disk}"
    clock = Clock(initiator.guest)
    mark = initiator.guest.console.mark()
    assert initiator.request(line) == "ECONNABORTED"
    assert clock.seconds() < LIMIT
    assert "check that the MTU is the same" in initiator.guest.printed_since(mark)
    assert initiator.devices() == []
    assert initiator.transports() == []

    _set_mtu(small_target.target.guest, network.MTU)
    device = initiator.map(disk)
    fio.verify(initiator.guest, device.node, block="64k", size="4m")
    assert device.unmap() is None


def test_a_request_that_no_path_carries_fails(pair: Pair) -> None:
    """The MTU is lowered below a mapped disk: the path comes up, and is lost with each read."""
    guest = pair.initiator.guest
    # As above, short enough that a session comes up.
    device = pair.map(transport={"sess_queue_depth": 64})
    mark = guest.console.mark()
    _set_mtu(pair.target.guest, SMALL)
    try:
        read = f"dd if={device.node} of=/dev/null bs=64k count=1 iflag=direct status=none"
        assert guest.run(read, check=False, timeout=ENDLESS).code != 0
        said = guest.printed_since(mark)
        assert "fails, as 5 paths were lost with it in flight; check that the MTU" in said
    finally:
        _set_mtu(pair.target.guest, network.MTU)
    device.wait_for_state("open")
    fio.verify(guest, device.node, block="64k", size="4m")
    assert device.unmap() is None


@contextmanager
def losing_long_packets(guest: Guest) -> Iterator[None]:
    """Has a machine lose IPv4 packets of 4096 bytes and more, as a switch before it would."""
    card = network.card_name()
    long = "protocol ip u32 match u16 0x1000 0xf000 at 2"
    guest.run(
        f"tc qdisc add dev {card} ingress && tc filter add dev {card} ingress {long} action drop"
    )
    try:
        yield
    finally:
        guest.run(f"tc qdisc del dev {card} ingress")


@pytest.mark.long
@pytest.mark.kernels("stock")
def test_the_doctor_finds_which_machine_receives_no_long_packets(pair: Pair) -> None:
    """That of the other machine does, by the sessions that are up."""
    device = pair.map(transport={"sess_queue_depth": 64})
    initiator, target = pair.initiator.guest, pair.target.guest
    for here, there, address in (
        (initiator, target, network.TARGET.v4),
        (target, initiator, network.INITIATOR.v4),
    ):
        doctor = Rnbdctl(here)
        assert f"arrive at {address}" in doctor.output("doctor")
        with losing_long_packets(there):
            assert f"{address} answers short packets, but none of" in doctor.run("doctor").stdout
    assert device.unmap() is None
