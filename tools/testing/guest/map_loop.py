# SPDX-License-Identifier: GPL-2.0-only
"""Maps one disk after the other from a server that is not to be trusted, and uses each a bit.

    map_loop.py <path of the server> <port> <seed> <seconds>

Errors are what is expected. Prints a line of JSON at the end: how many disks there were, what
became of attempts and of I/O, and the seconds that the longest of each kind of step took.
"""

import errno
import fcntl
import json
import mmap
import os
import random
import struct
import sys
import threading
import time
from collections import Counter

CONTROL = "/sys/class/rnbd-client/ctl"
BLKDISCARD = 0x1277
BLOCK = 4096
OPERATIONS = ("read", "read", "write", "flush", "discard")

STUCK = 30
"""Seconds after which I/O must have ended on a disk that is gone."""

outcomes = Counter()
longest = Counter()


def step(name, act, *arguments):
    """Runs a step; returns whether it succeeded."""
    start = time.monotonic()
    try:
        act(*arguments)
        outcomes[name] += 1
        return True
    except OSError as error:
        outcomes[f"{name} {errno.errorcode.get(error.errno, error.errno)}"] += 1
        return False
    finally:
        longest[name] = round(max(longest[name], time.monotonic() - start), 1)


def write(path, text):
    """Writes to a file in sysfs, in one system call."""
    with open(path, "wb", buffering=0) as file:
        file.write(text.encode())


def use(node, choices):
    """Reads and writes a disk; each of `choices` is an operation and a block."""
    try:
        disk = os.open(node, os.O_RDWR | os.O_DIRECT)
    except OSError as error:
        outcomes[f"open {errno.errorcode[error.errno]}"] += 1
        return
    memory = mmap.mmap(-1, 16 * BLOCK)
    view = memoryview(memory)
    for operation, block, count in choices:
        at, part = block * BLOCK, view[: count * BLOCK]
        if operation == "read":
            step("read", os.preadv, disk, [part], at)
        elif operation == "write":
            step("write", os.pwritev, disk, [part], at)
        elif operation == "flush":
            step("flush", os.fsync, disk)
        else:
            step("discard", fcntl.ioctl, disk, BLKDISCARD, struct.pack("QQ", at, BLOCK))
    os.close(disk)


def unmap(disk):
    """Unmaps a disk by force."""
    write(f"/sys/block/{disk}/rnbd/unmap_device", "force")


def main():
    """Maps disks until the time is up."""
    path, port, seed, duration = sys.argv[1:]
    rng = random.Random(seed)
    end = time.monotonic() + float(duration)
    number = 0
    while time.monotonic() < end:
        number += 1
        name = f"fuzz{number}"
        choices = [
            (rng.choice(OPERATIONS), rng.randrange(64), rng.choice((1, 2, 16)))
            for _ in range(rng.choice((2, 10, 40)))
        ]
        seconds = rng.choice((0.2, 1.0, 1.0, 4.0))
        line = f"sessname={name} path={path} device_path={name} dest_port={port} fast_io_fail_tmo=1"
        if not step("map", write, f"{CONTROL}/map_device", line):
            if outcomes["map ECONNREFUSED"]:
                # The server's time is up.
                break
            continue
        disk = os.path.realpath(f"{CONTROL}/devices/{name}@{name}").rsplit("/", 1)[-1]
        users = [
            threading.Thread(target=use, args=(f"/dev/{disk}", choices), daemon=True)
            for _ in range(2)
        ]
        for user in users:
            user.start()
        for user in users:
            user.join(seconds)
        step("unmap", unmap, disk)
        for user in users:
            user.join(STUCK)
            if user.is_alive():
                outcomes["stuck"] += 1
    print(json.dumps({"disks": number, "outcomes": outcomes, "longest": longest}))


if __name__ == "__main__":
    main()
