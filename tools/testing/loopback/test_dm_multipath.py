# SPDX-License-Identifier: GPL-2.0-only
"""A disk of the target that two sessions have mapped: both disks say which one it is, and
dm-multipath takes them as one."""

import shlex

from rnbdbench import disks
from rnbdbench import fio
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS
from rnbdbench.rnbd import Device
from rnbdbench.settings import TREE

RULES = TREE / "tools/boot/udev/60-rnbd.rules"

SESSIONS = ("left", "right")


def _map_twice(bench: Pair, disk: str) -> list[Device]:
    """Maps a disk by two sessions, whose I/O fails at once without a path."""
    bench.load(transport={"sess_queue_depth": 64})
    options = {"access_mode": "migration", "fast_io_fail_tmo": 0}
    return [bench.initiator.map(disk, session=name, **options) for name in SESSIONS]


@REMOVES_DISKS
def test_both_disks_have_the_name_of_the_targets(loopback: Pair) -> None:
    """In sysfs, as the serial by which multipathd finds out, and as a link of udev."""
    guest = loopback.initiator.guest
    disk = disks.scsi(guest, dev_size_mb=32)
    wwid = guest.read(f"/sys/block/{disk.removeprefix('/dev/')}/device/wwid")
    members = _map_twice(loopback, disk)
    assert [each.read("rnbd/wwid") for each in members] == [wwid, wwid]

    folder = "/run/udev/rules.d"
    rules = shlex.quote(RULES.read_text(encoding="utf-8"))
    guest.run(f"mkdir -p {folder} && printf %s {rules} > {folder}/{RULES.name}")
    part = disks.partition(guest, members[0].node, 2048, 16384)
    links = {each.name: wwid for each in members}
    links[part.removeprefix("/dev/")] = f"{wwid}-part1"
    for name, link in links.items():
        said = guest.output(f"udevadm test --action=add /sys/class/block/{name} 2>&1")
        for words in (f"ID_WWN={wwid}", f"ID_SERIAL={wwid}", f"/dev/disk/by-id/rnbd-{link}"):
            assert words in said.split(), f"{name}: no '{words}' in:\n{said}"
    guest.run(f"rm {folder}/{RULES.name}")
    assert [each.unmap() for each in members] == [None, None]


@REMOVES_DISKS
def test_io_goes_on_with_the_other_disk(loopback: Pair) -> None:
    """When a session has lost its path; and back, once it has the path again."""
    guest = loopback.initiator.guest
    members = _map_twice(loopback, disks.scsi(guest, dev_size_mb=32))
    top = disks.multipath(guest, "rnbdtest", *(each.node for each in members))
    verify = fio.begin_verify(guest, top)
    for name, lost, kept in zip(SESSIONS, members, reversed(members)):
        fio.wait_for_io(guest, lost.name)
        (path,) = loopback.initiator.transport(name).paths()
        assert path.disconnect() is None
        number = lost.read("dev")
        guest.wait_until(
            lambda number=number: f" {number} F " in guest.output("dmsetup status rnbdtest"),
            f"{lost.name} to be failed",
        )
        fio.wait_for_io(guest, kept.name)
        path.force_connection()
        lost.wait_for_state("open")
        guest.run(f"dmsetup message rnbdtest 0 'reinstate_path {number}'")
    verify.end()
    disks.remove_mapper(guest, "rnbdtest")
    assert [each.unmap() for each in members] == [None, None]
