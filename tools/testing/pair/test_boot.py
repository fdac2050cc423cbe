# SPDX-License-Identifier: GPL-2.0-only
"""A disk that is there after boot, by name: an initiator with systemd and udev."""

from collections.abc import Iterator

import pytest

from rnbdbench import disks
from rnbdbench import network
from rnbdbench.lab import Pair
from rnbdbench.rnbd import EXPORT_RULES
from rnbdbench.systemd import Machine

UUID = "6a1e7a8c-38f5-4bb8-9d4e-2f0c7a0e3f11"
MOUNT = "srv-data.mount"
ATTACH = "rnbd-attach@data.service"
LINKS = ("by-rnbd/data", "by-rnbd-session/blya/dev/ram0", f"by-uuid/{UUID}", "by-label/bench")

pytestmark = [pytest.mark.long, pytest.mark.kernels("stock")]


def in_order(log: str, *texts: str) -> bool:
    """Returns whether a log has all texts, one after the other."""
    places = [log.find(text) for text in texts]
    return -1 not in places and places == sorted(places)


def stop(machine: Machine) -> None:
    """Unmounts the file system and detaches the device."""
    # One after the other: only at shutdown are they in order by themselves.
    for unit in (MOUNT, ATTACH):
        assert machine.systemctl("stop", unit) == 0
    assert not machine.guest.names("/sys/class/rnbd-client/ctl/devices")


@pytest.fixture
def machine(pair: Pair) -> Iterator[Machine]:
    """An initiator with a line in rnbdtab and one in fstab; the target has a file system."""
    pair.target.ram_disk(64, count=2)
    pair.target.guest.run(f"mkfs.ext4 -q -U {UUID} -L bench /dev/ram0")
    made = Machine(pair.initiator.guest, network.INITIATOR)
    made.file("/etc/rnbd/rnbdtab", f"data blya {network.TARGET.v4} /dev/ram0\n")
    made.fstab(f"UUID={UUID} /srv/data ext4 _netdev 0 0\n")
    yield made
    # Nothing of it is for other tests.
    pair.initiator.guest.kill()


def test_a_file_system_is_mounted_by_uuid(pair: Pair, machine: Machine) -> None:
    """At the first boot, and at the second one, which finds a clean file system."""
    guest = pair.initiator.guest
    pair.target.load()
    machine.boot()
    machine.wait_active(MOUNT)
    assert machine.is_active(ATTACH)
    assert guest.output("findmnt -no SOURCE /srv/data") == "/dev/rnbd0"
    for link in LINKS:
        assert guest.real(f"/dev/disk/{link}") == "/dev/rnbd0"
    guest.run("echo before > /srv/data/file")
    mark = guest.console.mark()
    machine.reboot()
    machine.wait_active(MOUNT)
    assert guest.read("/srv/data/file") == "before"
    log = guest.console.since(mark)
    assert in_order(log, "(rnbd0): unmounting", f"Stopped {ATTACH}", "Stopped target network-onl")
    assert f"{ATTACH}: Failed with" not in log
    stop(machine)


def test_a_target_that_is_late_and_away(pair: Pair, machine: Machine) -> None:
    """The initiator tries until the target is up; later, an outage does not unmount anything."""
    guest = pair.initiator.guest
    machine.boot()
    guest.wait_until(
        lambda: any("cannot map" in line for line in machine.journal("-u", ATTACH)),
        "an attempt that fails",
        90,
    )
    assert not machine.is_active(MOUNT)
    pair.target.load()
    machine.wait_active(MOUNT)
    guest.run(f"rnbdctl path disconnect blya {network.TARGET.v4}")
    (device,) = pair.initiator.devices()
    device.wait_for_state("closed")
    guest.run("udevadm settle")
    assert UUID in guest.output("udevadm info -q property /dev/rnbd0")
    for link in LINKS:
        assert guest.real(f"/dev/disk/{link}") == "/dev/rnbd0"
    assert machine.is_active(MOUNT)
    guest.run(f"rnbdctl path connect blya {network.TARGET.v4}")
    device.wait_for_state("open")
    guest.run("echo after > /srv/data/file && sync /srv/data/file")
    stop(machine)
    assert not device.exists()


def test_a_partition_and_a_volume(pair: Pair, machine: Machine) -> None:
    """Both are mounted after a reboot. The second device has the paths of the first one's line."""
    guest = pair.initiator.guest
    machine.file(
        "/etc/rnbd/rnbdtab",
        f"disk blya - /dev/ram0\nvolume blya {network.TARGET.v4} /dev/ram1\n",
    )
    machine.fstab("")
    pair.target.load()
    machine.boot()
    for name in ("disk", "volume"):
        machine.wait_active(f"rnbd-attach@{name}.service")
    disk = guest.real("/dev/disk/by-rnbd/disk")
    part = disks.partition(guest, disk, 2048, 100000)
    guest.run(
        f"mkfs.ext4 -q {part} && pvcreate -q /dev/disk/by-rnbd/volume"
        " && vgcreate -q bench /dev/disk/by-rnbd/volume && lvcreate -q -n logs -L 32M bench"
        " && mkfs.ext4 -q /dev/bench/logs"
    )
    machine.fstab(
        "/dev/disk/by-rnbd/disk-part1 /srv/data ext4 _netdev 0 0\n"
        "/dev/bench/logs /srv/logs ext4 _netdev 0 0\n"
    )
    mark = guest.console.mark()
    machine.reboot()
    log = guest.console.since(mark)
    for name in ("disk", "volume"):
        assert f"Stopped rnbd-attach@{name}.service" in log
        assert f"rnbd-attach@{name}.service: Failed with" not in log
    for mount in (MOUNT, "srv-logs.mount"):
        machine.wait_active(mount)
    # Its number may be another one than before.
    disk = guest.real("/dev/disk/by-rnbd/disk")
    assert guest.real("/dev/disk/by-rnbd-session/blya/dev/ram0-part1") == f"{disk}p1"
    guest.run("umount /srv/data /srv/logs && vgchange -q --activate n bench")
    assert machine.systemctl("stop", "rnbd-attach@*.service") == 0


def test_the_server_is_started_with_its_rules(pair: Pair, machine: Machine) -> None:
    """Nothing is exported before them; reloading replaces them, unless the file is wrong."""
    guest = pair.initiator.guest
    rule = "allow session=blya device=/dev/ram0\n"
    machine.file("/etc/rnbd/rnbdtab", "")
    machine.fstab("")
    machine.file("/etc/rnbd/exports", "alow\n")
    machine.boot()
    assert machine.systemctl("start", "rnbd-server") != 0
    assert guest.read("/sys/module/rnbd_server/parameters/export_default") == "deny"
    machine.file("/etc/rnbd/exports", rule)
    assert machine.systemctl("start", "rnbd-server") == 0
    assert guest.read(EXPORT_RULES) == f"clear\n{rule}".strip()
    machine.file("/etc/rnbd/exports", "allow\nalow\n")
    assert machine.systemctl("reload", "rnbd-server") != 0
    assert guest.read(EXPORT_RULES) == f"clear\n{rule}".strip()
    machine.file("/etc/rnbd/exports", f"{rule}allow ro\n")
    assert machine.systemctl("reload", "rnbd-server") == 0
    assert guest.read(EXPORT_RULES) == f"clear\n{rule}allow ro"
    assert machine.systemctl("stop", "rnbd-server") == 0
    assert not guest.exists("/sys/module/rnbd_server")
