# SPDX-License-Identifier: GPL-2.0-only
"""Writes that happen as a whole or not at all (RWF_ATOMIC)."""

import shlex

from rnbdbench import blktrace
from rnbdbench import disks
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS

WRITE = """
import errno, mmap, os, sys
at, size = map(int, sys.argv[2:])
data = mmap.mmap(-1, size)
data[:] = b"a" * size
disk = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
RWF_ATOMIC = 0x40
try:
    print(os.pwritev(disk, [data], at, RWF_ATOMIC))
except OSError as error:
    print(errno.errorcode[error.errno])
"""

UNIT = 16384


def _write(guest: Guest, node: str, at: int, size: int) -> str:
    """Writes `size` letters atomically; returns the result, or the name of an error."""
    return guest.output(f"python3 -c {shlex.quote(WRITE)} {node} {at} {size}")


@REMOVES_DISKS
def test_an_atomic_write_is_one_at_the_target(loopback: Pair) -> None:
    """Of the sizes that the target's disk allows, as far as one request can have them."""
    guest = loopback.target.guest
    disk = disks.scsi(guest, dev_size_mb=16, atomic_wr=1, atomic_wr_max_length=UNIT // 512)
    device = loopback.map(disk)
    queue = f"/sys/block/{disk.rsplit('/', 1)[1]}/queue"
    for name in ("unit_min", "unit_max", "max", "boundary"):
        file = f"atomic_write_{name}_bytes"
        assert device.read(f"queue/{file}") == guest.read(f"{queue}/{file}"), file
    assert device.read("queue/atomic_write_unit_max_bytes") == str(UNIT)

    with blktrace.arrivals(guest, disk) as arrived:
        assert _write(guest, device.node, 2 * UNIT, UNIT) == str(UNIT)
        guest.run(f"dd if=/dev/zero of={device.node} bs=4k count=1 oflag=direct status=none")
    writes = {each.range: each.atomic for each in arrived if each.operation == "write"}
    assert writes == {(2 * UNIT // 512, UNIT // 512): True, (0, 8): False}
    assert guest.output(f"dd if={disk} bs={UNIT} skip=2 count=1 status=none | tr -d a | wc -c") == "0"
    assert _write(guest, device.node, 0, 2 * UNIT) == "EINVAL"
    assert device.unmap() is None


def test_a_disk_without_atomic_writes_refuses_them(loopback: Pair) -> None:
    """With the error of any such disk."""
    device = loopback.map(loopback.target.ram_disk(16))
    assert device.read("queue/atomic_write_unit_max_bytes") == "0"
    assert _write(loopback.initiator.guest, device.node, 0, 4096) == "ENOTSUP"
    assert device.unmap() is None
