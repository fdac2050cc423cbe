# SPDX-License-Identifier: GPL-2.0-only
"""What people put on a disk."""

import shlex

import pytest

from rnbdbench import fio
from rnbdbench import network
from rnbdbench.lab import Lab
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Initiator

SUMS = "cd {} && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum"

pytestmark = pytest.mark.fabrics("rxe", "siw")


def test_ext4_survives_unmapping(pair: Pair) -> None:
    """Files written on one side are the same after mapping again, and on the target."""
    disk = pair.target.ram_disk(128)
    pair.target.load()
    pair.initiator.load()
    guest = pair.initiator.guest
    device = pair.initiator.map(disk)
    guest.run(f"mkfs.ext4 -q {device.node} && mkdir -p /mnt/disk && mount {device.node} /mnt/disk")
    guest.run("cp -r /usr/lib/python3*/asyncio /usr/lib/python3*/email /mnt/disk && sync")
    sums = SUMS.format("/mnt/disk")
    written = guest.output(sums, timeout=120)
    guest.run("umount /mnt/disk")
    assert device.unmap() is None

    device = pair.initiator.map(disk)
    guest.run(f"e2fsck -fn {device.node}", timeout=120)
    guest.run(f"mount -o ro {device.node} /mnt/disk")
    assert guest.output(sums, timeout=120) == written
    guest.run("umount /mnt/disk")
    assert device.unmap() is None

    target = pair.target.guest
    target.run(f"mkdir -p /mnt/disk && mount -o ro {disk} /mnt/disk")
    assert target.output(sums, timeout=120) == written
    target.run("umount /mnt/disk")

STRESS = """
import os
import random
import sys

folder, seed = sys.argv[1], int(sys.argv[2])
random.seed(seed)
os.makedirs(folder, exist_ok=True)
names = [f"{folder}/{number}" for number in range(64)]
while True:
    name, other = random.choice(names), random.choice(names)
    action = random.randrange(6)
    try:
        if action < 2:
            with open(name, "ab") as file:
                file.write(os.urandom(random.randrange(1, 65536)))
                if action:
                    file.flush()
                    os.fsync(file.fileno())
        elif action == 2:
            os.truncate(name, random.randrange(65536))
        elif action == 3:
            os.rename(name, other)
        elif action == 4:
            os.link(name, other)
        else:
            os.unlink(name)
    except FileNotFoundError:
        pass
    except FileExistsError:
        pass
"""
"""Changes files without end: what happens to them is in the journal, or is not."""

CHECK = {"ext4": "fsck.ext4 -fn", "xfs": "xfs_repair -n"}
"""What finds fault with a file system that was unmounted."""


def test_ext4_survives_a_crash_of_its_machine(pair: Pair, lab: Lab) -> None:
    """It was full, and busy when power was cut: it is sound, and has what was synced."""
    _crash(pair, lab, "ext4", 64)


# The smallest disk that xfs takes is not filled within a quarter of an hour on the other one.
@pytest.mark.kernels("stock")
@pytest.mark.long
def test_xfs_survives_a_crash_of_its_machine(pair: Pair, lab: Lab) -> None:
    """The same."""
    _crash(pair, lab, "xfs", 320)


def _crash(pair: Pair, lab: Lab, kind: str, megabytes: int) -> None:
    disk = pair.target.null_disk(size=megabytes)
    pair.target.load()
    pair.initiator.load()
    guest = pair.initiator.guest
    node = pair.initiator.map(disk).node
    guest.run(
        f"mkfs.{kind} -q {node} && mkdir -p /mnt/disk && mount {node} /mnt/disk", timeout=120
    )
    full = guest.run("dd if=/dev/zero of=/mnt/disk/fill bs=1M", timeout=180, check=False)
    assert full.code != 0 and "No space left" in full.stderr, full.stderr
    guest.run("rm /mnt/disk/fill && cp -r /usr/lib/python3*/asyncio /mnt/disk && sync", timeout=120)
    kept = guest.output(SUMS.format("/mnt/disk/asyncio"), timeout=120)
    for seed in range(4):
        guest.begin(f"python3 -c {shlex.quote(STRESS)} /mnt/disk/{seed} {seed}")
    fio.wait_for_io(guest, node.removeprefix("/dev/"), timeout=60)
    guest.run("sync -f /mnt/disk", timeout=120)
    fio.wait_for_io(guest, node.removeprefix("/dev/"), timeout=60)

    guest.kill()
    pair.target.guest.wait_until(
        lambda: pair.target.sessions() == [], "the server to drop the session", 60
    )
    fresh = lab.replace(guest)
    network.connect(fresh, network.INITIATOR)
    again = Initiator(fresh)
    again.load()
    device = again.map(disk)
    # To mount it is to replay the journal.
    fresh.run(
        f"mkdir -p /mnt/disk && mount {device.node} /mnt/disk && umount /mnt/disk", timeout=120
    )
    fresh.run(f"{CHECK[kind]} {device.node}", timeout=120)
    fresh.run(f"mount -o ro {device.node} /mnt/disk")
    assert fresh.output(SUMS.format("/mnt/disk/asyncio"), timeout=120) == kept
    fresh.run("umount /mnt/disk")
    assert device.unmap() is None
