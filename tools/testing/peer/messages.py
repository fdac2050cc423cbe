# SPDX-License-Identifier: GPL-2.0-only
"""Messages of RNBD, which are not checked."""

import struct

SESS_INFO, SESS_INFO_RSP, OPEN, OPEN_RSP, IO, CLOSE, DEV_INFO, DESCRIBE, DESCRIBE_RSP = range(9)
RO, RW, MIGRATION = range(3)
OP_READ, OP_WRITE, OP_FLUSH, OP_DISCARD, OP_SECURE_ERASE, OP_WRITE_ZEROES = range(6)
OPEN_RSP_SIZE = 56
SESS_INFO_SIZE = 36
DESCRIBE_RSP_SIZE = 180
ASYNC_EVENTS, DESCRIPTIONS = 1, 2
IO_SIZE = 32
SECTOR = 512


def sess_info(version=2, kind=SESS_INFO, features=0):
    """Encodes the handshake (SESS_INFO), or the response to it."""
    magic = b"RNB+" if features else b""
    return struct.pack("<HxxB3x4sI20x", kind, version, magic, features)


def open_rsp(sectors=2048, physical=512, logical=512):
    """Encodes an OPEN_RSP of an ordinary disk."""
    return struct.pack(
        "<HxxIQIIIIIHHHHBB10x",
        *(OPEN_RSP, 0, sectors, 248, 0, 0, 0, 0),
        *(physical, logical, 32, 0, 0, 0),
    )


def describe_rsp(generation=1, sectors=2048, identity=b"fuzz"):
    """Encodes a DESCRIBE_RSP of an ordinary disk with a write cache."""
    return struct.pack(
        "<HxxHHIIQ22IBB2x64s",
        *(DESCRIBE_RSP, 1, DESCRIBE_RSP_SIZE, generation, 3, sectors),
        *(512, 512, 512, 0, 0, 248, 32),
        *(2048, 4096, 0, 0, 2048, 2048),
        *(0, 0, 0, 0, 0, 0, 0, 0),
        *(0, 5, len(identity), identity),
    )


def open_device(path, mode=RW):
    """Encodes an OPEN; a path of 256 bytes has no NUL."""
    return struct.pack("<HxxBx256s2x", OPEN, mode, path)


def close_device(device):
    """Encodes a CLOSE."""
    return struct.pack("<HxxI", CLOSE, device)


def describe(device, applied=0):
    """Encodes a DESCRIBE."""
    return struct.pack("<HxxII", DESCRIBE, device, applied)


def io(device, operation, sector=0, size=SECTOR, prio=0):
    """Encodes an IO; `operation` includes the flags."""
    return struct.pack("<HxxIQIIH6x", IO, device, sector, operation, size, prio)


def sector_of(message):
    """Decodes the first sector of an IO."""
    return struct.unpack_from("<Q", message, 8)[0]


def device_of(response):
    """Decodes the device number of an OPEN_RSP."""
    kind, device = struct.unpack_from("<HxxI", response)
    assert kind == OPEN_RSP, f"instead of OPEN_RSP: {response.hex()}"
    return device
