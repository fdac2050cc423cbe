# SPDX-License-Identifier: GPL-2.0-only
"""Random messages of RNBD: valid ones, and such that a server must refuse by a response."""

import struct

import fuzz
import messages

OPERATIONS = (messages.OP_READ,) * 12 + (messages.OP_WRITE,) * 8 + (
    *(messages.OP_FLUSH,) * 3,
    *(messages.OP_DISCARD,) * 2,
    *(messages.OP_SECURE_ERASE, messages.OP_WRITE_ZEROES),
)

OTHERS = (messages.SESS_INFO, messages.OPEN, messages.OPEN, messages.CLOSE) + (
    *(messages.DEV_INFO, messages.DESCRIBE, messages.DESCRIBE),
)
"""The messages beside IO."""

MODES = (messages.RW, messages.MIGRATION, messages.RO)
SIZES = (512, 512, 1024, 4096, 4096)
SECTORS = 1 << 15
"""Of the disk."""

MOST = 1 << 14
"""The most bytes that a READ asks for."""


def make(rng, disk, device):
    """Makes up a valid message: type, user message, data, and room for those of a READ."""
    if rng.random() < 0.8:
        return io(rng, device)
    kind = rng.choice(OTHERS)
    if kind == messages.SESS_INFO:
        user, room = messages.sess_info(features=rng.choice((0, 3))), messages.SESS_INFO_SIZE
    elif kind == messages.OPEN:
        path = rng.choice((disk,) * 6 + (b"/dev/nothing", b"/dev/null", b"", b"ram0"))
        user = messages.open_device(path, rng.choice(MODES))
        room = messages.OPEN_RSP_SIZE
    elif kind == messages.CLOSE:
        # A session whose disk is closed tells less.
        known = rng.random() < 0.1
        user, room = messages.close_device(device if known else 77), None
    elif kind == messages.DEV_INFO:
        user = struct.pack("<HxxI", kind, device)
        room = messages.OPEN_RSP_SIZE
    else:
        user = messages.describe(device, rng.choice((0, 1, 2)))
        room = rng.choice((28, 100, messages.DESCRIBE_RSP_SIZE, 4096))
    return kind, user, b"", room


def io(rng, device):
    """Makes up a block request."""
    operation, size = rng.choice(OPERATIONS), rng.choice(SIZES)
    sector = rng.randrange(SECTORS // 8) * 8
    flags, data, room = 0, b"", None
    if operation == messages.OP_READ:
        size *= rng.choice((1, 1, 3))
        room = size
    elif operation == messages.OP_WRITE:
        data, flags = bytes([sector & 0xFF]) * size, rng.choice((0, 0, 1 << 8, 3 << 9))
    elif operation == messages.OP_FLUSH:
        size = sector = 0
    else:
        size *= rng.choice((1, 8, 1000))
    user = messages.io(device, operation | flags, sector, size)
    return messages.IO, user, data, room


def spoil(rng, user, data, room):
    """Changes a message so that it still deserves a response."""
    kind = rng.random()
    if kind < 0.8:
        user = fuzz.change(rng, user)
    elif room is None:
        data = rng.choice((b"", data[:-1], data + b"x", bytes(512), bytes(4096)))
    else:
        room = rng.choice((None, 1, 8, 512, max(1, room - 1), room + 1, MOST))
    return user, data, room
