# SPDX-License-Identifier: GPL-2.0-only
"""An array of MD, a volume of LVM and a btrfs on disks of a Debian machine, after a reboot."""

import pytest

from rnbdbench.debian import Debian
from rnbdbench.debian import Debians
from rnbdbench.debian import line

DISKS = ("mirror0", "mirror1", "volume", "pool0", "pool1")

BY_NAME = "/dev/disk/by-rnbd"

UUIDS = {
    "mirror": "6a1e7a8c-38f5-4bb8-9d4e-2f0c7a0e3f21",
    "logs": "6a1e7a8c-38f5-4bb8-9d4e-2f0c7a0e3f22",
    "pool": "6a1e7a8c-38f5-4bb8-9d4e-2f0c7a0e3f23",
}
"""File systems, by their folder in /srv."""

TYPES = {"mirror": "ext4", "logs": "ext4", "pool": "btrfs"}

MAKE = f"""
set -e
mdadm --create /dev/md/mirror --quiet --run --assume-clean --bitmap=internal \\
    --level=1 --raid-devices=2 {BY_NAME}/mirror0 {BY_NAME}/mirror1
mkfs.ext4 -q -U {UUIDS["mirror"]} /dev/md/mirror
pvcreate -q {BY_NAME}/volume
vgcreate -q bench {BY_NAME}/volume
lvcreate -q -y -n logs -L 64M bench
mkfs.ext4 -q -U {UUIDS["logs"]} /dev/bench/logs
mkfs.btrfs -q -U {UUIDS["pool"]} {BY_NAME}/pool0 {BY_NAME}/pool1
"""

FILL = "for one in /srv/*; do dd if=/dev/urandom of=$one/file bs=1M count=4 status=none; done"

pytestmark = [pytest.mark.long, pytest.mark.kernels("stock")]


def fstab(options: str) -> str:
    """Returns a line for each file system."""
    lines = (f"UUID={UUIDS[name]} /srv/{name} {TYPES[name]} {options} 0 0\n" for name in UUIDS)
    return "".join(lines)


def is_whole(initiator: Debian) -> None:
    """Waits for all file systems, and for both disks in the array."""
    for name in UUIDS:
        initiator.wait_active(f"srv-{name}.mount", 300)
    (array,) = (name for name in initiator.guest.names("/sys/block") if name.startswith("md"))
    # It has started with one disk if the other one came 30 s later.
    initiator.guest.wait_until(
        lambda: initiator.guest.read(f"/sys/block/{array}/md/degraded") == "0", "a whole array", 60
    )


@pytest.fixture
def storage(debians: Debians) -> Debians:
    """All file systems are mounted by UUID, with a file in each."""
    initiator, target = debians.both
    # What is on the disks is the initiator's, as Documentation/boot.md says.
    target.guest.run("echo AUTO -all >> /etc/mdadm/mdadm.conf")
    debians.export(*DISKS)
    rnbdtab = "".join(line(name) for name in DISKS)
    initiator.configure(rnbdtab)
    initiator.attach(*DISKS)
    initiator.guest.run(MAKE, timeout=300)
    initiator.configure(rnbdtab, fstab("nofail,_netdev"))
    initiator.guest.run("systemctl start remote-fs.target")
    is_whole(initiator)
    initiator.guest.run(FILL)
    return debians


def test_all_is_there_after_a_reboot(storage: Debians) -> None:
    """With its data, and clean, without the unit of lvm2 that stops arrays, too; no unit fails."""
    initiator = storage.initiator
    guest = initiator.guest
    sums = guest.output("sha256sum /srv/*/file")
    guest.run("umount /srv/logs && vgchange -q -an bench")
    # Active and masked, it does nothing when it stops.
    guest.run("systemctl -q mask blk-availability")
    mark = guest.console.mark()
    initiator.reboot()
    is_whole(initiator)
    log = guest.console.since(mark)
    for name in DISKS:
        assert f"Stopped rnbd-attach@{name}.service" in log
        assert f"rnbd-attach@{name}.service: Failed with" not in log
    assert "not clean" not in log, "the array was not stopped"
    assert guest.output("sha256sum /srv/*/file") == sums
    for machine in storage.both:
        assert machine.wait_booted() == "running", machine.failed()
    guest.run("systemctl -q unmask blk-availability")
