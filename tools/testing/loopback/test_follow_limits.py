# SPDX-License-Identifier: GPL-2.0-only
"""Limits of the target's queue that change while its disk is mapped."""

from rnbdbench import disks
from rnbdbench import uevents
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS

FOLLOWED = 15.0
"""Seconds until the initiator's disk has a new limit: a heartbeat, and a margin."""

LARGEST = "65536"
"""Bytes that a discard may have from then on."""

FIXED = ["physical_block_size", "minimum_io_size", "optimal_io_size", "rotational"]
"""Limits that do not change under a user."""


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


@REMOVES_DISKS
def test_limits_that_users_rely_on_change_while_the_disk_is_not_open(loopback: Pair) -> None:
    """The disk below a device-mapper device of the target is another one, and the first again."""
    guest = loopback.target.guest
    below = loopback.target.null_disk(size=32)
    coarse = disks.scsi(guest, dev_size_mb=32, physblk_exp=3, opt_blks=64)
    top = disks.linear(guest, "rnbdtest", below)
    device = loopback.map(top)

    def limits(folder: str) -> list[str]:
        return [guest.read(f"/sys/block/{folder}/queue/{name}") for name in FIXED]

    def put_on(disk: str) -> None:
        table = f"0 {disks.sectors(guest, below)} linear {disk} 0"
        guest.run(
            f"{disks.DMSETUP} suspend rnbdtest && {disks.DMSETUP} load rnbdtest --table '{table}'"
            f" && {disks.DMSETUP} resume rnbdtest"
        )

    mapper = guest.output("dmsetup info -c --noheadings -o blkdevname rnbdtest")
    before = limits(device.name)
    assert before == limits(mapper)
    with device.held_open():
        put_on(coarse)
        assert limits(mapper) != before
        (path,) = loopback.initiator.transport().paths()
        path.wait_for_heartbeats(3)
        assert limits(device.name) == before, "they changed while the disk was open"
    path.force_connection()
    assert limits(device.name) == limits(mapper)
    put_on(below)
    guest.wait_until(lambda: limits(device.name) == before, "the limits of before", FOLLOWED)
    assert device.unmap() is None
    disks.remove_mapper(guest, "rnbdtest")
