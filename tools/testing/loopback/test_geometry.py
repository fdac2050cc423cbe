# SPDX-License-Identifier: GPL-2.0-only
"""Sizes, blocks and limits of disks are those of the target, and I/O may be as large."""

import pytest

from rnbdbench import blktrace
from rnbdbench import direct
from rnbdbench import disks
from rnbdbench import fio
from rnbdbench.blktrace import Arrival
from rnbdbench.disks import PAGE
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS
from rnbdbench.rnbd import Device

SAME = [
    "queue/logical_block_size",
    "queue/physical_block_size",
    "queue/minimum_io_size",
    "queue/optimal_io_size",
    "alignment_offset",
    "queue/discard_granularity",
    "queue/write_cache",
    "queue/fua",
    "discard_alignment",
    "size",
]
"""Attributes that a disk has in common with the target's disk."""

RANGES = ["queue/discard_max_hw_bytes", "queue/discard_max_bytes", "queue/write_zeroes_max_bytes"]
"""Further attributes in common, up to the limits of the message format."""

LARGEST_RANGE = 1 << 32

ZEROES = 1 << 20
"""Largest range of zeroes that the server writes for a disk that cannot."""

KINDS = {
    "512": {},
    "512e": {"physblk_exp": 3, "lowest_aligned": 0},
    "4kn": {"sector_size": 4096},
    "unmap": {"lbpu": 1, "unmap_granularity": 64, "unmap_alignment": 8, "unmap_max_blocks": 4096},
    "write-same": {"lbpws": 1, "write_same_length": 2048},
}
"""Parameters of scsi_debug."""


def _assert_alike(guest: Guest, device: Device, disk: str) -> None:
    name = disk.rsplit("/", 1)[1]
    for attribute in SAME:
        theirs = guest.read(f"/sys/block/{name}/{attribute}")
        assert device.read(attribute) == theirs, attribute
    for attribute in RANGES:
        said = int(guest.read(f"/sys/block/{name}/{attribute}"))
        block = int(device.read("queue/logical_block_size"))
        if attribute == "queue/write_zeroes_max_bytes":
            said = said or ZEROES
        assert int(device.read(attribute)) == min(said, LARGEST_RANGE - block), attribute


@REMOVES_DISKS
@pytest.mark.parametrize("kind", KINDS)
def test_limits_of_a_scsi_disk_are_shown(loopback: Pair, kind: str) -> None:
    """With a write cache and FUA, as disks have them."""
    guest = loopback.target.guest
    disk = disks.scsi(guest, dev_size_mb=24, **KINDS[kind])
    device = loopback.map(disk)
    _assert_alike(guest, device, disk)
    assert device.read("queue/write_cache") == "write back"
    assert device.read("queue/fua") == "1"
    fio.verify(guest, device.node, block="4k-128k", size="4m")
    assert device.unmap() is None


@pytest.mark.parametrize("attributes", [{}, {"discard": 1}, {"discard": 1, "blocksize": 4096}])
def test_limits_of_a_null_disk_are_shown(loopback: Pair, attributes: dict[str, int]) -> None:
    """With and without discard, in blocks of 512 bytes and of 4 KiB."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(**attributes)
    device = loopback.map(disk)
    _assert_alike(guest, device, disk)
    assert (device.read("queue/discard_granularity") != "0") == ("discard" in attributes)
    assert device.unmap() is None


@pytest.mark.parametrize("block", [512, 4096])
def test_a_disk_of_odd_size_has_its_last_block(loopback: Pair, block: int) -> None:
    """Its last block can be written; there is none behind it."""
    guest = loopback.target.guest
    blocks = 12347
    disk = disks.loop(guest, blocks * block, options=f"--sector-size {block}")
    device = loopback.map(disk)
    assert int(guest.output(f"blockdev --getsize64 {device.node}")) == blocks * block
    guest.run(
        f"yes last | dd of={device.node} bs={block} count=1 seek={blocks - 1} iflag=fullblock"
        " oflag=direct status=none"
    )
    guest.run(f"cmp <(tail -c {block} /run/disk.img) <(yes last | head -c {block})")
    beyond = f"dd if={device.node} of=/dev/null bs={block} skip={blocks} count=1 iflag=direct"
    assert "0+0 records in" in guest.run(beyond, check=False).stderr
    assert device.unmap() is None


def test_a_part_of_a_block_at_the_end_is_left_out(loopback: Pair) -> None:
    """A loop device of blocks of 4 KiB can have half of one at its end."""
    guest = loopback.target.guest
    disk = disks.loop(guest, 16 * disks.MEGABYTE + 2048, options="--sector-size 4096")
    whole = 16 * disks.MEGABYTE // 512
    assert disks.sectors(guest, disk) == whole + 4
    device = loopback.map(disk)
    assert disks.sectors(guest, device.node) == whole
    assert device.unmap() is None


def test_a_request_of_128_kib_travels_at_once(loopback: Pair) -> None:
    """One message, one bio, in both directions."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    device = loopback.map(disk)
    assert device.read("queue/max_hw_sectors_kb") == "128"
    assert device.read("queue/max_segments") == "128"
    pages = 32
    with blktrace.arrivals(guest, disk) as arrived:
        direct.write_and_read(guest, device.node, pages, PAGE, step=2 * PAGE)
    assert arrived == [Arrival("write", 0, pages * 8), Arrival("read", 0, pages * 8)]
    assert device.unmap() is None


def _assert_one_request(
    bench: Pair, count: int, size: int, step: int = 0, huge: bool = False
) -> None:
    """With chunks of 1 MiB, these pieces of memory travel at once, both ways."""
    guest = bench.target.guest
    disk = bench.target.ram_disk(16)
    device = bench.map(disk, transport={"max_chunk_size": 1 << 20, "sess_queue_depth": 64})
    assert device.read("queue/max_hw_sectors_kb") == str(1024)
    guest.run(f"echo 1020 > /sys/block/{device.name}/queue/max_sectors_kb")
    with blktrace.arrivals(guest, disk) as arrived:
        direct.write_and_read(guest, device.node, count, size, step=step, huge=huge)
    sectors = count * size // 512
    assert arrived == [Arrival("write", 0, sectors), Arrival("read", 0, sectors)]
    assert device.unmap() is None


def test_a_request_has_up_to_128_segments(loopback: Pair) -> None:
    """One for each page, none of which follows another in memory."""
    _assert_one_request(loopback, 128, PAGE, step=2 * PAGE)


def test_a_segment_is_as_large_as_a_chunk(loopback: Pair) -> None:
    """More pages than a request has segments, if they follow each other in memory."""
    _assert_one_request(loopback, 1, 255 * PAGE, huge=True)


def test_buffers_may_start_anywhere(loopback: Pair, device: Device) -> None:
    """At any whole word: in one piece, and in many that share pages."""
    guest = loopback.target.guest
    assert device.read("queue/dma_alignment") == "3"
    fio.verify(guest, device.node, block="4k-256k", size="4m", misaligned=4)
    direct.write_and_read(guest, device.node, 1, 64 * PAGE, skew=508)
    direct.write_and_read(guest, device.node, 64, 512, step=1024, skew=12)
    assert device.unmap() is None
