# SPDX-License-Identifier: GPL-2.0-only
"""The target is back before its disk: the disk is asked for again, and I/O waits for it."""

import pytest

from rnbdbench import disks
from rnbdbench import network
from rnbdbench import peer
from rnbdbench import uevents
from rnbdbench.file_disk import FileDisk
from rnbdbench.lab import Pair

BACK = 20.0
"""Seconds until a disk is back: it is asked for every other second, and a margin."""

NAME = "/dev/rnbdtest-disk"
"""A link, which udev makes when a disk appears."""


class Absent:
    """A mapped disk whose device the target does not have, and a neighbour that it has."""

    def __init__(self, bench: Pair, tmo: str) -> None:
        self.bench = bench
        self.guest = bench.target.guest
        self.disk = FileDisk.make(self.guest, 16)
        self.appears()
        self.device = bench.map(NAME, fast_io_fail_tmo=tmo)
        self.neighbour = bench.initiator.map(bench.target.ram_disk(16), path="")
        (path,) = bench.initiator.transport().paths()
        assert path.disconnect() is None
        self.guest.run(f"rm {NAME}")
        path.force_connection()
        self.neighbour.wait_for_state("open")

    def appears(self) -> None:
        """The target finds the device."""
        self.guest.run(f"ln -sf {self.disk.node} {NAME}")


def test_io_waits_for_a_device_that_appears_later(loopback: Pair) -> None:
    """Nobody has to do anything; the neighbour does not wait."""
    guest = loopback.initiator.guest
    absent = Absent(loopback, "60")
    with uevents.recorded(guest) as events:
        job = guest.begin(disks.write_block(absent.device.node))
        guest.run(disks.write_block(absent.neighbour.node), timeout=5)
        assert absent.device.read("rnbd/state") == "closed"
        assert job.running, "the write did not wait for the device"
        absent.appears()
        assert job.wait(BACK).code == 0
        events.wait_for(absent.device.name, "ACTION=online")
    assert absent.device.read("rnbd/state") == "open"
    log = guest.output("dmesg")
    assert f"{absent.device.name}: the server does not have it yet and is asked again" in log
    for device in (absent.device, absent.neighbour):
        assert device.unmap() is None
    assert loopback.target.exports() == []


@pytest.mark.parametrize("tmo", ["0", "4"])
def test_io_fails_when_the_device_takes_too_long_and_works_once_it_is_there(
    loopback: Pair, tmo: str
) -> None:
    """After the time that I/O waits for a path."""
    guest = loopback.initiator.guest
    absent = Absent(loopback, tmo)
    result = guest.run(disks.write_block(absent.device.node), check=False, timeout=BACK)
    assert result.code != 0
    absent.appears()
    guest.wait_until(lambda: absent.device.read("rnbd/state") == "open", "the disk to be back", BACK)
    guest.run(disks.write_block(absent.device.node))
    for device in (absent.device, absent.neighbour):
        assert device.unmap() is None


@pytest.mark.parametrize("force", [False, True])
def test_a_disk_is_unmapped_while_its_device_is_absent(loopback: Pair, force: bool) -> None:
    """With I/O that waits for it, only by force; the session stays for the neighbour."""
    guest = loopback.initiator.guest
    absent = Absent(loopback, "off")
    job = None
    if force:
        job = guest.begin(disks.write_block(absent.device.node))
        opened = f"ls -l /proc/[0-9]*/fd | grep -q '{absent.device.node}$'"
        guest.wait_until(lambda: guest.run(opened, check=False).code == 0, "the disk to be open")
    assert absent.device.unmap("force" if force else "normal") is None
    if job:
        assert job.wait(BACK).code != 0
    guest.run(disks.write_block(absent.neighbour.node), timeout=5)
    assert absent.neighbour.unmap() is None
    assert loopback.initiator.transports() == []


def test_a_device_that_is_gone_is_asked_for_though_another_query_fails(loopback: Pair) -> None:
    """The failure ends a round of queries, which the first device was found gone in."""
    guest = loopback.initiator.guest
    loopback.load()
    case = "one-gone-one-fails"
    line = f"sessname={case} path={network.TARGET.path()} dest_port={peer.ROGUE_PORT}"
    with peer.rogue_server(guest, [case]):
        mark = guest.console.mark()
        for name in ("gone", "other"):
            assert loopback.initiator.request(f"{line} device_path={name}") is None
        device, other = (loopback.initiator.find(name, case) for name in ("gone", "other"))
        for words in ("the server's device is gone and is asked for again", "reopened"):
            said = f"{device.name}: {words}"
            guest.wait_until(lambda said=said: said in guest.console.since(mark), said, BACK)
        assert device.read("rnbd/state") == "open"
        assert device.begin_read().wait().code == 0
        assert [device.unmap(), other.unmap()] == [None, None]
