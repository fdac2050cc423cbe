# SPDX-License-Identifier: GPL-2.0-only
"""The life of a mapping, many times over."""

import pytest

from rnbdbench import drivers
from rnbdbench.lab import Pair

CYCLES = """
import mmap
import os
import sys
import time

SIZE, BLOCK = 2 << 20, 128 << 10
LINE = b"sessname=bench path=ip:10.50.100.66 device_path=/dev/ram0"

def write(path, text):
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, text)
    os.close(fd)

# Anonymous mappings are aligned, as direct I/O needs it.
pattern, copy = mmap.mmap(-1, SIZE), mmap.mmap(-1, SIZE)
for cycle in range(int(sys.argv[1])):
    pattern[:] = os.urandom(SIZE)
    write("/sys/class/rnbd-client/ctl/map_device", LINE)
    deadline = time.monotonic() + 60
    while not os.path.exists("/dev/rnbd0"):
        assert time.monotonic() < deadline, f"no /dev/rnbd0 in cycle {cycle}"
        time.sleep(0.01)
    disk = os.open("/dev/rnbd0", os.O_RDWR | os.O_DIRECT)
    for at in range(0, SIZE, BLOCK):
        assert os.pwrite(disk, memoryview(pattern)[at:at + BLOCK], at) == BLOCK
    for at in range(0, SIZE, BLOCK):
        assert os.preadv(disk, [memoryview(copy)[at:at + BLOCK]], at) == BLOCK
    assert pattern[:] == copy[:], f"other data read than written in cycle {cycle}"
    os.close(disk)
    write("/sys/block/rnbd0/rnbd/unmap_device", b"normal")
print("cycles:", cycle + 1)
"""
"""In one process, as starting one takes a second on the sanitizing kernel."""


def _cycle(bench: Pair, count: int) -> None:
    bench.target.ram_disk(16)
    bench.load()
    guest = bench.initiator.guest
    guest.run(f"cat > /run/cycles.py << 'END'\n{CYCLES}\nEND")
    done = guest.output(f"python3 /run/cycles.py {count}", timeout=60 + 10 * count)
    assert done == f"cycles: {count}"


def test_ten_cycles(loopback: Pair) -> None:
    """Map, 2 MiB written and read back, unmap: ten times."""
    _cycle(loopback, 10)


@pytest.mark.kernels("sanitize")
def test_three_cycles(loopback: Pair) -> None:
    """The same three times, where leaks and races are reported."""
    _cycle(loopback, 3)


@pytest.mark.long
@pytest.mark.kernels("sanitize")
def test_hundred_cycles(loopback: Pair) -> None:
    """The same a hundred times."""
    _cycle(loopback, 100)


def test_modules_load_and_unload_ten_times(loopback: Pair) -> None:
    """With a mapping each time."""
    for _ in range(10):
        device = loopback.map()
        assert device.unmap() is None
        drivers.unload(loopback.initiator.guest)
