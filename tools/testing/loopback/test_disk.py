# SPDX-License-Identifier: GPL-2.0-only
"""The disk that appears is like the one that was exported."""

import pytest

from rnbdbench import fio
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device

SECTOR_SIZES = [512, 4096]


def _sysfs(disk: str) -> str:
    return f"/sys/block/{disk.removeprefix('/dev/')}"


@pytest.mark.parametrize("sector", SECTOR_SIZES)
def test_size_and_limits_are_those_of_the_target(loopback: Pair, sector: int) -> None:
    """Sizes in the same units; no request that the target would not take."""
    disk = loopback.target.null_disk(blocksize=sector, size=64)
    device = loopback.map(disk)
    guest = loopback.initiator.guest
    assert guest.output(f"blockdev --getsize64 {device.node}") == str(64 << 20)
    assert guest.output(f"blockdev --getss {device.node}") == str(sector)
    for limit in ("logical_block_size", "physical_block_size", "minimum_io_size"):
        ours = device.read(f"queue/{limit}")
        assert ours == guest.read(f"{_sysfs(disk)}/queue/{limit}"), limit
    assert int(device.read("queue/max_hw_sectors_kb")) <= 128
    assert device.read("removable") == "0"
    fio.verify(guest, device.node, block="4k-256k", size="8m")
    assert device.unmap() is None


def test_disk_has_a_queue_for_each_cpu(loopback: Pair, device: Device) -> None:
    """Requests of different CPUs need not meet."""
    guest = loopback.initiator.guest
    cpus = int(guest.output("nproc"))
    assert len(guest.names(f"/sys/block/{device.name}/mq")) == cpus
    assert device.unmap() is None


@pytest.mark.parametrize("cached", [True, False], ids=["write-back", "write-through"])
def test_cache_policy_is_that_of_the_target(loopback: Pair, cached: bool) -> None:
    """A volatile cache on the target is one on the initiator."""
    # null_blk has a cache when it has a size for it, in MiB.
    disk = loopback.target.null_disk(**({"cache_size": 4} if cached else {}))
    guest = loopback.initiator.guest
    device = loopback.map(disk)
    expected = guest.read(f"{_sysfs(disk)}/queue/write_cache")
    assert expected == ("write back" if cached else "write through")
    assert device.read("queue/write_cache") == expected
    assert device.unmap() is None


def test_flush_reaches_the_device(loopback: Pair) -> None:
    """fsync on the initiator makes the target's disk empty its cache."""
    guest = loopback.initiator.guest
    disk = loopback.target.null_disk(cache_size=4)
    device = loopback.map(disk)

    def flushes() -> int:
        # Field 16 of stat counts completed flushes.
        return int(guest.read(f"{_sysfs(disk)}/stat").split()[15])

    before = flushes()
    guest.run(f"dd if=/dev/zero of={device.node} bs=64k count=4 conv=fsync status=none")
    assert flushes() > before
    assert device.unmap() is None


def test_read_only_mapping_takes_no_writes(loopback: Pair) -> None:
    """access_mode=ro: the disk is read-only, and its content stays."""
    guest = loopback.initiator.guest
    disk = loopback.target.ram_disk(16)
    guest.run(f"dd if=/dev/urandom of={disk} bs=1M count=8 oflag=direct status=none")
    device = loopback.map(disk, access_mode="ro")
    assert device.read("ro") == "1"
    assert device.read("rnbd/access_mode") == "ro"
    write = f"dd if=/dev/zero of={device.node} bs=4k count=1 oflag=direct"
    assert guest.run(write, check=False).code != 0
    sums = [guest.output(f"head -c 8M {node} | sha256sum") for node in (device.node, disk)]
    assert sums[0] == sums[1]
    assert device.unmap() is None


def test_second_writer_is_refused(loopback: Pair) -> None:
    """One `rw` opener of a device at a time; `ro` ones may join."""
    disk = loopback.target.ram_disk(16)
    writer = loopback.map(disk, session="first")
    reader = loopback.initiator.map(disk, session="second", access_mode="ro")
    line = f"sessname=third path=ip:10.50.100.66 device_path={disk}"
    assert loopback.initiator.request(line) is not None
    assert sorted(device.name for device in loopback.initiator.devices()) == ["rnbd0", "rnbd1"]
    assert writer.unmap() is None
    assert reader.unmap() is None


def test_loop_device_on_a_file(loopback: Pair) -> None:
    """A file of the target as a disk, changed through the network."""
    guest = loopback.initiator.guest
    guest.run("modprobe -q loop; truncate -s 16M /run/disk.img && losetup /dev/loop0 /run/disk.img")
    device = loopback.map("/dev/loop0")
    guest.run(f"dd if=/dev/urandom of={device.node} bs=1M count=16 oflag=direct status=none")
    guest.run(f"sync /run/disk.img; cmp {device.node} /run/disk.img")
    assert device.unmap() is None
    guest.run("losetup -d /dev/loop0; rm /run/disk.img")
