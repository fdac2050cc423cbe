# SPDX-License-Identifier: GPL-2.0-only
"""Disks that are there after boot on Debian machines, from packages, as users install them."""

import pytest

from rnbdbench import dmesg
from rnbdbench.debian import Debian
from rnbdbench.debian import Debians
from rnbdbench.debian import line

UUID = "6a1e7a8c-38f5-4bb8-9d4e-2f0c7a0e3f11"
MOUNT = "srv-data.mount"
ATTACH = "rnbd-attach@data.service"
FSTAB = f"UUID={UUID} /srv/data ext4 _netdev 0 0\n"
LINKS = ("by-rnbd/data", "by-rnbd-session/blya/dev/vg0/data", f"by-uuid/{UUID}", "by-label/bench")

REBOOTING = "systemd-shutdown[1]: Rebooting."
"""The last message before a reboot."""

SHUTDOWN = 90
"""Seconds within which a machine must be down without its target."""

LATE = 600
"""Seconds after which a late target is powered on, longer than anything waits at once: systemd 90
for the device of a file system, `rnbdctl attach` 60 for an attempt, I/O of a session 120 for a
path."""

pytestmark = [pytest.mark.long, pytest.mark.kernels("stock")]


@pytest.fixture
def data(debians: Debians) -> Debians:
    """A file system of the target is mounted by UUID, and at each boot."""
    initiator = debians.initiator
    debians.export("data")
    initiator.configure(line("data"))
    initiator.attach("data")
    initiator.guest.run(f"mkfs.ext4 -q -U {UUID} -L bench /dev/disk/by-rnbd/data", timeout=120)
    initiator.configure(line("data"), FSTAB)
    initiator.guest.run("systemctl start remote-fs.target")
    assert initiator.is_active(MOUNT)
    return debians


def is_there(debians: Debians) -> None:
    """Waits for the file system; no unit of either machine has failed."""
    debians.initiator.wait_active(MOUNT, 300)
    for machine in debians.both:
        assert machine.wait_booted() == "running", machine.failed()
    for link in LINKS:
        assert debians.initiator.guest.real(f"/dev/disk/{link}") == "/dev/rnbd0"


def seconds_down(machine: Debian, mark: int) -> float:
    """Returns how long a machine took to shut down, since a mark in its console."""
    log = machine.guest.console.since(mark)
    end = dmesg.seconds(log, REBOOTING)
    return end - dmesg.seconds(log, "bench: rebooting")


def test_a_target_that_is_gone_and_comes_late(data: Debians) -> None:
    """The initiator shuts down without it, with data to write, and mounts once it is there."""
    initiator, target = data.both
    guest = initiator.guest
    guest.run("echo before > /srv/data/file && sync /srv/data/file")
    # In memory when the target goes.
    guest.run("dd if=/dev/urandom of=/srv/data/lost bs=1M count=20 status=none")
    target.guest.kill()
    mark = guest.console.mark()
    guest.run("echo bench: rebooting > /dev/kmsg")
    initiator.begin_reboot()
    initiator.wait_up()
    assert seconds_down(initiator, mark) < SHUTDOWN
    initiator.wait_booted()
    guest.wait_until(
        lambda: float(guest.read("/proc/uptime").split()[0]) > LATE, "a late target", LATE
    )
    assert not initiator.is_active(MOUNT) and not initiator.is_active(ATTACH)
    target.power_on()
    is_there(data)
    assert guest.read("/srv/data/file") == "before"


def test_a_file_system_is_there_after_reboots(data: Debians) -> None:
    """Of both machines at once, in either order; `rnbdctl doctor` finds nothing wrong before."""
    for machine in data.both:
        machine.guest.run("rnbdctl doctor")
    data.initiator.guest.run("echo before > /srv/data/file")
    for first, second in (data.both, data.both[::-1]):
        first.begin_reboot()
        first.wait_up()
        second.begin_reboot()
        second.wait_up()
        is_there(data)
        assert data.initiator.guest.read("/srv/data/file") == "before"
