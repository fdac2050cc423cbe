# SPDX-License-Identifier: GPL-2.0-only
"""The fio jobs that are measured, and their reports."""

import json
from dataclasses import dataclass
from statistics import median

from rnbdbench.guest import Guest

PATIENCE = 300.0
"""Seconds that a job may take on an idle machine."""

RUNS = 3
"""The number of runs of a job for one figure."""


class Unusable(Exception):
    """A job ended without a valid figure."""


@dataclass(frozen=True)
class Job:
    """I/O of one kind, on a whole device."""

    block: int
    """KiB of a request."""
    rw: str
    """`randread` or `randwrite`."""
    depth: int
    """The number of requests in flight."""

    @property
    def key(self) -> str:
        """Its name on the command line."""
        return f"{self.block}k-{self.rw}-qd{self.depth}"

    @property
    def title(self) -> str:
        """Its name in tables."""
        return f"{self.block}k {self.rw} QD{self.depth}"

    def requests(self, cheap: bool) -> int:
        """The number of requests to measure.

        fio counts time in milliseconds, which are a million instructions each.
        So many requests take at least 300 of them; `cheap` ones are those that
        pass no network.
        """
        if cheap:
            return 40000 if self.block < 64 else 10000
        return 5000 if self.block < 64 else 2000

    def command(self, device: str, requests: int) -> str:
        """Returns the command that runs it."""
        return (
            f"fio --name=job --filename={device} --direct=1 --ioengine=io_uring"
            f" --bs={self.block}k --rw={self.rw} --iodepth={self.depth} --norandommap"
            f" --io_size={requests * self.block}k --output-format=json"
        )


JOBS = [
    Job(block, rw, depth)
    for block in (4, 64)
    for rw in ("randread", "randwrite")
    for depth in (1, 32)
]
"""All jobs, in the order of the table."""


def chosen(words: list[str]) -> list[Job]:
    """Returns the jobs with one of the words in their keys, or all if there are no words.

    >>> [job.key for job in chosen(["4k-randread"])]
    ['4k-randread-qd1', '4k-randread-qd32']
    """
    return [
        job
        for job in JOBS
        if not words or any(f"-{word}-" in f"-{job.key}-" for word in words)
    ]


def milliseconds(output: str, requests: int) -> float:
    """Parses a report of fio: how long it took.

    `Unusable` when a request failed, or another number of them ran.
    """
    try:
        # Notes may stand above the object.
        (job,) = json.loads(output[output.index("{") :])["jobs"]
        sides = [job["read"], job["write"]]
        done = sum(side["total_ios"] for side in sides)
        time: float = sum(side["runtime"] for side in sides)
        error = job["error"]
    except (ValueError, KeyError, TypeError) as problem:
        raise Unusable(f"fio printed something else than its report: {problem!r}") from problem
    if error:
        raise Unusable(f"fio says error {error}")
    if done != requests:
        raise Unusable(f"{done} requests ran instead of {requests}")
    if time <= 0:
        raise Unusable("fio saw no time pass")
    return time


def instructions_per_io(output: str, requests: int) -> float:
    """Parses a report of fio: nanoseconds between two requests.

    In a guest that counts, those are instructions.
    """
    return milliseconds(output, requests) * 1e6 / requests


def run(guest: Guest, device: str, job: Job, requests: int) -> float:
    """Runs a job with `requests` requests; returns the instructions of one."""
    output = guest.run(job.command(device, requests), timeout=PATIENCE * guest.patience).stdout
    return instructions_per_io(output, requests)


def measure(guest: Guest, device: str, job: Job, cheap: bool) -> float:
    """Measures a job: the median of a few runs.

    What is in batches falls into one pattern or another now and then.
    """
    return median(run(guest, device, job, job.requests(cheap)) for _ in range(RUNS))
