# SPDX-License-Identifier: GPL-2.0-only
"""Requests to which a living target does not respond."""

import pytest

from rnbdbench import dmesg
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.rnbd import MAP_DEVICE
from rnbdbench.stalling import StallingDisk
from rnbdbench.stalling import wait_for_kernel

PERIOD_MS = 1000
"""Timeout of a disk's requests."""


def _mapped(bench: Pair, megabytes: int) -> tuple[StallingDisk, Device]:
    """A disk that can be stopped, and what the initiator has of it."""
    disk = StallingDisk.make(bench.target.guest, bench.target.ram_disk(megabytes))
    bench.load()
    return disk, bench.initiator.map(disk.node)


def test_io_without_an_answer_is_reported_and_ends(loopback: Pair) -> None:
    """After four periods the session is reconnected, and I/O fails as without a path."""
    guest = loopback.initiator.guest
    disk, device = _mapped(loopback, 16)
    session = loopback.initiator.transport()
    (path,) = session.paths()
    assert session.write("fast_io_fail_tmo", "1") is None
    assert guest.write(f"/sys/block/{device.name}/queue/io_timeout", str(PERIOD_MS)) is None

    disk.stop()
    read = device.begin_read()
    assert read.wait(60).code != 0
    said = dmesg.last(guest, 40)
    for seconds in (1, 2, 3):
        line = f"{device.name}: Read of 4096 bytes at sector 0: no response for {seconds} s"
        assert line in said, f"no '{line}' in:\n{said}"
    assert "no response for 4 s, reconnecting session bench" in said, said
    device.wait_for_state("closed")

    disk.go_on()
    path.force_connection()
    assert device.read("rnbd/state") == "open"
    assert device.begin_read().wait().code == 0
    assert device.unmap() is None


def test_one_device_without_answers_can_be_unmapped_by_force(loopback: Pair) -> None:
    """The other one of the session does not notice."""
    guest = loopback.initiator.guest
    stalling = StallingDisk.make(guest, loopback.target.ram_disk(16, count=2))
    stuck = loopback.map(stalling.node)
    other = loopback.initiator.map("/dev/ram1", path="")

    stalling.stop()
    stuck_read = stuck.begin_read()
    stuck.wait_for_read()
    assert other.begin_read().wait().code == 0
    assert stuck.unmap("force") is None
    assert stuck_read.wait().code != 0
    assert not stuck.exists()
    assert other.begin_read().wait().code == 0

    stalling.go_on()
    assert other.begin_read().wait().code == 0
    assert other.unmap() is None


@pytest.mark.long
def test_a_session_that_cannot_end_says_why(loopback: Pair) -> None:
    """On the target, after half a minute in which its disk has not responded."""
    guest = loopback.target.guest
    disk, device = _mapped(loopback, 16)

    disk.stop()
    mark = guest.console.mark()
    read = device.begin_read()
    device.wait_for_read()
    assert device.unmap("force") is None
    assert read.wait().code != 0
    line = "(bench): still waiting for requests, 1 left, for 3"
    guest.wait_until(lambda: line in guest.console.since(mark), line, 45)
    assert loopback.target.exports() == [disk.name]

    disk.go_on()
    guest.wait_until(lambda: loopback.target.transports() == [], "the session to end")
    assert loopback.target.exports() == []


def test_a_mounted_disk_without_answers_can_be_unmapped_by_force(loopback: Pair) -> None:
    """The file system is told that its disk is gone, and waits for its own I/O for that."""
    guest = loopback.initiator.guest
    stalling, device = _mapped(loopback, 64)
    guest.run(f"mkfs.ext4 -q {device.node} && mkdir -p /mnt/stuck")
    guest.run(f"mount {device.node} /mnt/stuck")

    stalling.stop()
    write = guest.begin("dd if=/dev/zero of=/mnt/stuck/file bs=1M count=4 conv=fsync")
    device.wait_for_read()
    assert device.unmap("force") is None
    assert write.wait().code != 0
    assert not device.exists()
    guest.run("umount /mnt/stuck")
    stalling.go_on()


def test_a_device_that_cannot_be_opened_holds_up_no_other(loopback: Pair) -> None:
    """While its partitions are being read it cannot be opened, which may take for ever."""
    guest = loopback.initiator.guest
    below = StallingDisk.make(guest, loopback.target.ram_disk(16, count=2))
    stalling = below.with_partitions()
    other = loopback.map("/dev/ram1")

    partitions = below.keep_from_being_opened(stalling)
    # By the same CPU, and so by the same connection.
    line = f"sessname=bench device_path={stalling}"
    mapping = guest.begin(f"taskset -c 0 sh -c 'echo {line} > {MAP_DEVICE}'")
    wait_for_kernel(guest, "[rnbd_server]", "the target to open the device")
    read = guest.begin(
        f"taskset -c 0 dd if={other.node} of=/dev/null bs=4k count=1 iflag=direct status=none"
    )
    assert read.wait().code == 0
    assert mapping.running, "the device was opened, so this shows nothing"

    below.go_on()
    assert partitions.wait().code == 0
    assert mapping.wait().code == 0
    assert loopback.initiator.find(stalling, "bench").unmap() is None
    assert other.unmap() is None


def test_unmapping_by_force_does_not_wait_for_devices_that_are_being_opened(
    loopback: Pair,
) -> None:
    """Though the session can ask for nothing else meanwhile, and others wait to be mapped.

    The target has 30 s to open a device, so a waiting request is too late.
    """
    guest = loopback.initiator.guest
    below = StallingDisk.make(guest, loopback.target.ram_disk(16, count=4))
    stalling = below.with_partitions()
    device = loopback.map("/dev/ram1")

    partitions = below.keep_from_being_opened(stalling)
    nodes = [stalling, "/dev/ram2", "/dev/ram3"]
    line = "sessname=bench device_path="
    stuck = guest.begin(f"echo {line}{nodes[0]} > {MAP_DEVICE}")
    wait_for_kernel(guest, "[rnbd_server]", "the target to open the device")
    queued = [guest.begin(f"echo {line}{node} > {MAP_DEVICE}") for node in nodes[1:]]
    waiting = "grep -lsF '[rnbd_client]' /proc/[0-9]*/stack | wc -l"
    guest.wait_until(lambda: int(guest.output(waiting)) > len(queued), "the other requests to wait")
    assert device.unmap("force") is None
    assert not device.exists()
    assert stuck.running, "the device was opened, so this shows nothing"
    assert all(job.running for job in queued)
    assert loopback.initiator.request(f"{line}{nodes[0]}") == "EEXIST", "it is being mapped"

    below.go_on()
    assert partitions.wait().code == 0
    for job in [stuck, *queued]:
        assert job.wait().code == 0
    guest.wait_until(
        lambda: "ram1" not in loopback.target.exports(), "the target to close the device"
    )
    device = loopback.initiator.map("/dev/ram1", path="")
    assert device.begin_read().wait().code == 0
    for mapped in loopback.initiator.devices():
        assert mapped.unmap() is None
    assert loopback.target.exports() == []


def test_the_initiator_is_unloaded_while_the_target_opens_a_device(loopback: Pair) -> None:
    """The target was not even asked yet to close what was unmapped by force."""
    guest = loopback.initiator.guest
    below = StallingDisk.make(guest, loopback.target.ram_disk(16, count=2))
    stalling = below.with_partitions()
    device = loopback.map("/dev/ram1")

    partitions = below.keep_from_being_opened(stalling)
    mapping = guest.begin(f"echo sessname=bench device_path={stalling} > {MAP_DEVICE}")
    wait_for_kernel(guest, "[rnbd_server]", "the target to open the device")
    # What it sent is under way, and nothing else can be sent before the end of that.
    mapping.cancel()
    assert mapping.wait().code != 0
    assert device.unmap("force") is None
    said = dmesg.last(guest, 10)
    assert f"{device.name}: unmapped, but the server has not closed it yet" in said, said
    # Without the end of its connection the worker would wait for half a minute.
    guest.run("rmmod rnbd_client", timeout=10)
    assert partitions.running, "the device was opened, so this shows nothing"

    below.go_on()
    assert partitions.wait().code == 0
    guest.wait_until(lambda: loopback.target.exports() == [], "the target to close all devices")
