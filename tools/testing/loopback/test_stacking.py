# SPDX-License-Identifier: GPL-2.0-only
"""Disks of ours below other drivers of the initiator."""

from rnbdbench import blktrace
from rnbdbench import disks
from rnbdbench import fio
from rnbdbench.blktrace import Arrival
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS


@REMOVES_DISKS
def test_a_mirror_survives_the_loss_of_a_member(loopback: Pair) -> None:
    """RAID1 over two sessions: one is unmapped by force under load."""
    guest = loopback.initiator.guest
    loopback.target.ram_disk(16, count=2)
    first = loopback.map("/dev/ram0", session="first")
    second = loopback.initiator.map("/dev/ram1", session="second")
    array = disks.mirror(guest, first.node, second.node)
    load = fio.begin_verify(guest, array)
    fio.wait_for_io(guest, second.name)
    assert first.unmap("force") is None
    assert load.running
    load.end()
    assert guest.read("/sys/block/md0/md/degraded") == "1"
    assert "[_U]" in guest.read("/proc/mdstat")
    guest.run("echo clear > /sys/block/md0/md/array_state")
    assert second.unmap() is None


def test_device_mapper_passes_operations_on(loopback: Pair) -> None:
    """A linear device on a disk of ours: data, discard and a flush arrive below."""
    guest = loopback.initiator.guest
    disk = loopback.target.null_disk(discard=1, cache_size=4, size=16)
    device = loopback.map(disk)
    top = disks.linear(guest, "rnbdtest", device.node)
    disks.fill(guest, top, 8)
    with blktrace.arrivals(guest, disk) as arrived:
        guest.run(
            f"blkdiscard --force --offset {2 * disks.PAGE} --length {disks.PAGE} {top}"
            f" && sync {top}"
        )
    assert Arrival("discard", 16, 8) in arrived
    assert any(each.preflush for each in arrived)
    assert disks.picture(guest, disk, 8) == "##.#####"
    fio.verify(guest, top, block="4k-128k", size="4m")
    disks.remove_mapper(guest, "rnbdtest")
    assert device.unmap() is None


LVM = (
    "DM_DISABLE_UDEV=1 lvm {} --quiet --config"
    " 'devices {{ use_devicesfile = 0"
    " filter = [ \"a|^/dev/rnbd|\", \"r|.*|\" ] }}"
    " activation {{ udev_sync = 0 udev_rules = 0 }}'"
)
"""LVM takes disks of drivers that it knows; `blkext` is among them.

The guest has the disks of the target as well, which LVM is not to look at."""


@REMOVES_DISKS
def test_lvm_makes_a_volume_of_two_disks(loopback: Pair) -> None:
    """A striped volume: made, written and verified, found again after mapping again."""
    guest = loopback.initiator.guest
    loopback.target.ram_disk(32, count=2)
    loopback.load()

    def map_both() -> list[str]:
        return [loopback.initiator.map(f"/dev/ram{number}").node for number in range(2)]

    def unmap_both() -> None:
        guest.run(LVM.format("vgchange --activate n rnbdtest"))
        assert [each.unmap() for each in loopback.initiator.devices()] == [None, None]

    guest.run("modprobe -q dm-mod")
    members = " ".join(map_both())
    guest.run(LVM.format(f"vgcreate rnbdtest {members}"))
    guest.run(LVM.format("lvcreate --yes --stripes 2 --extents 100%FREE --name volume rnbdtest"))
    volume = "/dev/mapper/rnbdtest-volume"
    fio.verify(guest, volume, block="4k-128k", size="8m")
    written = guest.output(f"sha256sum < {volume}")
    unmap_both()
    map_both()
    guest.run(LVM.format("vgchange --activate y rnbdtest"))
    assert guest.output(f"sha256sum < {volume}") == written
    unmap_both()


def test_partitions_are_found(loopback: Pair) -> None:
    """A table that is on the target's disk, and one that is written through ours."""
    guest = loopback.initiator.guest
    disk = loopback.target.null_disk(size=64)
    device = loopback.map(disk)
    part = disks.partition(guest, device.node, 2048, 16384)
    assert disks.sectors(guest, part) == 16384
    disks.fill(guest, part, 1)
    assert disks.picture(guest, disk, 257) == f"#{'.' * 255}#"
    assert device.unmap() is None
    device = loopback.initiator.map(disk)
    assert disks.sectors(guest, f"{device.node}p1") == 16384
    assert device.unmap() is None
