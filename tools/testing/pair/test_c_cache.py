# SPDX-License-Identifier: GPL-2.0-only
"""A write cache that our server's disk gets while a C client has it mapped."""

import pytest

from rnbdbench import blktrace
from rnbdbench.disks import PAGE
from rnbdbench.lab import Pair

pytestmark = pytest.mark.drivers("c-rust")


def test_fsync_is_kept_without_a_flush_of_the_client(pair: Pair) -> None:
    """The C client never learns of the cache: each write is made durable by the server."""
    target, guest = pair.target.guest, pair.initiator.guest
    disk = pair.target.null_disk(cache_size=4, fua=1)
    switch = f"/sys/block/{disk.removeprefix('/dev/')}/queue/write_cache"
    assert target.write(switch, "write through") is None
    device = pair.map(disk)
    write = f"dd if=/dev/zero of={device.node} bs={PAGE} count=1 oflag=direct conv=fsync status=none"
    for mode, fua in (("write through", False), ("write back", True), ("write through", False)):
        assert target.write(switch, mode) is None
        with blktrace.arrivals(target, disk, blktrace.REQUESTS) as arrived:
            guest.run(write)
        assert [(each.operation, each.fua) for each in arrived] == [("write", fua)], mode
    assert device.unmap() is None
