# SPDX-License-Identifier: GPL-2.0-only
"""What people put on a disk."""

import pytest

from rnbdbench.lab import Pair

pytestmark = pytest.mark.fabrics("rxe", "siw")


@pytest.mark.kernels("stock")
def test_ext4_survives_unmapping(pair: Pair) -> None:
    """Files written on one side are the same after mapping again, and on the target."""
    disk = pair.target.ram_disk(128)
    pair.target.load()
    pair.initiator.load()
    guest = pair.initiator.guest
    device = pair.initiator.map(disk)
    guest.run(f"mkfs.ext4 -q {device.node} && mkdir -p /mnt/disk && mount {device.node} /mnt/disk")
    guest.run("cp -r /usr/lib/python3*/asyncio /usr/lib/python3*/email /mnt/disk && sync")
    sums = "cd /mnt/disk && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum"
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
