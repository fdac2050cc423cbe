# SPDX-License-Identifier: GPL-2.0-only
"""Packages that are upgraded and purged, and disks that are unmapped right after writing."""

import pytest

from rnbdbench.debian import VOLUMES
from rnbdbench.debian import Debian
from rnbdbench.debian import Debians
from rnbdbench.debian import line
from rnbdbench.network import TARGET

STAY = "the modules in use stay loaded"

UPGRADE = """
set -e
rm -rf /root/newer && mkdir /root/newer
for package in /root/rnbd-modules-*.deb /root/rnbd-tools_*.deb; do
	dpkg-deb -R $package /root/newer/tree
	sed -i 's/^Version: .*/&.newer/' /root/newer/tree/DEBIAN/control
	dpkg-deb -b /root/newer/tree /root/newer/
	rm -r /root/newer/tree
done
"""
"""Makes packages with the same contents and a higher version."""

LEFT = """
find / -xdev ! -path '/root/*' ! -path '/var/log/*' ! -path '/var/cache/apt/*' \\
	! -path '/proc/*' ! -path '/sys/*' -iname '*rnbd*'
systemctl list-unit-files --no-legend '*rnbd*'
ls -d /dev/disk/by-rnbd* /run/rnbd* 2>/dev/null || true
"""
"""Prints what is left of the packages."""

FIFTY = f"""
set -e
modprobe rnbd_client
for number in $(seq 50); do
	disk=$(rnbdctl map --session blya --path {TARGET.v4} /dev/{VOLUMES}/data)
	# A table with one partition, from sector 2048, of 16384.
	{{
		head -c 446 /dev/zero
		printf '\\0\\0\\0\\0\\203\\0\\0\\0\\0\\010\\0\\0\\0\\100\\0\\0'
		head -c 48 /dev/zero
		printf '\\125\\252'
	}} > $disk
	rnbdctl unmap ${{disk#/dev/}}
	test ! -e $disk
done
"""
"""Maps a disk, writes to it and unmaps it."""

pytestmark = [pytest.mark.long, pytest.mark.kernels("stock")]


def upgrade(machine: Debian) -> None:
    """Has apt install newer packages; it says that the modules in use are the old ones."""
    machine.guest.run(UPGRADE, timeout=240)
    assert STAY in machine.apt("install /root/newer/*.deb").stdout


def test_fifty_unmappings_right_after_writing(debians: Debians) -> None:
    """udev opens a disk that was written to, and its partitions; no user is told EBUSY."""
    debians.export("data")
    debians.initiator.guest.run(FIFTY, timeout=600)
    # What udev looked at is not only the disk.
    assert "rnbd0: p1" in debians.initiator.guest.output("dmesg")


def test_packages_are_upgraded_and_purged_while_a_disk_is_mounted(debians: Debians) -> None:
    """The disk stays, as does the configuration; a purge leaves neither files nor units."""
    initiator, target = debians.both
    guest = initiator.guest
    debians.export("data")
    initiator.configure(line("data"))
    initiator.attach("data")
    guest.run("mkfs.ext4 -q /dev/disk/by-rnbd/data && mount /dev/disk/by-rnbd/data /mnt")
    guest.run("echo before > /mnt/file && sync /mnt/file")

    rules = target.guest.read("/etc/rnbd/exports")
    upgrade(target)
    upgrade(initiator)
    assert target.guest.read("/etc/rnbd/exports") == rules
    assert initiator.guest.read("/etc/rnbd/rnbdtab") == line("data").strip()
    assert target.is_active("rnbd-server") and initiator.is_active("rnbd-attach@data")
    guest.run("echo 3 > /proc/sys/vm/drop_caches; echo after >> /mnt/file && sync /mnt/file")
    assert guest.read("/mnt/file") == "before\nafter"

    guest.run("umount /mnt")
    for machine in debians.both:
        said = machine.apt("purge 'rnbd-*'").stdout
        assert "stay loaded until the next boot, or: rmmod" in said
        (command,) = {part for part in said.splitlines() if "or: rmmod" in part}
        machine.guest.run(command.partition("or: ")[2])
        assert machine.guest.output(LEFT) == "", f"{machine.guest.name}: the purge left something"
    debians.install()
