# SPDX-License-Identifier: GPL-2.0-only
"""Disks whose size changes, and devices that the target lost and has again."""

from rnbdbench import dmesg
from rnbdbench import fio
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS
from rnbdbench.rnbd import Device
from rnbdbench.rtrs import TransportPath

MEGABYTE = 2048
"""Sectors."""


def _map(bench: Pair, disk: str, **options: int) -> tuple[Device, TransportPath]:
    device = bench.map(disk, **options)
    (path,) = bench.initiator.transport().paths()
    return device, path


def _write(device: Device, attribute: str, text: str) -> str | None:
    return device.guest.write(f"/sys/block/{device.name}/rnbd/{attribute}", text)


def _sectors(device: Device) -> int:
    return int(device.guest.output(f"blockdev --getsz {device.node}"))


def _read_code(device: Device, block: int = 0) -> int:
    """Exit code of a read of 4 KiB."""
    command = f"dd if={device.node} of=/dev/null bs=4k count=1 skip={block} iflag=direct"
    return device.guest.run(f"{command} status=none", check=False).code


def _take_away(guest: Guest, path: TransportPath) -> None:
    """Lets the target forget the session, and removes its disk."""
    assert path.disconnect() is None
    guest.wait_until(
        lambda: guest.run("rmdir /sys/kernel/config/nullb/nullb7", check=False).code == 0,
        "the target's disk to be removed",
    )


def test_size_is_changed_by_hand(loopback: Pair) -> None:
    """In sectors, in any base; the disk gets the new size."""
    device, _ = _map(loopback, loopback.target.null_disk(size=16))
    assert device.read("rnbd/resize") == "Usage: echo <new size in sectors> > resize"
    assert _sectors(device) == 16 * MEGABYTE
    for text, sectors in (("16384", 16384), ("0x2000\n", 8192), ("32768", 32768)):
        assert _write(device, "resize", text) is None
        assert _sectors(device) == sectors
        assert device.read("size") == str(sectors)
    for wrong in ("all", "-1", "1 2", "0x"):
        assert _write(device, "resize", wrong) == "EINVAL", wrong
    assert _write(device, "resize", "18446744073709551616") == "ERANGE"
    assert _write(device, "resize", "0xffffffffffffffff") == "EFBIG"
    assert _sectors(device) == 16 * MEGABYTE
    fio.verify(device.guest, device.node, block="64k", size="4m")
    assert device.unmap() is None


@REMOVES_DISKS
def test_size_follows_that_of_the_target(loopback: Pair) -> None:
    """A disk that grew while there was no path is larger when there is one again."""
    guest = loopback.target.guest
    device, path = _map(loopback, loopback.target.null_disk(size=64))
    assert _sectors(device) == 64 * MEGABYTE
    _take_away(guest, path)
    assert _write(device, "resize", "16384") == "ENOENT", "the device is not open"
    loopback.target.null_disk(size=96)
    path.force_connection()
    guest.wait_until(lambda: _sectors(device) == 96 * MEGABYTE, "the new size")
    assert device.read("rnbd/state") == "open"
    assert _read_code(device, block=96 * 256 - 1) == 0
    assert device.unmap() is None


@REMOVES_DISKS
def test_a_device_that_was_lost_is_mapped_again(loopback: Pair) -> None:
    """The target is back without the disk; once it has it, remap_device need not wait."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(size=64)
    device, path = _map(loopback, disk, fast_io_fail_tmo=0)
    assert device.read("rnbd/remap_device") == "Usage: echo <1> > remap_device"
    assert _write(device, "remap_device", "1") == "EALREADY"
    assert _write(device, "remap_device", "yes") == "EINVAL"
    _take_away(guest, path)
    assert _write(device, "remap_device", "1") == "ENOTCONN"

    path.force_connection()
    assert device.read("rnbd/state") == "closed"
    assert _read_code(device) != 0
    assert _write(device, "remap_device", "1") == "ENOENT"
    assert "remap_device: ENOENT" in dmesg.last(guest, 3)
    assert device.read("rnbd/state") == "closed"

    assert loopback.target.null_disk(size=64) == disk
    # It may be back already.
    assert _write(device, "remap_device", "1") in (None, "EALREADY")
    assert device.read("rnbd/state") == "open"
    fio.verify(guest, device.node, block="64k", size="4m")
    assert device.unmap() is None


def test_unmapping_a_lost_device_closes_no_other(loopback: Pair) -> None:
    """A target that lost the session restarts device ids: another device has the old one then."""
    guest = loopback.target.guest
    loopback.target.ram_disk(16, count=2)
    guest.run("ln -s /dev/ram0 /run/first.img")
    lost, path = _map(loopback, "/run/first.img", fast_io_fail_tmo=0)
    kept = loopback.initiator.map("/dev/ram1", path="")
    guest.run("rm /run/first.img")
    assert path.disconnect() is None
    path.force_connection()
    guest.wait_until(lambda: lost.read("rnbd/state") == "closed", "the device to be lost")
    assert _read_code(lost) != 0
    assert kept.read("rnbd/state") == "open"

    assert lost.unmap() is None
    assert loopback.target.exports() == ["ram1"]
    assert _read_code(kept) == 0
    assert kept.unmap() is None
