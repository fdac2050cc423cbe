# SPDX-License-Identifier: GPL-2.0-only
"""Devices that the target itself uses, when a client opens them."""

from collections.abc import Callable

import pytest

from rnbdbench import disks
from rnbdbench import drivers
from rnbdbench import network
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair

MOUNT = "/run/in-use"

WORDS = "is in use on this machine, and"
"""In the line of the log about a device that is."""


def _mount(guest: Guest, node: str) -> None:
    guest.run(f"mkfs.ext4 -q -F {node} && mkdir -p {MOUNT} && mount {node} {MOUNT}")


def _whole(bench: Pair) -> tuple[str, str]:
    """Returns a disk to mount, and the same one to map."""
    disk = bench.target.null_disk()
    return disk, disk


def _disk_of_partition(bench: Pair) -> tuple[str, str]:
    """Returns a partition to mount, and its disk to map."""
    disk = bench.target.null_disk()
    return disks.partition(bench.target.guest, disk, 2048, 65536), disk


def _partition_of_disk(bench: Pair) -> tuple[str, str]:
    """Returns a disk to mount as a whole, and a partition of it to map."""
    disk = bench.target.null_disk()
    return disk, disks.partition(bench.target.guest, disk, 2048, 65536)


def _other_partition(bench: Pair) -> tuple[str, str]:
    """Returns one partition of a disk to mount, and another one to map."""
    guest, disk = bench.target.guest, bench.target.null_disk()
    return disks.partition(guest, disk, 2048, 65536), disks.second_partition(guest, disk, 70000)


def _lines(guest: Guest, mark: int) -> int:
    return guest.printed_since(mark).count(WORDS)


@pytest.mark.parametrize(
    ("make", "in_use"),
    [
        (_whole, True),
        (_disk_of_partition, True),
        (_partition_of_disk, True),
        (_other_partition, False),
    ],
    ids=["disk", "disk-of-a-partition", "partition-of-a-disk", "another-partition"],
)
def test_a_device_that_the_target_uses_can_be_kept_from_being_written(
    loopback: Pair, make: Callable[[Pair], tuple[str, str]], in_use: bool
) -> None:
    """By default the log says so; with refuse_in_use, clients may only read it."""
    guest = loopback.target.guest
    mounted, mapped = make(loopback)
    line = f"sessname=bench path={network.TARGET.path()} device_path={mapped}"
    for refuse in (False, True):
        drivers.unload(guest)
        loopback.load(refuse_in_use="Y" if refuse else "N")
        _mount(guest, mounted)
        mark = guest.console.mark()
        expected = "EBUSY" if refuse and in_use else None
        try:
            assert loopback.initiator.request(line) == expected
            if expected is None:
                assert loopback.initiator.find(mapped).unmap() is None
            assert _lines(guest, mark) == int(in_use), guest.console.since(mark)
            device = loopback.initiator.map(mapped, access_mode="ro")
            assert device.unmap() is None
            assert _lines(guest, mark) == int(in_use), "a reader was warned of"
        finally:
            guest.run(f"umount {MOUNT}")
        # Nobody uses it any more.
        assert loopback.initiator.map(mapped).unmap() is None
        assert _lines(guest, mark) == int(in_use)
