# SPDX-License-Identifier: GPL-2.0-only
"""Disks that have the size of the target's device, also when that changes."""

from rnbdbench import disks
from rnbdbench import fio
from rnbdbench import uevents
from rnbdbench.file_disk import FileDisk
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS
from rnbdbench.rnbd import Device

MEGABYTE = 1 << 20

HEARTBEAT = 5.0
"""Seconds after which a server tells at the latest that something has changed."""

MARGIN = 10.0
"""Seconds for what follows, on a slow machine."""


def _megabytes(device: Device) -> float:
    return int(device.guest.output(f"blockdev --getsize64 {device.node}")) / MEGABYTE


def _wait_for_size(device: Device, megabytes: int) -> None:
    device.guest.wait_until(
        lambda: _megabytes(device) == megabytes,
        f"{device.name} to have {megabytes} MiB",
        HEARTBEAT + MARGIN,
    )


def _write(device: Device, megabyte: int, word: str) -> None:
    """Fills a megabyte with a word, which must have 7 letters to fit in evenly."""
    device.guest.run(
        f"yes {word} | dd of={device.node} bs=1M count=1 seek={megabyte} iflag=fullblock"
        " oflag=direct conv=notrunc status=none"
    )


def _words(file: str, guest: Guest, megabyte: int) -> str:
    """What a megabyte of a file or disk is filled with."""
    return guest.output(f"dd if={file} bs=1M count=1 skip={megabyte} status=none | sort -u")


def test_a_disk_grows_with_that_of_the_target(loopback: Pair) -> None:
    """No command, no I/O; users are told, and what lies beyond the old end can be used."""
    disk = FileDisk.make(loopback.target.guest, 16)
    device = loopback.map(disk.node)
    assert _megabytes(device) == 16
    with uevents.recorded(device.guest) as events:
        disk.resize(32)
        _wait_for_size(device, 32)
        events.wait_for(device.name, "ACTION=change", "RESIZE=1")
    assert f"{device.name}: size changed from 32768 to 65536 sectors" in device.guest.output(
        "dmesg"
    )
    assert device.read("size") == "65536"
    _write(device, 31, "outside")
    assert _words(disk.file, disk.guest, 31) == "outside"
    assert _words(device.node, device.guest, 31) == "outside"
    fio.verify(device.guest, device.node, block="64k", size="32m")
    disk.resize(40)
    _wait_for_size(device, 40)
    assert device.unmap() is None


def test_a_disk_shrinks_with_that_of_the_target(loopback: Pair) -> None:
    """What is left keeps its data; beyond it there is nothing any more."""
    disk = FileDisk.make(loopback.target.guest, 16)
    device = loopback.map(disk.node)
    _write(device, 7, "earlier")
    _write(device, 8, "further")
    disk.resize(8)
    _wait_for_size(device, 8)
    assert _words(device.node, device.guest, 7) == "earlier"
    assert _words(device.node, device.guest, 8) == ""
    assert device.unmap() is None


@REMOVES_DISKS
def test_a_disk_that_is_gone_does_not_seem_empty_and_comes_back(loopback: Pair) -> None:
    """Its size stays, so that reading it fails rather than finds an end."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(size=16)
    device = loopback.map(disk)
    power = f"{disks.NULL_DISKS}/{disk.removeprefix('/dev/')}/power"
    with uevents.recorded(guest) as events:
        assert guest.write(power, "0") is None
        events.wait_for(device.name, "ACTION=offline")
        assert f"{device.name}: the server's device is gone" in guest.output("dmesg")
        assert device.read("rnbd/state") == "closed"
        assert device.read("size") == str(16 * MEGABYTE // 512)
        read = f"dd if={device.node} of=/dev/null bs=4k count=1 iflag=direct"
        result = guest.run(read, check=False)
        assert "No such device or address" in result.stderr, result.stderr

        assert guest.write(power, "1") is None
        events.wait_for(device.name, "ACTION=online")
    assert device.read("rnbd/state") == "open"
    fio.verify(guest, device.node, block="4k", size="1m")
    assert device.unmap() is None


def test_a_disk_grows_while_it_is_busy(loopback: Pair) -> None:
    """Heartbeats, and what they tell, are not held up by I/O, nor is I/O by them."""
    disk = FileDisk.make(loopback.target.guest, 32)
    device = loopback.map(disk.node)
    load = fio.begin_load(device.guest, device.node)
    fio.wait_for_io(device.guest, device.name)
    disk.resize(48)
    _wait_for_size(device, 48)
    fio.wait_for_io(device.guest, device.name)
    assert load.running, load.wait()
    load.cancel()
    load.wait()
    assert device.unmap() is None


def test_a_size_set_by_hand_stays_until_that_of_the_target_changes(loopback: Pair) -> None:
    """Also when another device of the session has another size."""
    guest = loopback.target.guest
    first, second = FileDisk.make(guest, 16, "first"), FileDisk.make(guest, 16, "second")
    by_hand = loopback.map(first.node)
    other = loopback.initiator.map(second.node)
    file = f"/sys/block/{by_hand.name}/rnbd/resize"
    assert by_hand.guest.write(file, str(4 * MEGABYTE // 512)) is None
    second.resize(24)
    _wait_for_size(other, 24)
    assert _megabytes(by_hand) == 4
    first.resize(20)
    _wait_for_size(by_hand, 20)
    assert other.unmap() is None
    assert by_hand.unmap() is None


def test_disks_are_unmapped_while_sizes_change(loopback: Pair) -> None:
    """All of a session are asked for when one changes; some go in between, by force."""
    guest = loopback.target.guest
    disks = [FileDisk.make(guest, 32, f"disk{number}") for number in range(6)]
    loopback.load()
    first, *others = [loopback.initiator.map(disk.node) for disk in disks]
    load = fio.begin_load(guest, others[0].node)
    fio.wait_for_io(guest, others[0].name)
    guest.run(" && ".join(f"truncate -s 48M {disk.file}" for disk in disks))
    guest.run(" && ".join(f"losetup -c {disk.node}" for disk in disks))
    _wait_for_size(first, 48)
    files = [f"/sys/block/{device.name}/rnbd/unmap_device" for device in others]
    guest.run(" ".join(f"echo force > {file} &" for file in files) + " wait")
    assert loopback.initiator.devices() == [first]
    assert load.wait(60).code != 0
    disks[0].resize(64)
    _wait_for_size(first, 64)
    assert first.unmap("force") is None


def test_a_size_that_changed_without_a_path_is_taken_over_with_the_next(loopback: Pair) -> None:
    """And what comes after that is told by heartbeats again."""
    disk = FileDisk.make(loopback.target.guest, 16)
    device = loopback.map(disk.node)
    (path,) = loopback.initiator.transport().paths()
    disk.resize(24)
    _wait_for_size(device, 24)
    assert path.disconnect() is None
    disk.resize(32)
    path.force_connection()
    _wait_for_size(device, 32)
    disk.resize(40)
    _wait_for_size(device, 40)
    assert device.unmap() is None
