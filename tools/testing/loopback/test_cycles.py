# SPDX-License-Identifier: GPL-2.0-only
"""The life of a mapping, many times over."""

import pytest

from rnbdbench.lab import Pair
from rnbdbench.rnbd import unload

CYCLE = """
set -e
echo "sessname=bench path=ip:10.50.100.66 device_path=/dev/ram0" \
    > /sys/class/rnbd-client/ctl/map_device
for try in $(seq 100); do
    [ -b /dev/rnbd0 ] && break
    sleep 0.1
done
dd if=/dev/urandom of=/run/pattern bs=1M count=2 status=none
dd if=/run/pattern of=/dev/rnbd0 bs=128k oflag=direct status=none
dd if=/dev/rnbd0 of=/run/copy bs=128k count=16 iflag=direct status=none
cmp /run/pattern /run/copy
echo normal > /sys/block/rnbd0/rnbd/unmap_device
"""


def _cycle(bench: Pair, count: int) -> None:
    bench.target.ram_disk(16)
    bench.target.load()
    bench.initiator.load()
    for number in range(count):
        result = bench.initiator.guest.run(CYCLE, timeout=120, check=False)
        assert result.code == 0, f"cycle {number}: {result.stdout}{result.stderr}"


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
        disk = loopback.target.ram_disk(16)
        loopback.target.load()
        loopback.initiator.load()
        device = loopback.initiator.map(disk)
        assert device.unmap() is None
        unload(loopback.initiator.guest)
