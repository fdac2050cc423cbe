# SPDX-License-Identifier: GPL-2.0-only
"""What tools make of a disk: partitions, volumes, stripes and file systems are aligned."""

import pytest

from rnbdbench import disks
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS

MEGABYTE = 1 << 20

LVM = (
    "DM_DISABLE_UDEV=1 lvm {} --config"
    " 'devices {{ types = [ \"rnbd\", 16 ] use_devicesfile = 0"
    " filter = [ \"a|^/dev/rnbd|\", \"r|.*|\" ] }}"
    " activation {{ udev_sync = 0 udev_rules = 0 }}'"
)


def _number(guest: Guest, disk: str, file: str) -> int:
    return int(guest.read(f"/sys/block/{disk}/queue/{file}"))


def _check_partition(guest: Guest, node: str) -> None:
    result = guest.run(f"echo ',,L' | sfdisk --label gpt --no-reread --no-tell-kernel {node}")
    assert "align" not in result.stdout + result.stderr
    shown = guest.output(f"sfdisk --dump {node}")
    start = int(shown.split("start=")[1].split(",")[0])
    assert start == 2048, shown
    guest.run(f"wipefs -q -a {node}")


def _check_file_system(guest: Guest, node: str) -> None:
    result = guest.run(f"mke2fs -t ext4 -n -v -F {node}")
    assert "not aligned" not in result.stdout + result.stderr
    assert "Stride=0 blocks, Stripe width=0 blocks" in result.stdout


def _check_volumes(guest: Guest, node: str) -> None:
    guest.run(LVM.format(f"pvcreate --yes {node}"))
    start = guest.output(LVM.format(f"pvs --noheadings --nosuffix --units b -o pe_start {node}"))
    assert int(start) == MEGABYTE
    guest.run(LVM.format(f"pvremove --yes {node}"))


@REMOVES_DISKS
@pytest.mark.long
def test_what_stands_on_a_disk_is_aligned(loopback: Pair) -> None:
    """A disk without an optimal size has none: a MiB, no stripes, a small read-ahead."""
    guest = loopback.initiator.guest
    first = loopback.target.null_disk(size=64)
    second = loopback.target.null_disk(size=64)
    guest.run("modprobe -q dm-mod; modprobe -q ext4")
    loopback.load(transport={"sess_queue_depth": 64})
    members = [loopback.initiator.map(disk) for disk in (first, second)]
    node = members[0].node
    assert members[0].read("queue/optimal_io_size") == "0"
    assert members[0].read("queue/read_ahead_kb") == "128"
    _check_partition(guest, node)
    _check_file_system(guest, node)
    _check_volumes(guest, node)
    chunk = 512 * 1024
    disks.stripes(guest, *(member.node for member in members), chunk=chunk)
    assert _number(guest, "md0", "minimum_io_size") == chunk
    assert _number(guest, "md0", "optimal_io_size") == 2 * chunk
    assert _number(guest, "md0", "read_ahead_kb") == 2 * 2 * chunk // 1024
    guest.run("echo clear > /sys/block/md0/md/array_state")
    for member in members:
        assert member.unmap() is None
