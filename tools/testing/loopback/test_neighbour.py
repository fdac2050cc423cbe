# SPDX-License-Identifier: GPL-2.0-only
"""Two disks of one session, one of which hangs or fails: the other one does not notice."""

import pytest

from rnbdbench import dmesg
from rnbdbench import fio
from rnbdbench.commands import Job
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.rnbd import MAP_DEVICE
from rnbdbench.stalling import StallingDisk

PERIOD_MS = 500
"""Timeout of a disk's requests."""

AT_ONCE = 5
"""Seconds for what must not wait for the hung disk."""

FULL = 600
"""Requests in flight, more than a session can have."""

MEGABYTES = 16

SECOND = 1_000_000.0
"""Microseconds within which the neighbour responds."""

NEIGHBOUR = "/dev/ram1"


class Disks:
    """A disk that can be stopped, its neighbour, and what the initiator has of them."""

    def __init__(self, bench: Pair, below: str = "") -> None:
        self.bench = bench
        self.guest = bench.initiator.guest
        ram = bench.target.ram_disk(MEGABYTES, count=3)
        self.below = StallingDisk.make(bench.target.guest, below or ram)
        self.hung = bench.map(self.below.node)
        self.neighbour = bench.initiator.map(NEIGHBOUR, path="")
        (self.path,) = bench.initiator.transport().paths()
        self.connects = self.path.read("stats/reconnects")

    def set_timeout(self) -> None:
        """Shortens the timeout of the disk that is going to hang."""
        file = f"/sys/block/{self.hung.name}/queue/io_timeout"
        assert self.guest.write(file, str(PERIOD_MS)) is None

    def begin_io(self, rw: str) -> Job:
        """Starts as many requests as the disk takes; they end at the first error."""
        return self.guest.begin(
            f"taskset -c 0 fio --name=full --thread --filename={self.hung.node} --direct=1"
            f" --ioengine=io_uring --rw={rw} --bs=4k --size={MEGABYTES}m --iodepth={FULL}"
            " --minimal"
        )

    def begin_full_queue(self, rw: str = "randread") -> Job:
        """Starts as many requests as the disk takes, which hangs."""
        job = self.begin_io(rw)
        self.guest.wait_until(lambda: self.in_flight() > 8, "the queue to fill")
        return job

    def in_flight(self) -> int:
        """Returns the number of requests of the disk that hangs."""
        return sum(int(word) for word in self.hung.read("inflight").split())

    def path_was_kept(self) -> bool:
        """Whether the session has had the same connections all the time."""
        connects = self.path.read("stats/reconnects")
        return self.path.state() == "connected" and connects == self.connects


@pytest.fixture
def disks(loopback: Pair) -> Disks:
    """The disks; the clean-up after a test makes the hung one go on."""
    return Disks(loopback)


def _read(guest: Guest, device: Device) -> None:
    """Reads a block, at once."""
    guest.run(
        f"dd if={device.node} of=/dev/null bs=4k count=1 iflag=direct status=none",
        timeout=AT_ONCE,
    )


@pytest.mark.parametrize("rw", ["randread", "randwrite"])
def test_a_full_queue_that_hangs(disks: Disks, rw: str) -> None:
    """The requests end by their own timeout; I/O goes on when the target does."""
    guest = disks.guest
    disks.set_timeout()
    disks.below.stop()
    full = disks.begin_full_queue(rw)
    # Each request that hangs is a line on the console, which takes longer than a read does.
    beside = fio.slowest(guest, disks.neighbour.node)
    assert beside < SECOND, f"a read beside a hung disk takes {beside} us"
    assert full.wait(60).code != 0
    _read(guest, disks.neighbour)

    said = dmesg.last(guest, 60)
    assert f"{disks.hung.name}: the server does not respond, I/O fails until it does" in said, said
    assert disks.hung.read("rnbd/state") == "closed"
    assert disks.hung.begin_read().wait(AT_ONCE).code != 0
    assert disks.path_was_kept()

    disks.below.go_on()
    disks.hung.wait_for_state("open")
    assert disks.hung.begin_read().wait().code == 0
    _read(guest, disks.neighbour)
    assert disks.path_was_kept()
    assert disks.hung.unmap() is None
    assert disks.neighbour.unmap() is None


def test_unmapping_beside_a_hung_disk(disks: Disks) -> None:
    """The neighbour goes, another one is mapped, and the hung one goes by force."""
    guest = disks.guest
    disks.below.stop()
    full = disks.begin_full_queue()
    unmap = f"/sys/block/{disks.neighbour.name}/rnbd/unmap_device"
    assert guest.write(unmap, "normal", timeout=AT_ONCE) is None
    assert guest.write(MAP_DEVICE, "sessname=bench device_path=/dev/ram2", timeout=AT_ONCE) is None
    other = disks.bench.initiator.find("/dev/ram2")
    _read(guest, other)

    # It waits 5 s for responses, and 5 s for the target to close the disk.
    unmap = f"/sys/block/{disks.hung.name}/rnbd/unmap_device"
    assert guest.write(unmap, "force", timeout=4 * AT_ONCE) is None
    assert full.wait(AT_ONCE).code != 0
    assert not disks.hung.exists()
    _read(guest, other)
    assert disks.path_was_kept()

    disks.below.go_on()
    guest.wait_until(
        lambda: disks.below.name not in disks.bench.target.exports(), "the target to close the disk"
    )
    _read(guest, other)
    assert other.unmap() is None
    assert disks.bench.target.exports() == []


def test_a_flush_that_hangs(loopback: Pair) -> None:
    """A request without data ends in the same way."""
    disks = Disks(loopback, loopback.target.null_disk(cache_size=1))
    assert disks.hung.read("queue/write_cache") == "write back"
    disks.set_timeout()
    disks.below.stop()
    flush = disks.guest.begin(
        f"dd if=/dev/null of={disks.hung.node} conv=fsync,notrunc status=none"
    )
    assert flush.wait(60).code != 0
    _read(disks.guest, disks.neighbour)
    disks.below.go_on()
    disks.hung.wait_for_state("open")
    assert disks.path_was_kept()


def test_a_disk_that_fails(disks: Disks) -> None:
    """Its errors are those of its own requests, and end when it works again."""
    load = fio.begin_verify(disks.guest, disks.neighbour.node)
    fio.wait_for_io(disks.guest, disks.neighbour.name)
    disks.below.fail()
    for rw in ("randread", "randwrite"):
        assert disks.begin_io(rw).wait().code != 0
        fio.wait_for_io(disks.guest, disks.neighbour.name)
    assert disks.hung.read("rnbd/state") == "open"
    disks.below.work_again()
    assert disks.hung.begin_read().wait().code == 0
    load.end()
    assert disks.path_was_kept()
    assert disks.hung.unmap() is None
    assert disks.neighbour.unmap() is None


def test_the_client_is_unloaded_beside_a_hung_disk(disks: Disks) -> None:
    """All that it waits for ends with its connections."""
    disks.set_timeout()
    disks.below.stop()
    full = disks.begin_full_queue()
    assert full.wait(60).code != 0
    disks.guest.run("rmmod rnbd_client", timeout=4 * AT_ONCE)
