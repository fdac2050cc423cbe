# SPDX-License-Identifier: GPL-2.0-only
"""fio jobs."""

from rnbdbench.guest import Guest
from rnbdbench.guest import Job

_COMMON = "--direct=1 --ioengine=io_uring --group_reporting --minimal"


def verify(
    guest: Guest,
    device: str,
    block: str = "4k-1m",
    size: str = "32m",
    depth: int = 16,
) -> None:
    """Writes in random order, then reads all back and compares checksums.

    `block` is a size or a range of sizes.
    """
    sizes = f"--bsrange={block}" if "-" in block else f"--bs={block}"
    guest.run(
        f"fio --name=verify --filename={device} {_COMMON} {sizes} --size={size}"
        f" --iodepth={depth} --rw=randwrite --verify=crc32c --verify_fatal=1 --do_verify=1",
        timeout=120,
    )


def begin_load(guest: Guest, device: str, seconds: int = 600, rw: str = "randrw") -> Job:
    """Starts I/O that goes on for long, or until the first error."""
    return guest.begin(
        f"fio --name=load --filename={device} {_COMMON} --bs=4k --size=32m"
        f" --iodepth=16 --rw={rw} --time_based --runtime={seconds}"
    )


def wait_for_io(guest: Guest, name: str) -> None:
    """Waits until a block device has completed some I/O since the call."""

    def completed() -> int:
        fields = guest.output(f"cat /sys/block/{name}/stat").split()
        return int(fields[0]) + int(fields[4])

    start = completed()
    guest.wait_until(lambda: completed() > start + 100, f"I/O on {name}")
