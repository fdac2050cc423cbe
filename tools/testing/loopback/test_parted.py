# SPDX-License-Identifier: GPL-2.0-only
"""parted makes the same partitions of a disk as it does of that of the target."""

from rnbdbench import disks
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS

MAKE = "mklabel gpt mkpart first 0% 50% mkpart second 50% 100%"


def _parted(guest: Guest, node: str, orders: str) -> str:
    """Runs parted; returns what it says, which are warnings, but for what it is asked for."""
    return guest.output(f"parted --script --align optimal {node} {orders} 2>&1")


def _make(guest: Guest, node: str) -> list[str]:
    """Makes two partitions; returns number, start, end and size in sectors of each."""
    assert _parted(guest, node, MAKE) == ""
    for number in (1, 2):
        # Its exit code is 1 for one that is not aligned.
        assert _parted(guest, node, f"align-check optimal {number}") == ""
    table = guest.output(f"parted --script --machine {node} unit s print").splitlines()
    return [line for line in table if line[0].isdigit()]


@REMOVES_DISKS
def test_partitions_are_aligned_as_on_the_target(loopback: Pair) -> None:
    """A plain disk, and one with large physical blocks and a best size; no warning."""
    guest = loopback.target.guest
    kinds = [
        loopback.target.null_disk(size=256),
        disks.scsi(guest, dev_size_mb=256, physblk_exp=3, opt_blks=1536),
    ]
    expected = []
    for disk in kinds:
        expected.append(_make(guest, disk))
        guest.run(f"wipefs --quiet --all {disk} && blockdev --rereadpt {disk}")
    loopback.load(transport={"sess_queue_depth": 64})
    for disk, lines in zip(kinds, expected):
        device = loopback.initiator.map(disk)
        assert _make(guest, device.node) == lines, disk
        for number, line in enumerate(lines, 1):
            name = f"{device.name}p{number}"
            guest.wait_until(lambda name=name: guest.is_block_device(f"/dev/{name}"), name)
            start = guest.read(f"/sys/class/block/{name}/start")
            assert line.startswith(f"{number}:{start}s:"), line
        assert device.unmap() is None
    assert expected[0] != expected[1], "the disks do not differ in what this is about"
