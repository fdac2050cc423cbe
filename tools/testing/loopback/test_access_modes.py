# SPDX-License-Identifier: GPL-2.0-only
"""Access modes: which openers exclude each other, and that readers cannot write."""

import pytest

from rnbdbench import network
from rnbdbench import rnbd
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device

MODES = {
    # first       second       error of the second
    ("ro", "ro"): None,
    ("ro", "rw"): None,
    ("ro", "migration"): None,
    ("rw", "ro"): None,
    ("rw", "rw"): "EPERM",
    ("rw", "migration"): None,
    ("migration", "ro"): None,
    ("migration", "rw"): "EPERM",
    ("migration", "migration"): None,
}
"""Whether two sessions may have one device open: one writer, or two to migrate."""


def _line(session: str, device: str, mode: str) -> str:
    return (
        f"sessname={session} path={network.TARGET.path()}"
        f" device_path={device} access_mode={mode}"
    )


def _check_files(bench: Pair, device: Device, session: str, mode: str) -> None:
    """Both sides show the mode, and the disk of a reader is read-only."""
    guest = bench.initiator.guest
    folder = f"{rnbd.SERVER_DEVICES}/ram0/sessions/{session}"
    readonly = "1" if mode == "ro" else "0"
    assert device.read("rnbd/access_mode") == mode
    assert guest.read(f"{folder}/access_mode") == mode
    assert guest.read(f"{folder}/read_only") == readonly
    assert guest.output(f"blockdev --getro {device.node}") == readonly


def test_modes_of_two_sessions(loopback: Pair) -> None:
    """Every combination does what the table says, by the same path and by another one."""
    guest = loopback.initiator.guest
    disk = loopback.target.ram_disk(16)
    alias = "/dev/alias"
    guest.run(f"ln -sf {disk} {alias}")
    # Connecting is cheap with few buffers.
    loopback.load(transport={"sess_queue_depth": 16})
    # The sessions stay connected, so that each combination costs two devices only.
    kept = loopback.target.null_disk()
    keepers = [
        loopback.initiator.map(kept, session=session, access_mode="ro")
        for session in ("first", "second", "third")
    ]
    wrong = []
    for (mode, other), expected in MODES.items():
        for path in (disk, alias):
            device = loopback.initiator.map(disk, session="first", access_mode=mode)
            _check_files(loopback, device, "first", mode)
            error = loopback.initiator.request(_line("second", path, other))
            if error != expected:
                wrong.append(f"{path} as {other} besides {mode}: {error}, expected {expected}")
            if error is None:
                joined = loopback.initiator.find(path, "second")
                _check_files(loopback, joined, "second", other)
                assert joined.unmap() is None
            assert device.unmap() is None
    assert not wrong, "\n".join(wrong)
    # Two writers are enough, readers never.
    opened = [
        loopback.initiator.map(disk, session=session, access_mode=mode)
        for session, mode in (("first", "rw"), ("second", "migration"))
    ]
    assert loopback.initiator.request(_line("third", alias, "migration")) == "EPERM"
    opened.append(loopback.initiator.map(alias, session="third", access_mode="ro"))
    for device in opened + keepers:
        assert device.unmap() is None
    assert loopback.target.exports() == []
    guest.run(f"rm {alias}")


def test_a_reader_changes_nothing(loopback: Pair) -> None:
    """Every kind of write fails, and the disk cannot be made writable."""
    guest = loopback.initiator.guest
    disk = loopback.target.null_disk(discard=1)
    loopback.load(transport={"sess_queue_depth": 16})
    # Data that a write would destroy.
    guest.run(f"dd if=/dev/urandom of={disk} bs=1M count=1 oflag=direct status=none")
    before = guest.output(f"sha256sum < {disk}")
    device = loopback.initiator.map(disk, access_mode="ro")
    guest.run(f"blockdev --setrw {device.node}", check=False)
    assert guest.output(f"blockdev --getro {device.node}") == "1"
    for command in (
        f"dd if=/dev/zero of={device.node} bs=4k count=1 oflag=direct",
        f"blkdiscard {device.node}",
        f"blkdiscard --secure {device.node}",
        f"blkdiscard --zeroout {device.node}",
    ):
        result = guest.run(command, check=False)
        assert result.code != 0, f"{command} succeeded"
        assert "Read-only file system" in result.stderr, result.stderr
    for limit in ("discard_max_bytes", "write_zeroes_max_bytes"):
        assert device.read(f"queue/{limit}") == "0", limit
    assert device.unmap() is None
    assert guest.output(f"sha256sum < {disk}") == before


@pytest.mark.drivers("rust-rust", "c-c")
def test_a_disk_that_is_read_only_has_readers_only(loopback: Pair) -> None:
    """The target's read-only flag applies to clients: writers are refused, readers are not."""
    guest = loopback.initiator.guest
    disk = loopback.target.null_disk()
    loopback.load()
    guest.run(f"dd if=/dev/urandom of={disk} bs=1M count=1 oflag=direct status=none")
    sums = "dd if={} bs=1M count=1 iflag=direct status=none | sha256sum"
    before = guest.output(sums.format(disk))
    guest.run(f"blockdev --setro {disk}")
    for mode in ("rw", "migration"):
        assert loopback.initiator.request(_line("first", disk, mode)) == "EACCES", mode
        assert loopback.initiator.devices() == []
        assert loopback.target.exports() == []
    device = loopback.initiator.map(disk, session="first", access_mode="ro")
    assert guest.output(f"blockdev --getro {device.node}") == "1"
    assert guest.output(sums.format(device.node)) == before
    assert device.unmap() is None

    guest.run(f"blockdev --setrw {disk}")
    device = loopback.initiator.map(disk, session="first", access_mode="rw")
    guest.run(f"dd if=/dev/zero of={device.node} bs=1M count=1 oflag=direct status=none")
    assert guest.output(sums.format(disk)) != before
    assert device.unmap() is None
