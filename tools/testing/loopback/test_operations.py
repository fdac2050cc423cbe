# SPDX-License-Identifier: GPL-2.0-only
"""Each operation: the requests that arrive at the target's disk, and its content afterwards."""

import pytest

from rnbdbench import blktrace
from rnbdbench import disks
from rnbdbench.blktrace import Arrival
from rnbdbench.disks import PAGE
from rnbdbench.file_disk import sparse_disk
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS

SECTORS = PAGE // 512


def _write(guest: Guest, node: str, page: int, count: int = 1, flags: str = "direct") -> None:
    guest.run(
        f"dd if=<(yes other) of={node} bs={count * PAGE} count=1 seek={page * PAGE}"
        f" iflag=fullblock oflag={flags},seek_bytes conv=notrunc status=none"
    )


def _zeroes(arrived: list[Arrival]) -> list[Arrival]:
    return [each for each in arrived if each.operation == "write-zeroes"]


def test_reads_and_writes_arrive_as_they_were_sent(loopback: Pair) -> None:
    """The same sector, the same size, the same data."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk()
    device = loopback.map(disk)
    with blktrace.arrivals(guest, disk) as arrived:
        _write(guest, device.node, 5, 3)
        data = guest.output(
            f"dd if={device.node} bs={3 * PAGE} count=1 skip={5 * PAGE} status=none"
            " iflag=direct,skip_bytes | sha256sum"
        )
    assert arrived == [
        Arrival("write", 5 * SECTORS, 3 * SECTORS),
        Arrival("read", 5 * SECTORS, 3 * SECTORS),
    ]
    assert data == guest.output(f"yes other | head -c {3 * PAGE} | sha256sum")
    assert disks.picture(guest, disk, 10) == ".....###.."
    assert device.unmap() is None


@pytest.mark.parametrize("fua", [1, 0], ids=["fua", "no-fua"])
def test_durable_writes_reach_behind_the_cache(loopback: Pair, fua: int) -> None:
    """O_DSYNC: around the cache where the disk can do that, else with a flush behind."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(cache_size=4, fua=fua)
    device = loopback.map(disk)
    assert device.read("queue/fua") == str(fua)
    with blktrace.arrivals(guest, disk, blktrace.REQUESTS) as arrived:
        _write(guest, device.node, 1, flags="direct,dsync")
    # The last flush is not for the write: Linux ends an O_DSYNC write with fsync().
    flushes = ["flush"] if fua else ["flush", "flush"]
    assert [each.operation for each in arrived] == ["write", *flushes]
    assert arrived[0].range == (SECTORS, SECTORS)
    assert arrived[0].fua == bool(fua)
    assert disks.picture(guest, disk, 3) == ".#."
    assert device.unmap() is None


def test_flush_empties_the_cache(loopback: Pair) -> None:
    """fsync is one flush, after what it is to make durable."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(cache_size=4)
    device = loopback.map(disk)
    with blktrace.arrivals(guest, disk, blktrace.REQUESTS) as arrived:
        guest.run(f"dd if=/dev/zero of={device.node} bs=64k count=2 conv=fsync status=none")
    operations = [each.operation for each in arrived]
    assert operations.count("flush") == 1, operations
    assert operations[-1] == "flush"
    assert device.unmap() is None


@pytest.mark.parametrize("fua", [1, 0], ids=["fua", "no-fua"])
def test_a_journal_is_flushed_before_its_commit(loopback: Pair, fua: int) -> None:
    """ext4 commits by PREFLUSH and FUA in one: a flush, then the block, which is durable, too."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(cache_size=4, fua=fua)
    device = loopback.map(disk)
    guest.run(
        f"modprobe -q ext4; mkfs.ext4 -q -b {PAGE} -E lazy_itable_init=0,lazy_journal_init=0"
        f" {device.node} && mkdir -p /mnt/disk && mount {device.node} /mnt/disk"
        " && sync -f /mnt/disk"
    )
    with blktrace.arrivals(guest, disk, blktrace.REQUESTS) as arrived:
        guest.run("dd if=/dev/zero of=/mnt/disk/file bs=64k count=2 conv=fsync status=none")
    operations = [each.operation for each in arrived]
    # The commit is the last thing that fsync() waits for.
    end = ["write", "flush", "write"] if fua else ["write", "flush", "write", "flush"]
    assert operations[-len(end) :] == end, arrived
    assert operations.count("flush") == end.count("flush"), arrived
    commit = arrived[operations.index("flush") + 1]
    assert (commit.sectors, commit.fua) == (SECTORS, bool(fua)), arrived
    assert [each for each in arrived if each.fua] == [commit] * fua, arrived
    guest.run("umount /mnt/disk")
    assert device.unmap() is None


def test_without_a_cache_nothing_is_flushed(loopback: Pair) -> None:
    """Write-through: neither flush nor FUA is worth a message."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk()
    device = loopback.map(disk)
    assert device.read("queue/write_cache") == "write through"
    with blktrace.arrivals(guest, disk) as arrived:
        _write(guest, device.node, 0, flags="direct,dsync")
        guest.run(f"sync {device.node}")
    assert arrived == [Arrival("write", 0, SECTORS)]
    assert device.unmap() is None


def test_discard_covers_exactly_its_range(loopback: Pair) -> None:
    """The target gets the same sectors."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(discard=1)
    disks.fill(guest, disk, 8)
    device = loopback.map(disk)
    with blktrace.arrivals(guest, disk) as arrived:
        guest.run(disks.on_pages("blkdiscard --force", device.node, 2, 3))
    assert arrived == [Arrival("discard", 2 * SECTORS, 3 * SECTORS)]
    assert disks.picture(guest, disk, 8) == "##...###"
    assert device.unmap() is None


def test_a_whole_disk_can_be_discarded(loopback: Pair) -> None:
    """In one go, as large as the disk's own limit allows."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(discard=1, size=64)
    disks.fill(guest, disk, 4)
    device = loopback.map(disk)
    with blktrace.arrivals(guest, disk) as arrived:
        guest.run(f"blkdiscard --force {device.node}")
    assert {each.operation for each in arrived} == {"discard"}
    assert sum(each.sectors for each in arrived) == disks.sectors(guest, disk)
    assert disks.picture(guest, disk, 4) == "...."
    assert device.unmap() is None


def test_zeroes_are_written_with_and_without_giving_up_the_space(loopback: Pair) -> None:
    """A file below a loop device shows which of the two it was."""
    guest = loopback.target.guest
    with sparse_disk(guest, loopback.target.ram_disk(64), 8 << 20) as disk:
        disks.fill(guest, disk.node, 16)
        device = loopback.map(disk.node)
        full = disk.allocated()
        with blktrace.arrivals(guest, disk.node) as arrived:
            guest.run(disks.on_pages("blkdiscard --force --zeroout", device.node, 2, 3))
        assert [each.range for each in _zeroes(arrived)] == [(2 * SECTORS, 3 * SECTORS)]
        assert disks.picture(guest, disk.node, 8) == "##...###"
        assert disk.allocated() == full
        with blktrace.arrivals(guest, disk.node) as arrived:
            guest.run(disks.on_pages("fallocate --punch-hole", device.node, 4, 2))
        assert [each.range for each in _zeroes(arrived)] == [(4 * SECTORS, 2 * SECTORS)]
        assert disks.picture(guest, disk.node, 8) == "##....##"
        assert disk.allocated() == full - 2 * SECTORS
        assert device.unmap() is None


@REMOVES_DISKS
def test_a_scsi_disk_is_told_whether_to_unmap(loopback: Pair) -> None:
    """WRITE SAME with the bit for it, and without."""
    guest = loopback.target.guest
    disk = disks.scsi(guest, lbpws=1, dev_size_mb=16)
    disks.fill(guest, disk, 8)
    device = loopback.map(disk)
    with blktrace.lines(guest, blktrace.SCSI, "opcode == 0x93") as commands:
        guest.run(disks.on_pages("blkdiscard --force --zeroout", device.node, 1, 2))
        guest.run(disks.on_pages("fallocate --punch-hole", device.node, 4, 2))
    told = [text.split("cmnd=(")[1].split(" raw=")[0] for text in commands]
    assert told == [
        "WRITE_SAME_16 lba=8 txlen=16 protect=0 unmap=0",
        "WRITE_SAME_16 lba=32 txlen=16 protect=0 unmap=1",
    ]
    assert disks.picture(guest, disk, 8) == "#..#..##"
    assert device.unmap() is None


@REMOVES_DISKS
def test_zeroes_are_written_if_a_disk_refuses_write_zeroes(loopback: Pair) -> None:
    """A SCSI disk that refuses its first WRITE SAME: the initiator learns of it, and copes."""
    guest = loopback.target.guest
    disk = disks.scsi(guest, lbpws=1, dev_size_mb=16)
    disks.fill(guest, disk, 8)
    device = loopback.map(disk)
    # Once: check condition, illegal request, invalid operation code.
    guest.run('echo "2 -1 0x93 0 0 0x2 0x5 0x20 0x0" > /sys/kernel/debug/scsi_debug/*/error')
    guest.run(disks.on_pages("blkdiscard --force --zeroout", device.node, 2, 3))
    limit = f"/sys/block/{disk.rsplit('/', 1)[1]}/queue/write_zeroes_max_bytes"
    assert guest.read(limit) == "0"
    assert disks.picture(guest, disk, 8) == "##...###"
    assert device.unmap() is None


def test_secure_erase_is_refused_where_it_is_not_secure(loopback: Pair) -> None:
    """A disk that can only discard must not seem to do more."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(discard=1)
    disks.fill(guest, disk, 4)
    device = loopback.map(disk)
    with blktrace.arrivals(guest, disk) as arrived:
        result = guest.run(f"blkdiscard --force --secure {device.node}", check=False)
    assert result.code != 0
    assert "not supported" in result.stderr
    assert arrived == []
    assert disks.picture(guest, disk, 4) == "####"
    assert device.unmap() is None


@pytest.mark.parametrize(
    ("options", "realtime", "expected"),
    [("--class 1 --classdata 3", "N", "be,0,3"), ("--class 1 --classdata 3", "Y", "rt,0,3"),
     ("--class 2 --classdata 6", "N", "be,0,6"), ("--class 3", "N", "idle,0,7")],
    ids=["real-time", "real-time-allowed", "best-effort", "idle"],
)  # fmt: skip
def test_priority_travels_along(
    loopback: Pair, options: str, realtime: str, expected: str
) -> None:
    """ionice on the initiator has effect on the target; real-time only if that allows it."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk()
    loopback.load(realtime_io=realtime)
    device = loopback.initiator.map(disk)
    with blktrace.arrivals(guest, disk, blktrace.REQUESTS) as arrived:
        guest.run(
            f"ionice {options} dd if={device.node} of=/dev/null bs={PAGE} count=1"
            " iflag=direct status=none"
        )
    assert [(each.operation, each.priority) for each in arrived] == [("read", expected)]
    assert device.unmap() is None


def test_large_requests_are_split_for_the_disk(loopback: Pair) -> None:
    """One message, one bio, and requests as small as the disk needs them."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(max_sectors=2 * SECTORS)
    device = loopback.map(disk)
    largest = int(device.read("queue/max_hw_sectors_kb"))
    assert largest == 128
    with blktrace.arrivals(guest, disk, blktrace.REQUESTS) as arrived:
        _write(guest, device.node, 1, largest * 1024 // PAGE)
    assert {each.operation for each in arrived} == {"write"}
    assert max(each.sectors for each in arrived) == 2 * SECTORS
    assert sorted(each.sector for each in arrived)[0] == SECTORS
    assert sum(each.sectors for each in arrived) == largest * 2
    assert disks.picture(guest, disk, 34) == f".{'#' * 32}."
    assert device.unmap() is None
