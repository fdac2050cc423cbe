# SPDX-License-Identifier: GPL-2.0-only
"""A CPU is taken offline while its requests have no response."""

from collections.abc import Iterator

import pytest

from rnbdbench.commands import Job
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.stalling import StallingDisk

ONLINE = "/sys/devices/system/cpu/cpu1/online"

AT_ONCE = 5
"""Seconds for what must not wait for requests; a CPU needs less than one."""


@pytest.fixture(autouse=True)
def _back_online(loopback: Pair) -> Iterator[None]:
    yield
    guest = loopback.initiator.guest
    if guest.alive:
        guest.run(f"echo 1 > {ONLINE}")


def _begin_read(guest: Guest, device: Device) -> Job:
    read = guest.begin(
        f"taskset -c 1 dd if={device.node} of=/dev/null bs=4k count=1 iflag=direct status=none"
    )
    device.wait_for_read()
    return read


def test_a_cpu_goes_offline_while_its_request_waits_for_a_path(loopback: Pair) -> None:
    """The request goes on with another CPU once there is a path."""
    guest = loopback.initiator.guest
    device = loopback.map()
    session = loopback.initiator.transport()
    (path,) = session.paths()
    assert session.write("fast_io_fail_tmo", "off") is None
    assert path.disconnect() is None
    read = _begin_read(guest, device)

    assert guest.write(ONLINE, "0", timeout=AT_ONCE) is None
    assert read.running
    path.force_connection()
    assert read.wait().code == 0
    assert guest.write(ONLINE, "1") is None
    assert device.begin_read().wait().code == 0
    assert device.unmap() is None


def test_a_cpu_goes_offline_while_the_target_has_its_request(loopback: Pair) -> None:
    """Its response is handled by another CPU."""
    guest = loopback.initiator.guest
    disk = StallingDisk.make(loopback.target.guest, loopback.target.ram_disk(16))
    device = loopback.map(disk.node)
    disk.stop()
    read = _begin_read(guest, device)

    assert guest.write(ONLINE, "0", timeout=AT_ONCE) is None
    disk.go_on()
    assert read.wait().code == 0
    assert guest.write(ONLINE, "1") is None
    assert device.unmap() is None
