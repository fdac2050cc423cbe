# SPDX-License-Identifier: GPL-2.0-only
"""What the initiator's disk says of itself is what the target's device says."""

import json

from rnbdbench import blktrace
from rnbdbench import disks
from rnbdbench import network
from rnbdbench.disks import PAGE
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS
from rnbdbench.rnbd import Device

MEGABYTE = 1 << 20

SAME = """
    logical_block_size physical_block_size hw_sector_size minimum_io_size optimal_io_size
    rotational stable_writes write_cache fua discard_granularity discard_zeroes_data
    write_same_max_bytes write_zeroes_unmap_max_hw_bytes write_zeroes_unmap_max_bytes
    zoned nr_zones zone_append_max_bytes zone_write_granularity max_open_zones max_active_zones
""".split()
"""Files of `queue/` that are those of the target."""

RANGES = ["discard_max_hw_bytes", "discard_max_bytes", "write_zeroes_max_bytes"]
"""Files that are those of the target, up to the largest range of a message."""

LARGEST_RANGE = 1 << 32

ZEROES = 1 << 20
"""Largest range of zeroes that the server writes for a device that cannot."""

OTHER = {
    "max_hw_sectors_kb max_sectors_kb max_segments max_segment_size virt_boundary_mask"
    " dma_alignment": "of the RDMA device and the session; the server splits what is too large",
    "chunk_sectors max_discard_segments": "the server splits, too",
    "read_ahead_kb": "follows from optimal_io_size, but a stack on the target has its own",
    "nr_requests async_depth scheduler nomerges rq_affinity wbt_lat_usec io_timeout io_poll"
    " io_poll_delay zoned_qd1_writes": "how this machine queues",
    "iostats iostats_passthrough add_random dax": "of this machine's driver",
    "atomic_write_max_bytes atomic_write_boundary_bytes atomic_write_unit_max_bytes"
    " atomic_write_unit_min_bytes": "those of the target, as far as one request can have",
    "max_integrity_segments max_write_streams write_stream_granularity": "do not travel",
}
"""Files that differ, and why."""


def _queue(guest: Guest, node: str) -> dict[str, str]:
    """Reads the files that describe a disk, or a partition and its disk."""
    text = guest.output(
        f"cd -P /sys/dev/block/$(stat -L -c %Hr:%Lr {node}); here=$PWD;"
        " [ -d queue ] || cd ..; cd queue;"
        ' for file in * $here/alignment_offset $here/discard_alignment;'
        ' do [ ! -f $file ] || echo "${file##*/}=$(<$file)"; done'
    )
    return dict(line.split("=", 1) for line in text.splitlines())


def _differences(guest: Guest, device: Device, disk: str) -> list[str]:
    ours, theirs = _queue(guest, device.node), _queue(guest, disk)
    same = [*SAME, "alignment_offset", "discard_alignment"]
    if guest.exists(f"/sys/class/block/{disk.rsplit('/', 1)[1]}/partition"):
        # The file of a whole disk shows alignment_offset, as `disk_discard_alignment_show` does.
        theirs["discard_alignment"] = theirs["alignment_offset"]
    other = " ".join(OTHER).split()
    found = [f"{name} is in no list" for name in {*ours, *theirs} - {*same, *RANGES, *other}]
    block = int(theirs["logical_block_size"])
    for name in RANGES:
        theirs[name] = str(min(int(theirs[name]), LARGEST_RANGE - block))
    if theirs["write_zeroes_max_bytes"] == "0":
        theirs["write_zeroes_max_bytes"] = str(ZEROES)
    found += [
        f"{name}: {ours.get(name)} instead of {theirs.get(name)}"
        for name in [*same, *RANGES]
        if ours.get(name) != theirs.get(name)
    ]
    found += [
        f"{name} is {ours[name]} instead of {theirs[name]}"
        for name in ours
        if name.startswith("atomic") and (ours[name] == "0") != (theirs[name] == "0")
    ]
    return found


def _check(bench: Pair, kinds: dict[str, str]) -> None:
    """Maps each of the disks, and compares."""
    guest = bench.target.guest
    bench.load(transport={"sess_queue_depth": 64})
    found = {}
    for kind, disk in kinds.items():
        device = bench.initiator.map(disk)
        found[kind] = _differences(guest, device, disk)
    for device in bench.initiator.devices():
        assert device.unmap() is None
    assert found == {kind: [] for kind in kinds}, json.dumps(found, indent=4)


def test_disks_of_all_kinds_are_described(loopback: Pair) -> None:
    """Each file of `queue/` that describes a disk, and the alignment."""
    guest = loopback.target.guest
    null_disk = loopback.target.null_disk
    whole = null_disk(size=32)
    kinds = {
        "plain": loopback.target.ram_disk(16),
        "partition": disks.partition(guest, whole, 2049, 16384),
        "blocks of 4 KiB": null_disk(size=16, blocksize=4096),
        "discard": null_disk(size=16, discard=1),
        "write-back": null_disk(size=16, cache_size=4),
        "write-back with FUA": null_disk(size=16, cache_size=4, fua=1),
        "rotational": null_disk(size=16, rotational=1),
        "loop": disks.loop(guest, 16 * MEGABYTE),
    }
    _check(loopback, kinds)


@REMOVES_DISKS
def test_stacks_and_scsi_disks_are_described(loopback: Pair) -> None:
    """512e that starts within a physical block, a partition of it, RAID0, RAID1, a thin volume."""
    guest = loopback.target.guest
    null_disk = loopback.target.null_disk
    scsi = disks.scsi(
        guest, dev_size_mb=32, physblk_exp=3, lowest_aligned=7, opt_blks=128,
        opt_xferlen_exp=5, lbpu=1, lbpws=1,
    )  # fmt: skip
    kinds = {
        "512e": scsi,
        "RAID0": disks.stripes(guest, null_disk(size=16), null_disk(size=16)),
        "thin": disks.thin(guest, null_disk(size=32, discard=1), null_disk(size=8), 64),
    }
    _check(loopback, kinds)
    part = disks.partition(guest, scsi, 64, 16384)
    assert guest.read(f"/sys/class/block/{part.rsplit('/', 1)[1]}/alignment_offset") != "0"
    _check(loopback, {"partition": part})
    guest.run("echo clear > /sys/block/md0/md/array_state")
    mirror = disks.mirror(guest, null_disk(size=16), null_disk(size=16))
    _check(loopback, {"RAID1": mirror})
    guest.run("echo clear > /sys/block/md0/md/array_state")


FALLOCATE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
disk = os.open(sys.argv[1], os.O_RDWR)
print(libc.fallocate(disk, 0x80, *map(int, sys.argv[2:])) and os.strerror(ctypes.get_errno()))
"""
"""Writes zeroes with FALLOC_FL_WRITE_ZEROES, which may free the space."""


@REMOVES_DISKS
def test_a_scsi_disk_is_known_and_zeroed(loopback: Pair) -> None:
    """It has its name, and its zeroes may free space, if the target's do."""
    guest = loopback.target.guest
    disk = disks.scsi(guest, dev_size_mb=16, lbpws=1, lbprz=1)
    disks.fill(guest, disk, 8)
    device = loopback.map(disk)
    name = disk.rsplit("/", 1)[1]
    wwid = guest.read(f"/sys/block/{name}/device/wwid")
    assert wwid.startswith("naa."), wwid
    assert device.read("rnbd/wwid") == wwid
    assert device.read("queue/write_zeroes_unmap_max_hw_bytes") != "0"
    with blktrace.lines(guest, blktrace.SCSI, "opcode == 0x93") as commands:
        result = guest.output(
            f"python3 -c '{FALLOCATE}' {device.node} {2 * PAGE} {3 * PAGE}"
        )
    assert result == "0", result
    assert "unmap=1" in "".join(commands)
    assert disks.picture(guest, disk, 8) == "##...###"
    assert device.unmap() is None
    part = disks.partition(guest, disk, 2048, 16384)
    device = loopback.initiator.map(part)
    assert device.read("rnbd/wwid") == f"{wwid}-part1"
    assert device.unmap() is None


def test_the_target_writes_zeroes_that_its_disk_cannot(loopback: Pair) -> None:
    """The data does not travel: one message for each MiB, exactly its range."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(size=16)
    guest.run(f"tr '\\0' x < /dev/zero | head -c 8M > {disk}")
    device = loopback.map(disk)
    assert device.read("queue/write_zeroes_max_bytes") == str(ZEROES)
    at, length = 3 * PAGE + 512, 3 * MEGABYTE + PAGE
    with blktrace.arrivals(guest, disk) as arrived:
        guest.run(
            f"fallocate --zero-range --keep-size --offset {at} --length {length} {device.node}"
        )
    assert {each.operation for each in arrived} == {"write"}, arrived
    assert [each.sectors for each in arrived] == [2048, 2048, 2048, 8], arrived
    expected = f"(head -c {at}; head -c {length} /dev/zero; head -c $((8388608 - {at} - {length})))"
    assert guest.output(f"head -c 8M {disk} | sha256sum") == guest.output(
        f"tr '\\0' x < /dev/zero | {expected} | sha256sum"
    )
    assert device.unmap() is None


def test_a_zoned_device_is_refused_with_the_reason(loopback: Pair) -> None:
    """Writes to it would fail, so that it is not mapped; both logs say why."""
    guest = loopback.target.guest
    disk = loopback.target.null_disk(size=64, zoned=1, zone_size=16)
    loopback.load(transport={"sess_queue_depth": 16})
    line = f"sessname=bench path={network.TARGET.path()} device_path={disk}"
    # Another name of EOPNOTSUPP.
    assert loopback.initiator.request(line) == "ENOTSUP"
    log = guest.output("dmesg")
    assert f"'{disk}' ({disk[5:]}) is a zoned device, which cannot be exported" in log
    assert f"{disk} is a zoned device, which cannot be mapped" in log
    assert loopback.target.exports() == []


GEOMETRY = """
import fcntl, struct, sys
disk = open(sys.argv[1], "rb")
print(*struct.unpack("BBHL", fcntl.ioctl(disk, 0x301, bytes(16))))
"""


def test_a_disk_has_a_geometry(loopback: Pair) -> None:
    """HDIO_GETGEO, as with the C client; a partition has its start."""
    guest = loopback.initiator.guest
    disk = loopback.target.null_disk(size=64)
    device = loopback.map(disk)
    assert guest.output(f"python3 -c '{GEOMETRY}' {device.node}") == "4 16 2048 0"
    part = disks.partition(guest, device.node, 2048, 16384)
    assert guest.output(f"python3 -c '{GEOMETRY}' {part}") == "4 16 2048 2048"
    assert device.unmap() is None


def test_a_read_only_mapping_is_mounted_read_only(loopback: Pair) -> None:
    """`mount` is told that the disk is read-only, and falls back."""
    guest = loopback.initiator.guest
    disk = loopback.target.ram_disk(16)
    guest.run(f"modprobe -q ext4; mkfs.ext4 -q {disk}")
    loopback.load(transport={"sess_queue_depth": 16})
    device = loopback.initiator.map(disk, access_mode="ro")
    guest.run(f"mkdir -p /mnt/disk && mount {device.node} /mnt/disk")
    options = guest.output("findmnt -n -o OPTIONS /mnt/disk").split(",")
    assert "ro" in options
    refused = guest.run("touch /mnt/disk/file", check=False).stderr
    assert "Read-only file system" in refused
    refused = guest.run(f"dd if=/dev/zero of={device.node} count=1", check=False).stderr
    assert "Read-only file system" in refused
    guest.run("umount /mnt/disk")
    assert device.unmap() is None
