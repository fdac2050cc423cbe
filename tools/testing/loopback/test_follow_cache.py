# SPDX-License-Identifier: GPL-2.0-only
"""A write cache that the target switches on or off while its disk is mapped."""

import pytest

from rnbdbench import blktrace
from rnbdbench import disks
from rnbdbench import uevents
from rnbdbench.disks import PAGE
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS

FOLLOWED = 15.0
"""Seconds until the initiator's disk has a new setting: a heartbeat, and a margin."""


def _switch(guest: Guest, disk: str, mode: str) -> None:
    assert guest.write(f"/sys/block/{disk.removeprefix('/dev/')}/queue/write_cache", mode) is None


def _write(guest: Guest, node: str) -> None:
    guest.run(f"dd if=/dev/zero of={node} bs={PAGE} count=1 oflag=direct conv=fsync status=none")


def _is_durable(arrived: list[blktrace.Arrival]) -> bool:
    """Whether each write has FUA, or a flush behind it."""
    writes = [at for at, each in enumerate(arrived) if each.operation != "flush"]
    durable = [
        arrived[at].fua or "flush" in [each.operation for each in arrived[at:]] for at in writes
    ]
    return bool(writes) and all(durable)


@pytest.mark.parametrize("fua", [1, 0], ids=["fua", "no-fua"])
def test_fsync_is_kept_before_and_after_the_disk_has_the_cache(loopback: Pair, fua: int) -> None:
    """At first the server makes each write durable; then the disk flushes, and users are told."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(cache_size=4, fua=fua)
    _switch(guest, disk, "write through")
    device = loopback.map(disk)
    assert device.read("queue/write_cache") == "write through"
    with blktrace.arrivals(guest, disk, blktrace.REQUESTS) as arrived:
        _write(guest, device.node)
    assert [(each.operation, each.fua) for each in arrived] == [("write", False)]

    with uevents.recorded(guest) as events:
        _switch(guest, disk, "write back")
        with blktrace.arrivals(guest, disk, blktrace.REQUESTS) as arrived:
            _write(guest, device.node)
            guest.run(disks.on_pages("blkdiscard --force --zeroout", device.node, 2, 3))
        assert _is_durable(arrived), arrived

        guest.wait_until(
            lambda: device.read("queue/write_cache") == "write back", "the cache", FOLLOWED
        )
        guest.wait_until(lambda: device.read("queue/fua") == str(fua), "FUA", FOLLOWED)
        events.wait_for(device.name, "ACTION=change", "RNBD_WRITE_CACHE=1")
        with blktrace.arrivals(guest, disk, blktrace.REQUESTS) as arrived:
            _write(guest, device.node)
        assert [(each.operation, each.fua) for each in arrived][-1] == ("flush", False), arrived

        _switch(guest, disk, "write through")
        guest.wait_until(
            lambda: device.read("queue/write_cache") == "write through", "no cache", FOLLOWED
        )
        events.wait_for(device.name, "ACTION=change", "RNBD_WRITE_CACHE=0")

    _switch(guest, disk, "write back")
    with blktrace.arrivals(guest, disk, blktrace.REQUESTS) as arrived:
        _write(guest, device.node)
    assert _is_durable(arrived), arrived
    assert device.unmap() is None


@REMOVES_DISKS
def test_flushes_that_device_mapper_drops_are_made_up_for(loopback: Pair) -> None:
    """It looks at the cache when it claims the disk: each write is durable while it does."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(cache_size=4, fua=1)
    _switch(guest, disk, "write through")
    device = loopback.map(disk)
    linear = disks.linear(guest, "bench", device.node)
    _switch(guest, disk, "write back")
    guest.wait_until(
        lambda: device.read("queue/write_cache") == "write back", "the cache", FOLLOWED
    )
    # Until the server knows that the disk has the cache, it makes writes durable by itself.
    (path,) = loopback.initiator.transport().paths()
    path.wait_for_heartbeats(3)
    with blktrace.arrivals(guest, disk, blktrace.REQUESTS) as arrived:
        _write(guest, linear)
        guest.run(disks.on_pages("blkdiscard --force --zeroout", linear, 2, 3))
    assert _is_durable(arrived), arrived

    guest.run("dmsetup remove bench")
    _write(guest, device.node)
    path.wait_for_heartbeats(3)
    with blktrace.arrivals(guest, disk, blktrace.REQUESTS) as arrived:
        _write(guest, device.node)
    assert [(each.operation, each.fua) for each in arrived] == [("write", False), ("flush", False)]
    assert device.unmap() is None


def test_a_cache_that_was_switched_on_without_a_path_is_followed(loopback: Pair) -> None:
    """The disk is not lost, and each write is durable at once."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(cache_size=4, fua=1)
    _switch(guest, disk, "write through")
    device = loopback.map(disk)
    (path,) = loopback.initiator.transport().paths()
    assert path.disconnect() is None
    _switch(guest, disk, "write back")
    path.force_connection()
    device.wait_for_state("open")
    with blktrace.arrivals(guest, disk, blktrace.REQUESTS) as arrived:
        _write(guest, device.node)
    assert _is_durable(arrived), arrived
    guest.wait_until(
        lambda: device.read("queue/write_cache") == "write back", "the cache", FOLLOWED
    )
    assert device.unmap() is None
