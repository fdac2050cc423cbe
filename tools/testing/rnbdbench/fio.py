# SPDX-License-Identifier: GPL-2.0-only
"""fio jobs."""

from dataclasses import dataclass

from rnbdbench.guest import CommandFailed
from rnbdbench.guest import Guest
from rnbdbench.guest import Job

_COMMON = "--direct=1 --ioengine=io_uring --group_reporting --minimal"

EXTENT = {"stock": 32, "sanitize": 8}
"""How much of a device is written unless told otherwise, in MiB; a second each on the latter."""


def verify(
    guest: Guest,
    device: str,
    block: str = "4k-1m",
    size: str = "",
    depth: int = 16,
    polled: bool = False,
    misaligned: int = 0,
) -> None:
    """Writes in random order, then reads all back and compares checksums.

    `block` is a size or a range of sizes.  `polled` I/O has no interrupts.  Buffers
    start so many bytes behind the start of a page.
    """
    sizes = f"--bsrange={block}" if "-" in block else f"--bs={block}"
    size = size or f"{EXTENT[guest.specification.kernel]}m"
    guest.run(
        f"fio --name=verify --filename={device} {_COMMON} {sizes} --size={size}"
        f" --iodepth={depth} --rw=randwrite --verify=crc32c --verify_fatal=1 --do_verify=1"
        f" --hipri={int(polled)} --iomem_align={misaligned}",
        timeout=120,
    )


def begin_load(
    guest: Guest, device: str, seconds: int = 600, rw: str = "randrw", depth: int = 16
) -> Job:
    """Starts I/O that goes on for long, or until the first error.

    In one process, as those that fio forks leave its group and outlive `cancel`.
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
    """The file that makes the pass under way the last when something is written to it."""

    @property
    def running(self) -> bool:
        """Whether no I/O has failed and no data differed so far."""
        return self.job.running

    def end(self, timeout: float = 180.0) -> None:
        """Waits for the end of the pass under way; fails when anything ever failed."""
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
) -> Verify:
    """Starts to write a device in random order and to check it, pass after pass.

    All of it on the stock kernel, its beginning on the sanitizing one.

    That goes on for so many seconds or until `Verify.end`.  It ends early, with
    a code other than 0, when any I/O fails or data are not those written last:
    each pass has a seed of its own, which is checked as well.
    """
    stop = f"/run/verify{device.replace('/', '-')}.stop"
    output = stop.removesuffix(".stop") + ".out"
    kernel = guest.specification.kernel
    extent = f" --size={EXTENT[kernel]}m" if kernel == "sanitize" else ""
    fio = (
        f"fio --name=verify --filename={device} {_COMMON} --bsrange={block} --iodepth={depth}"
        " --rw=randwrite --verify=crc32c --verify_fatal=1 --do_verify=1"
        f" --verify_header_seed=1 --randseed=$RANDOM$RANDOM --hipri={int(polled)}"
        f"{extent}"
    )
    guest.run(f": > {stop}")
    job = guest.begin(
        f"while {{ {fio} > {output} 2>&1 || {{ cat {output}; exit 1; }}; }} &&"
        f" [[ ! -s {stop} && $SECONDS -lt {seconds} ]]; do :; done"
    )
    return Verify(guest, job, stop)


def read_blocks(guest: Guest, device: str, count: int, polled: bool = False) -> None:
    """Reads so many blocks of 4 KiB, a few at a time."""
    guest.run(
        f"fio --name=read --filename={device} {_COMMON} --bs=4k --iodepth=4 --rw=randread"
        f" --number_ios={count} --size={count * 4}k --hipri={int(polled)}",
        timeout=120,
    )


def completed(guest: Guest, name: str) -> int:
    """How many reads and writes a block device has completed."""
    fields = guest.read(f"/sys/block/{name}/stat").split()
    return int(fields[0]) + int(fields[4])


def wait_for_io(guest: Guest, name: str, timeout: float = 30.0) -> None:
    """Waits until a block device has completed some I/O since the call."""
    start = completed(guest, name)
    guest.wait_until(lambda: completed(guest, name) > start + 100, f"I/O on {name}", timeout)
