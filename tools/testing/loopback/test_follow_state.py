# SPDX-License-Identifier: GPL-2.0-only
"""Disks that become read-only, go or come back as that of the target."""

from rnbdbench import disks
from rnbdbench import uevents
from rnbdbench.file_disk import FileDisk
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS
from rnbdbench.rnbd import Device

FOLLOWED = 15.0
"""Seconds until the initiator's disk has a new state: a heartbeat, and a margin."""


def _wait_read_only(device: Device, flag: str) -> None:
    device.guest.wait_until(lambda: device.read("ro") == flag, f"`ro` to be {flag}", FOLLOWED)


def test_a_disk_is_read_only_while_that_of_the_target_is(loopback: Pair) -> None:
    """Writes are refused at once, and the disk becomes read-only, and writable again."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    device = loopback.map(disk)
    with uevents.recorded(guest) as events:
        guest.run(f"blockdev --setro {disk}")
        result = guest.run(disks.write_block(device.node), check=False)
        assert result.code != 0
        _wait_read_only(device, "1")
        events.wait_for(device.name, "DISK_RO=1")
        result = guest.run(disks.write_block(device.node), check=False)
        assert "Read-only file system" in result.stderr, result.stderr
        guest.run(f"blockdev --setrw {disk}")
        _wait_read_only(device, "0")
        events.wait_for(device.name, "DISK_RO=0")
    guest.run(disks.write_block(device.node))
    assert device.unmap() is None


def test_a_disk_that_became_read_only_in_an_outage_is_there_to_be_read(loopback: Pair) -> None:
    """And to be written, when it is writable at the next reconnect."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    device = loopback.map(disk)
    (path,) = loopback.initiator.transport().paths()
    for option, read_only in (("--setro", "1"), ("--setrw", "0")):
        assert path.disconnect() is None
        guest.run(f"blockdev {option} {disk}")
        path.force_connection()
        device.wait_for_state("open")
        _wait_read_only(device, read_only)
        guest.run(f"dd if={device.node} of=/dev/null bs=4k count=1 iflag=direct status=none")
        result = guest.run(disks.write_block(device.node), check=False)
        assert (result.code != 0) == (read_only == "1"), result
    assert "the server lets it be read only, until" in guest.output("dmesg")
    assert device.unmap() is None


def test_a_disk_is_offline_without_its_device(loopback: Pair) -> None:
    """A device that lost its size with the path is lost, not empty, and comes back with it."""
    guest = loopback.target.guest
    disk = FileDisk.make(guest, 16)
    device = loopback.map(disk.node)
    size = device.read("size")
    (path,) = loopback.initiator.transport().paths()
    with uevents.recorded(guest) as events:
        assert path.disconnect() is None
        events.wait_for(device.name, "ACTION=offline")
        guest.run(f"losetup -d {disk.node}")
        path.force_connection()
        device.wait_for_state("closed")
        assert device.read("size") == size
        guest.run(f"losetup {disk.node} {disk.file}")
        events.wait_for(device.name, "ACTION=online")
    assert device.read("rnbd/state") == "open"
    guest.run(disks.write_block(device.node))
    assert device.unmap() is None


@REMOVES_DISKS
def test_another_disk_under_the_same_name_is_refused(loopback: Pair) -> None:
    """As when the target was booted again, and found its disks in another order."""
    guest = loopback.target.guest
    first, second = disks.scsi_disks(guest, 2, dev_size_mb=16)
    name = "/dev/rnbdtest-disk"
    guest.run(f"ln -s {first} {name}")
    device = loopback.map(name)
    remap = f"/sys/block/{device.name}/rnbd/remap_device"
    (path,) = loopback.initiator.transport().paths()
    assert path.disconnect() is None
    guest.run(f"ln -sf {second} {name}")
    path.force_connection()
    device.wait_for_state("closed")
    guest.wait_until(
        lambda: f"{device.name}: the server's device is another disk now" in guest.output("dmesg"),
        "the refusal",
    )
    assert guest.run(disks.write_block(device.node), check=False).code != 0
    assert guest.write(remap, "1") == "ESTALE"
    assert loopback.target.exports() == []

    guest.run(f"ln -sf {first} {name}")
    assert guest.write(remap, "1") is None
    assert device.read("rnbd/state") == "open"
    guest.run(disks.write_block(device.node))
    assert device.unmap() is None
    guest.run(f"rm {name}")
