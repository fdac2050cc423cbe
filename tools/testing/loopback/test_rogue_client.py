# SPDX-License-Identifier: GPL-2.0-only
"""A client that breaks the protocol: the server's reaction; others are not affected.

A program in user space (tools/testing/peer/rogue_client.py) goes through the cases, while
a well-behaved session does I/O.
"""

from collections.abc import Mapping

import pytest

from rnbdbench import fio
from rnbdbench import network
from rnbdbench import peer
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair

DEPTH = 12
"""Requests of a session: no power of two, so that there are ids without a chunk."""

SLOWNESS = 0.5
"""Seconds that a request of the slow disk takes: so long, it is in flight."""

SIGNS = 256
"""Blocks of 4 KiB of the disk that must stay as they are."""

CONNECTIONS = {
    "magic": ("refused 104", "connection refused: bad magic 0x1234"),
    "nothing": ("refused 104", "connection refused: bad magic 0x0000"),
    "version": ("refused 104", "connection refused: unsupported version 3.0"),
    "no-connections": ("refused 104", "bad number of connections 0"),
    "too-many-connections": ("refused 104", "bad number of connections 4097"),
    "connection-beyond": ("refused 104", "connection id 2 out of range"),
    "second-first": ("refused 104", "connection 1 refused: ECONNRESET"),
    "unknown-session": ("refused 6", "connection 0 refused: ENXIO"),
    "inline-immediates": ("refused 95", "has immediates, and the client asks to do without"),
    "connection-again": ("refused 104", "connection 0 refused: ECONNRESET"),
    "other-count": ("refused 104", "connection 1 refused: ECONNRESET"),
}
"""What a connection request gets, and what the server says of it, by case."""

NAMES = {
    "name-early": ("closed", "session named before all connections are up"),
    "request-for-name": ("closed", "bad first message: EPROTO"),
    "name-short": ("closed", "bad first message: message of 4 bytes, expected 272"),
    "name-long": ("closed", "receive of the session's name on connection 0 failed"),
    "name-of-other-type": ("closed", "bad first message: unexpected message type 7"),
    "name-empty": ("closed", "bad first message: malformed name"),
    "name-endless": ("closed", "bad first message: malformed name"),
    "name-with-slash": ("closed", "bad first message: malformed name"),
    "name-in-use": ("closed", "session name 'bench' is in use"),
}
"""The same for cases of INFO_REQ, by which the client sends its name."""

IMMEDIATES = {
    "immediate-of-no-type": ("closed", "unexpected immediate type 5"),
    "response-to-server": ("closed", "immediate 0x10000000 on connection 1"),
    "heartbeat-on-io": ("closed", "immediate 0x80000000 on connection 1"),
    "chunk-beyond": ("closed", "message id 13 out of range"),
    "offset-beyond": ("closed", "message offset 16777215 out of range"),
    "offset-at-end": ("closed", "message offset 135166 out of range"),
    "message-of-nothing": ("closed", "message without an immediate"),
    "message": ("closed", "receive on connection 1 failed"),
    "name-again": ("closed", "receive on connection 0 failed"),
    "chunk-in-use": ("closed", "message id 0 used while in flight"),
    "one-id-on-two-paths": ("response [0, 0]", ""),
    "one-of-two-paths-broken": ("response 0", "unexpected immediate type 5"),
}
"""The same on a path that is connected."""

ONE_KEY = {
    "eager-read-to-buffer": ("closed", "unexpected number of descriptors 1"),
    "key-used-up": ("closed", "the connection broke"),
    "request-overwritten": ("closed", "the connection broke"),
}
"""The same where a key is good for one request."""

SAME_KEY = {
    "eager-read-to-buffer": ("response 0, data written", ""),
    "key-used-up": ("response 0", ""),
    "request-overwritten": ("response [(0, 0), (1, 0)]", ""),
}
"""And where it stays: the server has read a request before it executes it."""

EAGER = {
    "eager": ("response 0, message 1 of 36 bytes", ""),
    "eager-write-and-read": ("response 0, 0, same data", ""),
    "eager-and-in-chunk": ("response [0]", ""),
    "eager-read-fails": ("response 5, 0 bytes", "at sector 1099511627776: EIO"),
    "eager-chunk-written": ("response 0", ""),
    "eager-without-short-responses": ("response 0", ""),
    "eager-not-agreed": ("closed", "receive on connection 1 failed"),
    "eager-id-twice": ("closed", "message id 0 used while in flight"),
    "eager-short": ("closed", "message of 63 bytes, expected 64"),
    "eager-of-nothing": ("closed", "message of 0 bytes, expected 64"),
    "eager-of-no-type": ("closed", "unexpected message type 9"),
    "eager-write-shorter-than-said": ("closed", "message of 575 bytes, expected 576"),
    "eager-write-longer-than-said": ("closed", "message of 577 bytes, expected 576"),
    "eager-write-too-long": ("closed", "receive on connection 1 failed"),
    "eager-read-with-data": ("closed", "message of 72 bytes, expected 64"),
    "eager-read-too-long": ("closed", "message offset 4133 out of range"),
    "eager-read-flags": ("closed", "unknown flags 0x4"),
    "eager-user-too-long": ("closed", "user message of 41 bytes before offset 41"),
    "eager-user-before-message": ("closed", "user message of 40 bytes before offset 39"),
    "eager-without-immediate": ("closed", "message without an immediate"),
    "eager-heartbeat": ("closed", "message with immediate 0x80000000"),
    "eager-of-no-kind": ("closed", "unexpected immediate type 5"),
}
"""The same for requests that are messages."""

REQUESTS = {
    "request-of-no-type": ("closed", "unexpected message type 9"),
    "user-message-before-chunk": ("closed", "user message of 1000 bytes before offset 100"),
    "read-flags": ("closed", "unknown flags 0x8000"),
    "two-descriptors": ("closed", "unexpected number of descriptors 2"),
    "descriptor-of-nothing": ("closed", "descriptor length 0 out of range"),
    "descriptor-too-long": ("closed", "descriptor length 65 out of range"),
    "descriptor-around": ("closed", "descriptor wraps around the address space"),
    "descriptor-of-no-key": ("closed", "remote access error"),
    # The rogue's own device fails silently, so the response is not acknowledged.
    "key-not-to-invalidate": ("closed", "failed: transport retry counter exceeded"),
}
"""The same for the content of a chunk."""

MESSAGES = {
    "message-of-no-type": ("response 22", "refused a message: unexpected message type 99"),
    "message-of-two-bytes": ("response 22", "refused a message: message of 2 bytes, expected 4"),
    "no-message": ("response 22", "refused a message: message of 0 bytes, expected 4"),
    "handshake-of-no-version": ("response 22", "refused a message: unsupported version 0.0"),
    "handshake-without-room": ("response 90", ""),
    "handshake-as-write": ("response 90", ""),
    "handshake": ("response 0", ""),
    "open-short": ("response 22", "refused a message: message of 100 bytes, expected 264"),
    "open-endless": ("response 22", "refused a message: malformed name"),
    "open-parent": ("response 22", "failed: EINVAL"),
    "open-in-no-mode": ("response 22", "refused a message: unknown access mode 9"),
    "open-without-room": ("response 22", "failed: EINVAL"),
    "open-as-write": ("response 22", "failed: EINVAL"),
    "open": ("response 0", "opened '/dev/ram0'"),
    "open-no-device": ("response 15", "failed: ENOTBLK"),
    "open-twice": ("response 17", "failed: EEXIST"),
    "describe": ("response 0", ""),
    "describe-for-a-newer-client": ("response 0", ""),
    "describe-for-an-older-client": ("response 0", ""),
    "describe-without-room": ("response 22", ""),
    "describe-as-write": ("response 22", ""),
    "describe-unknown": ("response 2", ""),
    "describe-not-agreed": ("response 22", ""),
    # As with the C drivers: the device is not open, as wanted.
    "close-unknown": ("response 0", ""),
    "read-unknown": ("response 107", "request for unknown device 1000"),
}
"""What a message gets, whose path goes on."""

DISK = {
    "close-at-once": ("response [0, 0]", ""),
    "io-short": ("response 22", "refused a message: message of 20 bytes, expected 24"),
    "no-operation": ("response 22", "refused a message: unknown operation 77"),
    "flags-of-no-kind": ("response 22", "refused a message: unknown flags 0x100000"),
    "write-of-size-0": ("response 22", "refused a message: malformed range of sectors"),
    "half-a-sector": ("response 22", "refused a message: malformed range of sectors"),
    "around-the-end": ("response 22", "refused a message: malformed range of sectors"),
    "write-read-only": ("response 30", "refused to Write 512 bytes at sector 0: EROFS"),
    "discard-read-only": ("response 30", "refused to Discard 512 bytes at sector 0: EROFS"),
    "zeroes-read-only": ("response 30", "refused to WriteZeroes 512 bytes at sector 0: EROFS"),
    "fua-to-read": ("response 22", "refused to Read 512 bytes at sector 0: EINVAL"),
    "atomic-read": ("response 22", "refused to Read 512 bytes at sector 0: EINVAL"),
    # The disk has no atomic writes: refused by the block layer.
    "atomic-write": ("response 22", ""),
    "read-as-write": ("response 22", "refused to Read 512 bytes at sector 0: EINVAL"),
    "write-as-read": ("response 22", "refused to Write 512 bytes at sector 0: EINVAL"),
    "read-less-than-said": ("response 22", "refused to Read 4096 bytes at sector 0: EINVAL"),
    "read-more-than-said": ("response 22", "refused to Read 512 bytes at sector 0: EINVAL"),
    "write-less-than-said": ("response 22", "refused to Write 4096 bytes at sector 0: EINVAL"),
    "write-more-than-said": ("response 22", "refused to Write 512 bytes at sector 0: EINVAL"),
    "write-nothing": ("response 22", "refused to Write 512 bytes at sector 0: EINVAL"),
    "discard-with-data": ("response 22", "refused to Discard 512 bytes at sector 0: EINVAL"),
    "beyond-the-end": ("response 5", "at sector 1099511627776: EIO"),
    "priority-of-no-class": ("response 22", "refused to Read 512 bytes at sector 0: EINVAL"),
}
"""What a request for a disk gets."""


def _signs(guest: Guest, disk: str) -> str:
    """A checksum of the start of a disk."""
    read = f"dd if={disk} bs=4k count={SIGNS} iflag=direct status=none"
    return guest.output(f"{read} | sha256sum")


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(CONNECTIONS, id="connections"),
        pytest.param({**NAMES, **IMMEDIATES, **REQUESTS, **ONE_KEY}, id="paths"),
        pytest.param(EAGER, id="eager"),
        pytest.param(MESSAGES, id="messages"),
        pytest.param(DISK, id="disk"),
    ],
)
def test_a_rogue_client_is_refused_and_harms_nobody(
    loopback: Pair, cases: Mapping[str, tuple[str, str]]
) -> None:
    """Each of its steps ends as documented, its disk stays as it is, and others go on."""
    _misbehave(loopback, cases)


@pytest.mark.long
def test_it_is_refused_as_well_where_keys_stay_valid(loopback: Pair) -> None:
    """Without `always_invalidate`, when it can write to a chunk at any time."""
    # A client does not see that the key of a READ is not invalidated then.
    requests = {name: end for name, end in REQUESTS.items() if name != "key-not-to-invalidate"}
    cases = {**IMMEDIATES, **EAGER, **requests, **SAME_KEY, **DISK}
    _misbehave(loopback, cases, always_invalidate=0)


def _misbehave(
    loopback: Pair, cases: Mapping[str, tuple[str, str]], **transport: int
) -> None:
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16, count=2)
    slow_disk = loopback.target.null_disk(irqmode=2, completion_nsec=int(SLOWNESS * 1e9))
    loopback.load(transport={"sess_queue_depth": DEPTH, **transport})
    before = _signs(guest, disk)
    device = loopback.initiator.map("/dev/ram1")
    load = fio.begin_verify(guest, device.node, depth=4)

    found = peer.misbehave(guest, disk, cases, slow_disk, SLOWNESS)

    load.end()
    wrong = peer.differences(cases, found)
    assert not wrong, wrong
    assert _signs(guest, disk) == before, "the disk has changed"
    guest.wait_until(
        lambda: loopback.target.exports() == ["ram1"], "the rogue's devices to be closed"
    )
    assert loopback.target.transports() == ["bench"]
    assert device.unmap() is None


def test_a_flood_of_lines_leaves_those_about_another_peer(loopback: Pair) -> None:
    """Each peer has lines of its own in the log; another address is another peer."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    loopback.load(transport={"sess_queue_depth": DEPTH})
    path = f"{network.INITIATOR.path(6)}@{network.TARGET.path(6)}"
    keeper = loopback.initiator.map(disk, session="quiet", path=path, access_mode="ro")
    expected = {"flood": ("response 2", "opening '/dev/nothing' as rw failed: ENOENT")}
    mark = guest.console.mark()
    found = peer.misbehave(guest, disk, expected)
    error = loopback.initiator.request(f"sessname=quiet path={path} device_path=/dev/none")
    wrong = peer.differences(expected, found)
    assert not wrong, wrong
    assert error == "ENOENT"
    log = guest.printed_since(mark)
    assert log.count("opening '/dev/nothing' as rw failed") < 30, "there was no flood"
    assert "quiet: opening '/dev/none' as rw failed: ENOENT" in log
    assert keeper.unmap() is None


def test_paths_that_are_begun_leave_room_for_sessions_that_are_up(loopback: Pair) -> None:
    """Three quarters of the paths can be begun; a session that is up gets one of the rest."""
    disk = loopback.target.ram_disk(16)
    eight = {"max_paths": 8, "max_paths_per_peer": 8, "max_sessions_per_peer": 8}
    loopback.load(transport={"sess_queue_depth": DEPTH, **eight})
    expected = {
        "crowd": (
            "refused 28 after 6, its own path accepted",
            "more than 6 paths are being set up; the rest of max_paths is for sessions that are up",
        )
    }
    found = peer.misbehave(loopback.target.guest, disk, expected)
    wrong = peer.differences(expected, found)
    assert not wrong, wrong
