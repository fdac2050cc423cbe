# SPDX-License-Identifier: GPL-2.0-only
"""The RDMA device goes away during I/O, on both sides at once, and comes back."""

from collections.abc import Callable

import pytest

from rnbdbench import fio
from rnbdbench import network
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair


def _expect_waiting(bench: Pair, remove: Callable[[Guest], None]) -> None:
    """Checks that I/O waits from the removal until the device is back."""
    guest = bench.initiator.guest
    device = bench.map()
    (path,) = bench.initiator.transport().paths()
    verify = fio.begin_verify(guest, device.node)
    fio.wait_for_io(guest, device.name)

    remove(guest)
    assert path.state() == "disconnected"
    assert device.read("rnbd/state") == "closed"
    assert path.reconnect() is not None, "there is no device to connect by"

    network.add_rdma(guest)
    path.force_connection()
    assert device.read("rnbd/state") == "open"
    fio.wait_for_io(guest, device.name)
    verify.end()
    assert device.unmap() is None


def test_io_waits_for_the_rdma_device(loopback: Pair) -> None:
    """It can be removed; once it is back, so is the path, and no data are lost."""
    _expect_waiting(loopback, network.remove_rdma)


# On the sanitizing kernel rmmod finds the driver in use, for a reason not known yet.
@pytest.mark.kernels("stock")
def test_io_waits_for_the_rdma_driver(loopback: Pair) -> None:
    """The same when all devices go with their driver."""
    _expect_waiting(loopback, network.unload_rdma)


def test_unmapping_without_the_rdma_device(loopback: Pair) -> None:
    """A mapped disk can be unmapped, and mapped again when the device is back."""
    guest = loopback.initiator.guest
    disk = loopback.target.ram_disk(16)
    device = loopback.map(disk)
    network.remove_rdma(guest)
    assert device.unmap() is None
    line = f"sessname=bench path={network.TARGET.path()} device_path={disk}"
    assert loopback.initiator.request(line) in ("ENODEV", "EHOSTUNREACH")
    network.add_rdma(guest)
    device = loopback.initiator.map(disk)
    fio.verify(guest, device.node, block="64k", size="4m")
    assert device.unmap() is None
