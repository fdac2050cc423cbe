# SPDX-License-Identifier: GPL-2.0-only
"""Devices that the target's administrator takes away from a session."""

import pytest

from rnbdbench import drivers
from rnbdbench import rnbd
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.stalling import StallingDisk

NOTICE_LIMIT = 15.0
"""Seconds until an initiator must have noticed: a heartbeat, and more on a slow machine."""


def _force_close(session: str = "bench", disk: str = "ram0") -> str:
    return f"{rnbd.SERVER_DEVICES}/{disk}/sessions/{session}/force_close"


def _remap(device: Device) -> str | None:
    return device.guest.write(f"/sys/block/{device.name}/rnbd/remap_device", "1")


def _read(device: Device) -> int:
    return device.begin_read().wait().code


def _wait_until_closed(device: Device) -> None:
    device.guest.wait_until(
        lambda: device.read("rnbd/state") == "closed",
        f"{device.name} to be closed",
        NOTICE_LIMIT,
    )


def test_the_initiator_is_notified_and_can_reopen_the_device(loopback: Pair) -> None:
    """What was written before is there; another device of the session is left alone."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16, count=2)
    device = loopback.map(disk)
    other = loopback.initiator.map("/dev/ram1", path="")
    guest.run(f"yes earlier | dd of={device.node} bs=1M count=4 iflag=fullblock oflag=direct")
    mark = guest.console.mark()
    for _ in range(2):
        assert _remap(device) == "EALREADY", "the server has it open"
        assert guest.write(_force_close(), "1") is None
        _wait_until_closed(device)
        assert _read(device) != 0
        assert other.read("rnbd/state") == "open"
        assert _read(other) == 0
        assert _remap(device) is None
        assert device.read("rnbd/state") == "open"
        words = f"dd if={device.node} bs=1M count=4 iflag=direct status=none | sort -u"
        assert guest.output(words) == "earlier"
    said = guest.printed_since(mark)
    assert said.count(f"{device.name}: the server has closed it") == 2, said
    assert device.unmap() is None
    assert other.unmap() is None
    assert loopback.target.exports() == []


def test_a_device_that_the_server_closed_can_be_unmapped(loopback: Pair) -> None:
    """Though the server has nothing to close, and another session has the device by then."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    device = loopback.map(disk)
    assert guest.write(_force_close(), "1") is None
    _wait_until_closed(device)
    next_one = loopback.initiator.map(disk, session="next")
    assert _remap(device) == "EPERM", "another one writes to it"
    assert device.unmap() is None
    assert _read(next_one) == 0
    assert next_one.unmap() is None
    assert loopback.target.exports() == []


def test_a_disk_that_hangs_is_taken_away_at_once_and_closed_later(loopback: Pair) -> None:
    """Neither the administrator nor another device of the session waits for the disk."""
    guest = loopback.target.guest
    disk = StallingDisk.make(guest, loopback.target.ram_disk(16, count=3))
    stuck = loopback.map(disk.node)
    # When a second disk begins or ceases to use the requests of a first one, the
    # initiator's block layer waits for those that are in flight.
    second = loopback.initiator.map("/dev/ram2")
    disk.stop()
    read = stuck.begin_read()
    stuck.wait_for_read()
    mark = guest.console.mark()
    assert guest.write(_force_close(disk=disk.name), "1", timeout=20) is None
    assert guest.names(f"{rnbd.SERVER_DEVICES}/{disk.name}/sessions") == []
    assert read.running, "the disk was not stopped, so this shows nothing"

    other = loopback.initiator.map("/dev/ram1", path="")
    assert _read(other) == 0
    assert other.unmap() is None
    assert loopback.target.exports() == [disk.name, "ram2"], "it has a request in flight"
    _wait_until_closed(stuck)
    assert _remap(stuck) == "EBUSY", "the disk has a request of before"
    guest.wait_until(
        lambda: f"bench: still waiting for requests of '{disk.node}', for 3"
        in guest.console.since(mark),
        "the target to report the disk",
        45,
    )

    disk.go_on()
    assert read.wait().code == 0, "what was in flight is executed"
    guest.wait_until(lambda: loopback.target.exports() == ["ram2"], "the device to be closed")
    assert _remap(stuck) is None
    assert _read(stuck) == 0
    assert stuck.unmap() is None
    assert second.unmap() is None
    drivers.unload(guest)


@pytest.mark.long
def test_a_session_ends_while_a_disk_that_was_taken_away_hangs(loopback: Pair) -> None:
    """It is over when the disk goes on, and then the modules can be unloaded."""
    guest = loopback.target.guest
    disk = StallingDisk.make(guest, loopback.target.ram_disk(16))
    stuck = loopback.map(disk.node)
    disk.stop()
    read = stuck.begin_read()
    stuck.wait_for_read()
    assert guest.write(_force_close(disk=disk.name), "1", timeout=20) is None
    assert stuck.unmap("force") is None
    assert read.wait().code != 0
    assert loopback.target.exports() == [disk.name]
    disk.go_on()
    guest.wait_until(lambda: loopback.target.exports() == [], "the device to be closed")
    guest.wait_until(lambda: loopback.target.transports() == [], "the session to end")
    next_one = loopback.initiator.map(disk.node)
    assert _read(next_one) == 0
    assert next_one.unmap() is None
    drivers.unload(guest)
