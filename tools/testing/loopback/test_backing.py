# SPDX-License-Identifier: GPL-2.0-only
"""Disks that the target can export, their names, and their failures."""

from collections.abc import Callable

import pytest

from rnbdbench import disks
from rnbdbench import fio
from rnbdbench import network
from rnbdbench.disks import PAGE
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS
from rnbdbench.rnbd import Device

SIZE = 16 * disks.MEGABYTE


def _partition(bench: Pair) -> str:
    disk = bench.target.null_disk(size=64)
    return disks.partition(bench.target.guest, disk, 2048, SIZE // 512)


def _on_null_disk(make: Callable[[Guest, str, str], str]) -> Callable[[Pair], str]:
    return lambda bench: make(bench.target.guest, "rnbdtest", bench.target.null_disk(size=16))


def _loop(bench: Pair) -> str:
    return disks.loop(bench.target.guest, SIZE)


KINDS: dict[str, Callable[[Pair], str]] = {
    "partition": _partition,
    "loop": _loop,
    "mapper": _on_null_disk(disks.linear),
    "virtio": lambda bench: disks.virtio(bench.target.guest),
}


def _checksum(guest: Guest, node: str) -> str:
    return guest.output(f"dd if={node} bs=1M count=16 iflag=direct status=none | sha256sum")


def _error(guest: Guest, command: str) -> str | None:
    """Returns the error that dd prints, if it fails."""
    result = guest.run(command, check=False)
    return result.stderr.splitlines()[0].rsplit(": ", 1)[1] if result.code else None


def _read(device: Device, page: int) -> str | None:
    """Reads a page; returns the error."""
    return _error(
        device.guest,
        f"dd if={device.node} of=/dev/null bs={PAGE} skip={page} count=1 iflag=direct",
    )


def _write(device: Device, page: int, word: str) -> str | None:
    """Fills a page with a word; returns the error."""
    return _error(
        device.guest,
        f"dd if=<(yes {word}) of={device.node} bs={PAGE} seek={page} count=1 iflag=fullblock"
        " oflag=direct",
    )


def _export(bench: Pair, disk: str) -> Device:
    device = bench.map(disk)
    fio.verify(bench.target.guest, device.node, block="4k-128k", size="4m")
    assert _checksum(bench.target.guest, device.node) == _checksum(bench.target.guest, disk)
    return device


@pytest.mark.parametrize("kind", KINDS)
def test_disks_of_all_kinds_can_be_exported(loopback: Pair, kind: str) -> None:
    """Data arrive, and the folder in sysfs has the kernel's name of the disk."""
    guest = loopback.target.guest
    disk = KINDS[kind](loopback)
    device = _export(loopback, disk)
    name = guest.output(f"basename $(readlink -f {disk})")
    if kind == "mapper":
        name = f"dm-{guest.output('stat -L -c %Lr ' + disk)}"
    assert loopback.target.exports() == [name]
    assert device.unmap() is None


@REMOVES_DISKS
def test_an_array_can_be_exported(loopback: Pair) -> None:
    """RAID1 of two RAM disks."""
    guest = loopback.target.guest
    loopback.target.ram_disk(16, count=2)
    array = disks.mirror(guest, "/dev/ram0", "/dev/ram1")
    device = _export(loopback, array)
    assert _checksum(guest, "/dev/ram0") == _checksum(guest, "/dev/ram1")
    assert loopback.target.exports() == ["md0"]
    assert device.unmap() is None


@pytest.mark.parametrize("search", ["/", "/dev"])
def test_symbolic_links_lead_to_their_disk(loopback: Pair, search: str) -> None:
    """Relative ones, as udev makes them in /dev/disk and /dev/mapper."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    folder = "/dev/disk/by-id"
    guest.run(f"mkdir -p {folder} && ln -sf ../../{disk.rsplit('/', 1)[1]} {folder}/rnbd-test")
    try:
        loopback.load(dev_search_path=search)
        path = f"{folder}/rnbd-test".removeprefix(search.rstrip("/"))
        device = loopback.initiator.map(path)
        assert loopback.target.exports() == ["ram0"]
        assert device.read("rnbd/mapping_path") == path
        assert device.unmap() is None
    finally:
        guest.run("rm -r /dev/disk")


def test_each_session_has_a_directory_of_its_own(loopback: Pair) -> None:
    """%SESSNAME% in dev_search_path: the same name is another disk in another session."""
    guest = loopback.target.guest
    loopback.target.ram_disk(16, count=2)
    guest.run(
        "mkdir -p /dev/exports/first-x /dev/exports/second-x"
        " && mknod /dev/exports/first-x/disk b 1 0 && mknod /dev/exports/second-x/disk b 1 1"
        " && mknod /dev/exports/first-x/foo..bar b 1 1 && ln -s /dev/exports/second-x/disk"
        " /dev/exports/first-x/absolute && ln -s ../second-x/disk /dev/exports/first-x/other"
        # Not only root can make links there.
        " && chmod 1777 /dev/exports/first-x"
    )
    try:
        loopback.load(dev_search_path="/dev/exports/%SESSNAME%-x")
        first = loopback.initiator.map("disk", session="first")
        second = loopback.initiator.map("disk", session="second")
        assert sorted(loopback.target.exports()) == ["ram0", "ram1"]
        disks.fill(guest, first.node, 1)
        assert disks.picture(guest, "/dev/ram0", 1) == "#"
        assert second.unmap() is None
        dotted = loopback.initiator.map("foo..bar", session="first")
        assert sorted(loopback.target.exports()) == ["ram0", "ram1"]
        assert dotted.unmap() is None

        line = f"path={network.TARGET.path()} device_path="
        for path in ("other", "absolute"):
            refused = loopback.initiator.request(f"sessname=first {line}{path}")
            assert refused == "EXDEV", path
        for name in ("..", "a/b", "first-x/../second"):
            assert loopback.initiator.request(f"sessname={name} {line}disk") == "EINVAL", name
        assert loopback.initiator.request(f"sessname=third {line}disk") == "ENOENT"
        assert first.unmap() is None
    finally:
        guest.run("rm -r /dev/exports")


def test_errors_of_a_disk_arrive_and_spare_others(loopback: Pair) -> None:
    """EIO for the bad block, data for all others, and another disk is not affected."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(size=16)
    pages = SIZE // PAGE
    bad = disks.mapper(
        guest, "rnbdtest", f"0 {8 * 8} linear {disk} 0", f"{8 * 8} 8 error",
        f"{9 * 8} {(pages - 9) * 8} linear {disk} {9 * 8}",
    )  # fmt: skip
    loopback.target.ram_disk(16)
    failing = loopback.map(bad)
    healthy = loopback.initiator.map("/dev/ram0")
    load = fio.begin_verify(guest, healthy.node)
    assert _read(failing, 7) is None
    assert _read(failing, 8) == "Input/output error"
    assert _read(failing, 9) is None
    assert _write(failing, 8, "bad") == "Input/output error"
    assert failing.read("rnbd/state") == "open"
    load.end()
    assert failing.unmap() is None
    assert healthy.unmap() is None


def _wait_for_write(device: Device, word: str, error: str | None) -> None:
    """Writes page 1 until it ends so; a write that fails must fail with EIO."""

    def ends_so() -> bool:
        given = _write(device, 1, word)
        assert given in (None, "Input/output error"), given
        return given == error

    device.guest.wait_until(ends_so, f"a write to give {error}")


def test_a_disk_is_used_again_after_it_failed(loopback: Pair) -> None:
    """Two seconds without writes, two with: writes fail with EIO, and succeed without remapping."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(size=16)
    guest.run("modprobe dm-flakey")
    # Up for two seconds, down for two; one feature.
    flaky = disks.mapper(guest, "rnbdtest", f"0 {SIZE // 512} flakey {disk} 0 2 2 1 error_writes")
    loopback.target.ram_disk(16)
    device = loopback.map(flaky)
    healthy = loopback.initiator.map("/dev/ram0")
    load = fio.begin_verify(guest, healthy.node)
    fio.wait_for_io(guest, healthy.name)

    for word in ("first", "second", "third"):
        _wait_for_write(device, "lost", "Input/output error")
        assert _read(device, 1) is None
        assert device.read("rnbd/state") == "open"
        _wait_for_write(device, word, None)
        assert device.read("rnbd/state") == "open"
        found = guest.output(f"dd if={disk} bs={PAGE} skip=1 count=1 iflag=direct status=none")
        assert set(found.splitlines()[:-1]) == {word}
    load.end()
    assert device.unmap() is None
    assert healthy.unmap() is None


@REMOVES_DISKS
def test_a_disk_that_vanishes_takes_nothing_with_it(loopback: Pair) -> None:
    """I/O on it fails as it would on the target; the session goes on, and it can be unmapped."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(size=16)
    loopback.target.ram_disk(16)
    lost = loopback.map(disk)
    kept = loopback.initiator.map("/dev/ram0")
    load = fio.begin_verify(guest, kept.node)
    doomed = fio.begin_load(guest, lost.node)
    fio.wait_for_io(guest, lost.name)
    assert guest.write(f"{disks.NULL_DISKS}/nullb7/power", "0") is None
    assert doomed.wait(60).code != 0
    assert _read(lost, 0) == "Input/output error"
    load.end()
    assert lost.unmap() is None
    assert loopback.target.exports() == ["ram0"]
    assert kept.unmap() is None


@REMOVES_DISKS
def test_a_scsi_disk_is_pulled(loopback: Pair) -> None:
    """As above, for a disk whose driver is told to let go of it."""
    guest = loopback.target.guest
    disk = disks.scsi(guest, dev_size_mb=16)
    device = loopback.map(disk)
    load = fio.begin_load(guest, device.node)
    fio.wait_for_io(guest, device.name)
    guest.run(f"echo 1 > /sys/block/{disk.rsplit('/', 1)[1]}/device/delete")
    assert load.wait(60).code != 0
    assert _read(device, 0) == "Input/output error"
    assert device.unmap() is None
