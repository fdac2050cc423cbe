# SPDX-License-Identifier: GPL-2.0-only
"""Limits of the target's queue that change while its disk is mapped."""

from rnbdbench import uevents
from rnbdbench.lab import Pair

FOLLOWED = 15.0
"""Seconds until the initiator's disk has a new limit: a heartbeat, and a margin."""

LARGEST = "65536"
"""Bytes that a discard may have from then on."""


def test_a_disk_discards_no_more_at_a_time_than_that_of_the_target(loopback: Pair) -> None:
    """As an administrator sets it there; users are told that the disk has changed."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(discard=1)
    device = loopback.map(disk)
    assert int(device.read("queue/discard_max_hw_bytes")) > int(LARGEST)
    limit = f"/sys/block/{disk.removeprefix('/dev/')}/queue/discard_max_bytes"
    with uevents.recorded(guest) as events:
        assert guest.write(limit, LARGEST) is None
        guest.wait_until(
            lambda: device.read("queue/discard_max_hw_bytes") == LARGEST, "the limit", FOLLOWED
        )
        events.wait_for(device.name, "ACTION=change", "RNBD_LIMITS=1")
    assert device.read("queue/discard_max_bytes") == LARGEST
    assert device.unmap() is None
