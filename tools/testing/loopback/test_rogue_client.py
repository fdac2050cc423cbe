# SPDX-License-Identifier: GPL-2.0-only
"""A client that breaks the protocol: the server's reaction; others are not affected.

A program in user space (tools/testing/peer/rogue_client.py) goes through the cases, while
a well-behaved session does I/O.
"""

from collections.abc import Mapping

import pytest

from rnbdbench import fio
from rnbdbench import peer
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair

DEPTH = 12
"""Requests of a session: no power of two, so that there are ids without a chunk."""

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
    "offset-at-end": ("closed", "message offset 131070 out of range"),
    "message-of-nothing": ("closed", "message without an immediate"),
    "message": ("closed", "receive on connection 1 failed"),
    "name-again": ("closed", "receive on connection 0 failed"),
    "chunk-in-use": ("closed", "message id 0 used while in flight"),
}
"""The same on a path that is connected."""

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
        pytest.param({**NAMES, **IMMEDIATES, **REQUESTS}, id="paths"),
        pytest.param(MESSAGES, id="messages"),
        pytest.param(DISK, id="disk"),
    ],
)
def test_a_rogue_client_is_refused_and_harms_nobody(
    loopback: Pair, cases: Mapping[str, tuple[str, str]]
) -> None:
    """Each of its steps ends as documented, its disk stays as it is, and others go on."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16, count=2)
    loopback.load(transport={"sess_queue_depth": DEPTH})
    before = _signs(guest, disk)
    device = loopback.initiator.map("/dev/ram1")
    load = fio.begin_verify(guest, device.node, depth=4)

    found = peer.misbehave(guest, disk, cases)

    load.end()
    wrong = peer.differences(cases, found)
    assert not wrong, wrong
    assert _signs(guest, disk) == before, "the disk has changed"
    guest.wait_until(
        lambda: loopback.target.exports() == ["ram1"], "the rogue's devices to be closed"
    )
    assert loopback.target.transports() == ["bench"]
    assert device.unmap() is None
