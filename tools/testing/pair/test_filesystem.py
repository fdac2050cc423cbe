# SPDX-License-Identifier: GPL-2.0-only
"""File systems on a disk."""

import pytest

from rnbdbench import fio
from rnbdbench import image
from rnbdbench import network
from rnbdbench.guest import Guest
from rnbdbench.lab import Lab
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Initiator

SUMS = "cd {} && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum"

pytestmark = pytest.mark.fabrics("rxe", "siw")


@pytest.mark.long
def test_ext4_survives_unmapping(pair: Pair) -> None:
    """Files written on one side are the same after mapping again, and on the target."""
    disk = pair.target.ram_disk(128)
    guest = pair.initiator.guest
    device = pair.map(disk)
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


WRITERS = 4
"""Processes that change the file system when power is cut."""

LOG = "/run/kept-{}"
"""The log of each process, which lists the files it has synced: these must survive."""

SYNCED = 20
"""The least number of files that are synced before power is cut."""

CHECK = {"ext4": "fsck.ext4 -fn", "xfs": "xfs_repair -n"}
"""The command that checks an unmounted file system."""


def test_ext4_survives_a_crash_of_its_machine(pair: Pair, lab: Lab) -> None:
    """Power is cut while it is full and busy: it is consistent, and has all synced files."""
    _crash(pair, lab, "ext4", 64)


@pytest.mark.long
def test_xfs_survives_a_crash_of_its_machine(pair: Pair, lab: Lab) -> None:
    """The same with xfs."""
    _crash(pair, lab, "xfs", 320)


def _synced(guest: Guest) -> list[str]:
    """Returns synced files with checksums, without the last line of each log, which may be cut."""
    logs = [guest.read(LOG.format(seed)) for seed in range(WRITERS)]
    return [line for log in logs for line in log.splitlines()[:-1]]


def _check(guest: Guest, synced: list[str]) -> None:
    """Compares files with their checksums."""
    listing = "/run/synced"
    guest.run(f": > {listing}")
    assert guest.write(listing, "".join(f"{line}\n" for line in synced)) is None
    guest.run(f"sha256sum --check --strict --quiet {listing}", timeout=120)


def _fill(guest: Guest) -> None:
    """Fills the file system, and makes room again."""
    if guest.specification.kernel == "sanitize":
        # Writing all of it would take a quarter of an hour there.
        free = "$(df --output=avail --block-size=1M /mnt/disk | tail -n 1)"
        guest.run(f"fallocate --length $(({free} - 16))M /mnt/disk/reserved", timeout=120)
    full = guest.run("dd if=/dev/zero of=/mnt/disk/fill bs=1M", timeout=180, check=False)
    assert full.code != 0 and "No space left" in full.stderr, full.stderr
    guest.run("rm -f /mnt/disk/fill /mnt/disk/reserved")


def _crash(pair: Pair, lab: Lab, kind: str, megabytes: int) -> None:
    disk = pair.target.null_disk(size=megabytes)
    pair.load()
    guest = pair.initiator.guest
    node = pair.initiator.map(disk).node
    guest.run(
        f"mkfs.{kind} -q {node} && mkdir -p /mnt/disk && mount {node} /mnt/disk", timeout=300
    )
    _fill(guest)
    guest.run("cp -r /usr/lib/python3*/asyncio /mnt/disk && sync", timeout=120)
    kept = guest.output(SUMS.format("/mnt/disk/asyncio"), timeout=120)
    writers = []
    for seed in range(WRITERS):
        log = LOG.format(seed)
        guest.run(f": > {log}")
        command = f"{image.program('stress.py')} /mnt/disk/{seed} {seed} {log}"
        writers.append(guest.begin(command))
    fio.wait_for_io(guest, node.removeprefix("/dev/"), timeout=60)
    guest.run("sync -f /mnt/disk", timeout=120)
    fio.wait_for_io(guest, node.removeprefix("/dev/"), timeout=60)
    guest.wait_until(lambda: len(_synced(guest)) >= SYNCED, "files to be synced", 120)
    for writer in writers:
        assert writer.running, writer.wait()
    synced = _synced(guest)

    guest.kill()
    pair.target.guest.wait_until(
        lambda: pair.target.sessions() == [], "the server to drop the session", 60
    )
    fresh = lab.replace(guest)
    network.connect(fresh, network.INITIATOR)
    again = Initiator(fresh)
    again.load()
    device = again.map(disk)
    # Mounting replays the journal.
    fresh.run(
        f"mkdir -p /mnt/disk && mount {device.node} /mnt/disk && umount /mnt/disk", timeout=120
    )
    fresh.run(f"{CHECK[kind]} {device.node}", timeout=120)
    fresh.run(f"mount -o ro {device.node} /mnt/disk")
    assert fresh.output(SUMS.format("/mnt/disk/asyncio"), timeout=120) == kept
    _check(fresh, synced)
    fresh.run("umount /mnt/disk")
    assert device.unmap() is None
