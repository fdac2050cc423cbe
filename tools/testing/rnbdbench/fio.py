# SPDX-License-Identifier: GPL-2.0-only
"""Jobs of fio."""

import json
from dataclasses import dataclass

from rnbdbench.commands import CommandFailed
from rnbdbench.commands import Job
from rnbdbench.guest import Guest

_COMMON = "--direct=1 --ioengine=io_uring --group_reporting --minimal"

EXTENT, SANITIZE_EXTENT = 32, 8
"""MiB of a device that are written by default; one takes a second on the sanitizing kernel."""


def verify(
    guest: Guest,
    device: str,
    block: str = "4k-1m",
    size: str = "",
    depth: int = 16,
    polled: bool = False,
    misaligned: int = 0,
) -> None:
    """Writes in random order, then reads everything back and compares checksums.

    `block` is a size or a range of sizes.  `polled` I/O has no interrupts.  Buffers start
    `misaligned` bytes after the start of a page.
    """
    sizes = f"--bsrange={block}" if "-" in block else f"--bs={block}"
    slow = guest.specification.kernel == "sanitize"
    size = size or f"{SANITIZE_EXTENT if slow else EXTENT}m"
    guest.run(
        f"fio --name=verify --filename={device} {_COMMON} {sizes} --size={size}"
        f" --iodepth={depth} --rw=randwrite --verify=crc32c --verify_fatal=1 --do_verify=1"
        f" --hipri={int(polled)} --iomem_align={misaligned}",
        timeout=120,
    )


def begin_load(
    guest: Guest, device: str, seconds: int = 600, rw: str = "randrw", depth: int = 16
) -> Job:
    """Starts I/O that runs for `seconds`, or until the first error.

    It runs in one process, as processes that fio forks leave its group and outlive `cancel`.
    """
    return guest.begin(
        f"fio --name=load --thread --filename={device} {_COMMON} --bs=4k --size=32m"
        f" --iodepth={depth} --rw={rw} --time_based --runtime={seconds}"
    )


@dataclass(frozen=True)
class Verify:
    """A job that `begin_verify` started."""

    guest: Guest
    job: Job
    stop: str
    """The file that makes the current pass the last one if it is not empty."""

    @property
    def running(self) -> bool:
        """Whether all I/O has succeeded and all data were right so far."""
        return self.job.running

    def end(self, timeout: float = 180.0) -> None:
        """Waits for the end of the current pass; raises if any I/O has failed."""
        error = self.guest.write(self.stop, "stop")
        assert error is None, f"{self.stop}: {error}"
        result = self.job.wait(timeout)
        if result.code != 0:
            raise CommandFailed(self.guest.name, result)


def begin_verify(
    guest: Guest,
    device: str,
    seconds: int = 1800,
    depth: int = 32,
    block: str = "4k-64k",
    polled: bool = False,
    pause: int = 0,
) -> Verify:
    """Starts to write a device in random order and to check it, pass after pass.

    It writes the whole device on the stock kernel, its start on the sanitizing one, for
    `seconds` or until `Verify.end`.  It ends early, with a code other than 0, if any I/O
    fails or data are not those written last: each pass checks its own seed, too.  After each
    request it pauses for `pause` milliseconds, which leaves the machine to others.
    """
    stop = f"/run/verify{device.replace('/', '-')}.stop"
    output = stop.removesuffix(".stop") + ".out"
    kernel = guest.specification.kernel
    extent = f" --size={SANITIZE_EXTENT}m" if kernel == "sanitize" else ""
    fio = (
        f"fio --name=verify --filename={device} {_COMMON} --bsrange={block} --iodepth={depth}"
        " --rw=randwrite --verify=crc32c --verify_fatal=1 --do_verify=1"
        f" --verify_header_seed=1 --randseed=$RANDOM$RANDOM --hipri={int(polled)}"
        f"{extent}"
    )
    if pause:
        fio += f" --thinktime={pause}ms"
    guest.run(f": > {stop}")
    job = guest.begin(
        f"while {{ {fio} > {output} 2>&1 || {{ cat {output}; exit 1; }}; }} &&"
        f" [[ ! -s {stop} && $SECONDS -lt {seconds} ]]; do :; done"
    )
    return Verify(guest, job, stop)


def read_blocks(guest: Guest, device: str, count: int, polled: bool = False) -> None:
    """Reads `count` blocks of 4 KiB, four at a time."""
    guest.run(
        f"fio --name=read --filename={device} {_COMMON} --bs=4k --iodepth=4 --rw=randread"
        f" --number_ios={count} --size={count * 4}k --hipri={int(polled)}",
        timeout=120,
    )


SLACK = 20_000.0
"""Microseconds by which two percentiles may differ for reasons of the machine."""


def slowest(guest: Guest, device: str, count: int = 200) -> float:
    """Reads blocks one after the other by the first CPU; returns the 99th percentile.

    That is the latency in microseconds.
    """
    text = guest.output(
        f"taskset -c 0 fio --name=slowest --filename={device} --direct=1 --ioengine=io_uring"
        f" --bs=4k --rw=randread --iodepth=1 --number_ios={count} --output-format=json"
    )
    read = json.loads(text[text.index("{") :])["jobs"][0]["read"]
    return float(read["clat_ns"]["percentile"]["99.000000"]) / 1000


def completed(guest: Guest, name: str) -> int:
    """Returns how many reads and writes a block device has completed."""
    fields = guest.read(f"/sys/block/{name}/stat").split()
    return int(fields[0]) + int(fields[4])


def wait_for_io(guest: Guest, name: str, timeout: float = 30.0) -> None:
    """Waits until a block device has completed 100 further reads and writes."""
    start = completed(guest, name)
    guest.wait_until(lambda: completed(guest, name) > start + 100, f"I/O on {name}", timeout)
