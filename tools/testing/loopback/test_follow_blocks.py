# SPDX-License-Identifier: GPL-2.0-only
"""Disks whose device gets blocks of another size, while they are open, and while they are not."""

import pytest

from rnbdbench import disks
from rnbdbench import fio
from rnbdbench import uevents
from rnbdbench.file_disk import FileDisk
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.uevents import Uevents

FOLLOWED = 15.0
"""Seconds until the initiator has noticed: a heartbeat, and a margin. The disk is asked for again
within the same time."""

OUTAGE = pytest.mark.parametrize("outage", [False, True], ids=["mapped", "disconnected"])


def _set_blocks(bench: Pair, disk: FileDisk, size: int, outage: bool) -> None:
    """Changes the size of the blocks on the target, while the path is up or down."""
    (path,) = bench.initiator.transport().paths()
    if outage:
        assert path.disconnect() is None
    bench.target.guest.run(f"losetup --sector-size {size} {disk.node}")
    if outage:
        path.force_connection()


def _wait_for_blocks(device: Device, disk: FileDisk, size: int) -> None:
    """The disk has the blocks of the target's, and takes I/O of no less than one."""
    guest = device.guest
    guest.wait_until(
        lambda: device.read("queue/logical_block_size") == str(size),
        f"{device.name} to have blocks of {size}",
        FOLLOWED,
    )
    device.wait_for_state("open")
    below = disk.node.removeprefix("/dev/")
    for name in ("logical_block_size", "physical_block_size", "minimum_io_size"):
        file = f"queue/{name}"
        assert device.read(file) == guest.read(f"/sys/block/{below}/{file}"), name
    assert guest.output(f"blockdev --getss {device.node}") == str(size)
    # Programs address the disk in blocks of what it says, through the page cache as well.
    fio.verify(guest, device.node, block="4k-64k", size="2m")
    guest.run("dd if=/dev/urandom of=/run/block bs=4096 count=1 status=none")
    guest.run(f"dd if=/run/block of={device.node} bs=4096 seek=3 conv=fsync status=none")
    guest.run(f"dd if={disk.node} bs=4096 skip=3 count=1 iflag=direct status=none | cmp - /run/block")
    read = f"dd if={device.node} of=/dev/null bs=512 count=1 iflag=direct status=none"
    assert (guest.run(read, check=False).code == 0) == (size == 512)


@OUTAGE
def test_blocks_are_followed_while_the_disk_is_not_open(loopback: Pair, outage: bool) -> None:
    """Larger ones and smaller ones; programs are told."""
    guest = loopback.target.guest
    disk = FileDisk.make(guest, 16)
    device = loopback.map(disk.node)
    for size in (4096, 512):
        mark = guest.console.mark()
        with uevents.recorded(guest) as events:
            _set_blocks(loopback, disk, size, outage)
            _wait_for_blocks(device, disk, size)
            events.wait_for(device.name, "RNBD_LIMITS=1")
        line = f"{device.name}: changed as the server's device: blocks of {size}"
        assert line in guest.printed_since(mark)
    assert device.unmap() is None


def test_partitions_are_looked_for_in_units_of_the_new_blocks(loopback: Pair) -> None:
    """A table that was made with blocks of 4096 bytes, and one with blocks of 512."""
    guest = loopback.target.guest
    disk = FileDisk.make(guest, 16)
    table = "label: gpt\\nstart=1MiB, size=2MiB\\n"
    device = loopback.map(disk.node)
    assert _partitions(device) == []
    _set_blocks(loopback, disk, 4096, outage=False)
    _wait_for_blocks(device, disk, 4096)
    guest.run(f"printf '{table}' | sfdisk --quiet --no-reread --no-tell-kernel {disk.node}")
    guest.run(f"blockdev --rereadpt {device.node}")
    assert _partitions(device) == [("2048", "4096")]

    _set_blocks(loopback, disk, 512, outage=False)
    guest.wait_until(
        lambda: device.read("queue/logical_block_size") == "512", "the blocks", FOLLOWED
    )
    # No task can open one that the next one to open the disk replaces.
    assert _partitions(device) == []
    # The table is not where it would be with such blocks.
    guest.run(f"dd if={device.node} of=/dev/null bs=4k count=1 status=none")
    assert _partitions(device) == []
    _set_blocks(loopback, disk, 4096, outage=False)
    guest.wait_until(
        lambda: device.read("queue/logical_block_size") == "4096", "the blocks", FOLLOWED
    )
    guest.run(f"dd if={device.node} of=/dev/null bs=4k count=1 status=none")
    assert _partitions(device) == [("2048", "4096")]
    assert device.unmap() is None


def _partitions(device: Device) -> list[tuple[str, str]]:
    """Starts and sizes in sectors of 512 bytes."""
    files = f"/sys/block/{device.name}/{device.name}p*"
    found = device.guest.output(f"ls -d {files} 2>/dev/null || true").split()
    return [(device.guest.read(f"{it}/start"), device.guest.read(f"{it}/size")) for it in found]


@OUTAGE
def test_larger_blocks_stop_a_disk_while_it_is_open(loopback: Pair, outage: bool) -> None:
    """One clear line, a state and a uevent; then the disk takes the blocks over by itself."""
    guest = loopback.target.guest
    disk = FileDisk.make(guest, 16)
    device = loopback.map(disk.node)
    mark = guest.console.mark()
    line = f"{device.name}: the server's device has larger blocks now, I/O fails until"
    with uevents.recorded(guest) as events:
        with device.held_open():
            _set_blocks(loopback, disk, 4096, outage)
            guest.wait_until(lambda: line in guest.console.since(mark), line, FOLLOWED)
            _is_stopped(device, events)
            assert loopback.target.exports() == []
            remap = f"/sys/block/{device.name}/rnbd/remap_device"
            assert guest.write(remap, "1") == "EMEDIUMTYPE"
            assert guest.run(disks.write_block(device.node), check=False).code != 0
        events.wait_for(device.name, "ACTION=online")
    _wait_for_blocks(device, disk, 4096)
    assert guest.printed_since(mark).count(line) == 1
    assert device.unmap() is None
    assert loopback.target.exports() == []


def _is_stopped(device: Device, events: Uevents) -> None:
    device.wait_for_state("closed")
    assert device.read("queue/logical_block_size") == "512"
    events.wait_for(device.name, "ACTION=offline")


def test_smaller_blocks_do_not_stop_a_disk(loopback: Pair) -> None:
    """A program that has it open goes on with the blocks that the disk has."""
    guest = loopback.target.guest
    disk = FileDisk.make(guest, 16)
    guest.run(f"losetup --sector-size 4096 {disk.node}")
    device = loopback.map(disk.node)
    with device.held_open():
        _set_blocks(loopback, disk, 512, outage=False)
        (path,) = loopback.initiator.transport().paths()
        path.wait_for_heartbeats(3)
        assert device.read("queue/logical_block_size") == "4096"
        assert device.read("rnbd/state") == "open"
        fio.verify(guest, device.node, block="4k-64k", size="2m")
    # At the next reconnect, at the latest.
    path.force_connection()
    _wait_for_blocks(device, disk, 512)
    assert device.unmap() is None
