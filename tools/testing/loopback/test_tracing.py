# SPDX-License-Identifier: GPL-2.0-only
"""Tracepoints tell what happens to sessions, paths and requests."""

import re

from rnbdbench import disks
from rnbdbench import network
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.tracing import MOUNT
from rnbdbench.tracing import TRACING

PATH = f"bench: {network.INITIATOR.path()}@{network.TARGET.path()}"
SERVER_PATH = f"{network.TARGET.path()}@{network.INITIATOR.path()} (bench)"


def _begin(guest: Guest) -> None:
    guest.run(
        f"{MOUNT};"
        f" : > {TRACING}/trace && echo 1 > {TRACING}/events/rtrs/enable"
    )


def _events(guest: Guest) -> list[str]:
    """Ends recording; returns the events, without the columns for task and time."""
    guest.run(f"echo 0 > {TRACING}/events/rtrs/enable")
    lines = guest.output(f"cat {TRACING}/trace; : > {TRACING}/trace").splitlines()
    found = (re.search(r"(rtrs_\w+: .*)$", line) for line in lines)
    return [match[1] for match in found if match]


def test_life_of_a_session_and_its_path(loopback: Pair) -> None:
    """Both sides: from the first connection to the last; also a reconnected path."""
    guest = loopback.initiator.guest
    disk = loopback.target.ram_disk(16)
    loopback.load()
    _begin(guest)
    device = loopback.initiator.map(disk)
    (path,) = loopback.initiator.transport().paths()
    assert path.disconnect() is None
    path.force_connection()
    assert device.unmap() is None
    guest.wait_until(lambda: loopback.target.transport().path_names() == [], "the server's end")
    events = _events(guest)

    client = [event for event in events if event.startswith("rtrs_path: client")]
    states = [event.rsplit("=", 1)[1] for event in client]
    assert states[:3] == ["Connected", "Closing", "Closed"]
    assert states[-6:] == ["Reconnecting", "Connecting", "Connected", "Closing", "Closed", "Dead"]
    assert f"rtrs_path: client path={PATH} state=Closed" in client
    sessions = [event for event in events if event.startswith("rtrs_session: client")]
    flows = [event.removeprefix("rtrs_session: client session=bench state=") for event in sessions]
    # I/O is queued while the devices are opened, and while there is no path.
    assert flows == ["Queueing", "Live", "Queueing", "Live", "Failing"]
    server = [event for event in events if event.startswith("rtrs_path: server")]
    assert f"rtrs_path: server path={SERVER_PATH} state=Connected" in server
    assert f"rtrs_path: server path={SERVER_PATH} state=Closed" in server
    assert events.count("rtrs_session: server session=bench state=Up") == 2
    assert events.count("rtrs_session: server session=bench state=Down") == 2


def test_each_error_of_a_request(loopback: Pair) -> None:
    """Both sides trace a request that the target's disk fails, and none that succeeds."""
    guest = loopback.initiator.guest
    disk = loopback.target.null_disk()
    device = loopback.map(disk)
    _begin(guest)
    guest.run(f"dd if=/dev/zero of={device.node} bs=4k count=8 oflag=direct status=none")
    assert _events(guest) == []

    guest.run(f"echo +64-71 > {disks.NULL_DISKS}/{disk.removeprefix('/dev/')}/badblocks")
    _begin(guest)
    read = f"dd if={device.node} of=/dev/null bs=4k skip=8 count=1 iflag=direct status=none"
    assert guest.run(read, check=False).code != 0
    errors = [event for event in _events(guest) if event.startswith("rtrs_io_error")]
    sides = {event.split()[1] for event in errors}
    assert sides == {"client", "server"}
    for event in errors:
        assert "op=read" in event
        assert "bytes=4096 error=-5" in event
    assert device.unmap() is None
