#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Writes one well-formed input for each parser into a folder.

The first byte selects the parser, see fuzz_targets/parse.rs.
"""

import pathlib
import struct
import sys

MAGIC = 0x1BBD
UUIDS = bytes(range(32))


def pad(data, size):
    """Returns data padded with zeroes to size."""
    return data + bytes(size - len(data))


def request(message, user):
    """Returns an immediate and the end of the chunk that it locates."""
    offset = 4096 + len(user)
    return struct.pack("<I", offset) + user + pad(message, 24)


IO_READ = struct.pack("<HHIQIIH6x", 4, 0, 1, 8, 0, 4096, 0)
IO_WRITE = struct.pack("<HHIQIIH6x", 4, 0, 1, 8, 1 | 1 << 8, 4096, 0)

SEEDS = {
    "conn-req": (0, pad(struct.pack("<BB5H", 0, 0, MAGIC, 0x200, 0, 3, 0) + UUIDS, 56)),
    "accept": (1, pad(struct.pack("<4H3I", MAGIC, 0x200, 0, 512, 126976, 4096, 2), 56)),
    "reject": (1, pad(struct.pack("<3H", MAGIC, 0x200, 65536 - 104), 56)),
    "info-req": (2, pad(b"\0\0blya", 272)),
    "info-rsp": (3, struct.pack("<HHH4xQIIQII", 2, 1, 2, 0, 1, 8192, 8192, 2, 8192)),
    "read": (4, request(struct.pack("<4HQII", 3, 32, 1, 1, 4096, 7, 4096), IO_READ)),
    "write": (4, request(struct.pack("<2H", 2, 32), IO_WRITE)),
    "rkey-rsp": (5, struct.pack("<HHI", 4, 1, 7)),
    "sess-info": (6, pad(struct.pack("<HHB", 0, 0, 2), 36)),
    "open": (6, pad(struct.pack("<HHBB", 2, 0, 1, 0) + b"/dev/ram0", 264)),
    "close": (6, struct.pack("<HHI", 5, 0, 1)),
    "dev-info": (6, struct.pack("<HHI", 6, 0, 1)),
    "describe": (6, struct.pack("<HHII", 7, 0, 1, 0)),
    "io": (6, IO_WRITE),
    "open-rsp": (7, pad(struct.pack("<HHIQ5I4HBB", 3, 0, 1, 2048, 256, 0, 0, 0, 0,
                                    4096, 512, 128, 0, 0, 3), 56)),
    "sess-info-rsp": (8, pad(struct.pack("<HHB3x4sII", 1, 0, 2, b"RNB+", 3, 7), 36)),
    "describe-rsp": (9, struct.pack("<8HQ22I4B", 8, 0, 1, 180, 1, 0, 3, 0, 2048, 512, 4096, 4096,
                                    65536, 0, 256, 128, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 512, 4096,
                                    8192, 8192, 1, 3, 8, 0, 0) + bytes(range(8)) + bytes(56)),
    "eager-write": (10, struct.pack("<I", 32 + 512) + pad(IO_WRITE, 40)
                    + pad(struct.pack("<2H", 2, 32), 24) + bytes(512)),
    "eager-read": (10, struct.pack("<I", 32 + 4096) + pad(IO_READ, 40)
                   + pad(struct.pack("<4H", 3, 32, 0, 0), 24)),
    "imm": (11, struct.pack("<I", 1 << 28 | 5 << 19 | 7)),
    "map": (12, b"sessname=s path=ip:1.1.1.1@ip:1.1.1.2 device_path=/d dest_port=1 "
                b"access_mode=ro nr_poll_queues=-1"),
    "addr": (13, b"ip:fe80::5efe:1.2.3.4%eth0,gid:fe80::1"),
    "unmap": (14, b"force"),
    "path": (15, b"/srv/%SESSNAME%/x\0s\0a/./b"),
    "policy": (16, b"min-latency (ML: 2)\n"),
    "attempts": (17, b"-1\n"),
    "rule": (18, b"allow session=a* from=10.0.0.0/8,fd00::1 device=/dev/**/ram? ro\0/dev/ram0"),
}


def main():
    """Writes the seeds."""
    folder = pathlib.Path(sys.argv[1])
    for name, (kind, data) in SEEDS.items():
        (folder / f"seed-{name}").write_bytes(bytes([kind]) + data)


if __name__ == "__main__":
    main()
