# SPDX-License-Identifier: GPL-2.0-only
"""Operations beyond reading and writing, with a C driver on one side."""

import pytest

from rnbdbench import blktrace
from rnbdbench import direct
from rnbdbench import disks
from rnbdbench import network
from rnbdbench.blktrace import Arrival
from rnbdbench.clock import Clock
from rnbdbench.disks import PAGE
from rnbdbench.file_disk import FileDisk
from rnbdbench.file_disk import sparse_disk
from rnbdbench.lab import Pair

pytestmark = pytest.mark.drivers("rust-c", "c-rust")

SECTORS = PAGE // 512
MEGABYTE = 2048
"""Sectors."""

ANNOUNCED = 12.0
"""Seconds after which our server would have announced a new size: 5, and a margin."""


def _with_data(arrived: list[Arrival]) -> list[Arrival]:
    """Returns all but flushes, with which some programs end."""
    return [each for each in arrived if each.sectors]


def _write(node: str, flags: str = "direct") -> str:
    """The command that writes a page at the start of a device."""
    return f"dd if=<(yes other) of={node} bs={PAGE} count=1 iflag=fullblock oflag={flags}"


@pytest.mark.drivers("rust-c", "c-rust", long=["rust-c"])
def test_durable_writes_are_durable(pair: Pair) -> None:
    """fsync is a flush at the end, and O_DSYNC is FUA."""
    target, guest = pair.target.guest, pair.initiator.guest
    disk = pair.target.null_disk(cache_size=4, fua=1)
    device = pair.map(disk)
    with blktrace.arrivals(target, disk, blktrace.REQUESTS) as arrived:
        guest.run(f"dd if=/dev/zero of={device.node} bs=64k count=2 conv=fsync status=none")
    operations = [each.operation for each in arrived]
    assert set(operations[:-1]) == {"write"}, arrived
    assert operations[-1] == "flush", arrived

    with blktrace.arrivals(target, disk, blktrace.REQUESTS) as arrived:
        guest.run(_write(device.node, "direct,dsync"))
    # Linux ends an O_DSYNC write with fsync().
    assert [(each.operation, each.fua) for each in arrived] == [("write", True), ("flush", False)]
    assert disks.picture(target, disk, 2) == "#."
    assert device.unmap() is None


def test_the_largest_request_is_that_of_the_server(pair: Pair) -> None:
    """A chunk of the C server has the space for headers within, one of ours in addition."""
    guest = pair.initiator.guest
    disk = pair.target.ram_disk(16)
    device = pair.map(disk)
    largest = 128 if pair.target.guest.specification.drivers == "rust" else 124
    assert device.read("queue/max_hw_sectors_kb") == str(largest)
    with blktrace.arrivals(pair.target.guest, disk) as arrived:
        direct.write_and_read(guest, device.node, largest // 4, PAGE)
    assert arrived == [Arrival("write", 0, largest * 2), Arrival("read", 0, largest * 2)]
    assert device.unmap() is None


def test_discard_covers_exactly_its_range(pair: Pair) -> None:
    """The target gets the same sectors."""
    target = pair.target.guest
    disk = pair.target.null_disk(discard=1)
    disks.fill(target, disk, 8)
    device = pair.map(disk)
    with blktrace.arrivals(target, disk) as arrived:
        pair.initiator.guest.run(disks.on_pages("blkdiscard --force", device.node, 2, 3))
    assert arrived == [Arrival("discard", 2 * SECTORS, 3 * SECTORS)]
    assert disks.picture(target, disk, 8) == "##...###"
    assert device.unmap() is None


def test_zeroes_are_written_with_and_without_giving_up_the_space(pair: Pair) -> None:
    """Without sending them; the file below the target's disk keeps its blocks or not."""
    target, guest = pair.target.guest, pair.initiator.guest
    with sparse_disk(target, pair.target.ram_disk(64), 8 * disks.MEGABYTE) as sparse:
        disks.fill(target, sparse.node, 16)
        device = pair.map(sparse.node)
        full = sparse.allocated()
        with blktrace.arrivals(target, sparse.node) as arrived:
            guest.run(disks.on_pages("blkdiscard --force --zeroout", device.node, 2, 3))
        assert _with_data(arrived) == [Arrival("write-zeroes", 2 * SECTORS, 3 * SECTORS)]
        assert disks.picture(target, sparse.node, 8) == "##...###"
        assert sparse.allocated() == full
        with blktrace.arrivals(target, sparse.node) as arrived:
            guest.run(disks.on_pages("fallocate --punch-hole", device.node, 4, 2))
        assert _with_data(arrived) == [Arrival("write-zeroes", 4 * SECTORS, 2 * SECTORS)]
        assert disks.picture(target, sparse.node, 8) == "##....##"
        assert sparse.allocated() == full - 2 * SECTORS
        assert device.unmap() is None


def test_access_modes(pair: Pair) -> None:
    """A reader cannot write, a second writer is refused, two may migrate."""
    target, guest = pair.target.guest, pair.initiator.guest
    disk = pair.target.null_disk()
    disks.fill(target, disk, 1)
    reader = pair.map(disk, session="reader", access_mode="ro")
    assert reader.read("rnbd/access_mode") == "ro"
    assert guest.output(f"blockdev --getro {reader.node}") == "1"
    with blktrace.arrivals(target, disk) as arrived:
        assert guest.run(_write(reader.node), check=False).code != 0
        assert disks.picture(guest, reader.node, 2) == "#."
    assert {each.operation for each in arrived} == {"read"}

    writer = pair.initiator.map(disk, session="writer", access_mode="rw")
    line = f"sessname=second path={{}} device_path={disk} access_mode=rw"
    assert pair.initiator.request(line.format("ip:10.50.100.66")) == "EPERM"
    second = pair.initiator.map(disk, session="second", access_mode="migration")
    for device in (writer, second):
        with blktrace.arrivals(target, disk) as arrived:
            guest.run(_write(device.node))
        assert arrived == [Arrival("write", 0, SECTORS)]
    for device in (second, writer, reader):
        assert device.unmap() is None
    assert pair.target.exports() == []


@pytest.mark.drivers("rust-c", "c-rust", long=["rust-c"])
def test_a_new_size_is_set_by_hand(pair: Pair) -> None:
    """The C drivers do not announce it: the disk keeps its size until a write to `resize`."""
    guest = pair.initiator.guest
    disk = FileDisk.make(pair.target.guest, 16)
    device = pair.map(disk.node)
    assert disks.sectors(guest, device.node) == 16 * MEGABYTE
    disk.resize(32)
    Clock(guest).wait(ANNOUNCED)
    assert disks.sectors(guest, device.node) == 16 * MEGABYTE

    resize = f"/sys/block/{device.name}/rnbd/resize"
    assert guest.write(resize, str(32 * MEGABYTE)) is None
    assert disks.sectors(guest, device.node) == 32 * MEGABYTE
    end = "bs=1M count=1 seek=31 iflag=fullblock oflag=direct conv=notrunc status=none"
    guest.run(f"dd if=<(yes outside) of={device.node} {end}")
    look = f"dd if={disk.file} bs=1M count=1 skip=31 status=none | sort -u"
    assert "outside" in pair.target.guest.output(look).split()
    assert device.unmap() is None


@pytest.mark.drivers("c-rust")
def test_a_zoned_device_is_refused_with_the_reason(pair: Pair) -> None:
    """A C client would take it for an ordinary disk, so that our server does not open it."""
    target = pair.target.guest
    disk = pair.target.null_disk(size=64, zoned=1, zone_size=16)
    pair.load()
    mark = target.console.mark()
    line = f"sessname=bench path={network.TARGET.path()} device_path={disk}"
    # Another name of EOPNOTSUPP.
    assert pair.initiator.request(line) == "ENOTSUP"
    said = target.printed_since(mark)
    assert f"'{disk}' ({disk[5:]}) is a zoned device, which cannot be exported" in said, said
    assert pair.initiator.devices() == []
    assert pair.target.exports() == []
