# SPDX-License-Identifier: GPL-2.0-only
"""The fio jobs that several processors do at the same time."""

from dataclasses import dataclass

from rnbdbench.guest import Guest
from speed import jobs
from speed import machine

DEVICES = 4
"""The number of devices of a guest."""


@dataclass(frozen=True)
class ParallelJob:
    """Requests of 4 KiB from several processes, each with one in flight.

    With one in flight each request crosses all hand-overs by itself: batches, whose size is a
    matter of chance, would share them.
    """

    rw: str
    """`randread` or `randwrite`."""
    processes: int
    """How many there are for each device."""
    devices: int = 1

    @property
    def key(self) -> str:
        """Its name on the command line."""
        return f"4k-{self.rw}-{self.processes}x{self.devices}"

    @property
    def title(self) -> str:
        """Its name in tables."""
        if self.devices > 1:
            return f"4k {self.rw}, {self.devices} devices, 1 job each"
        return f"4k {self.rw}, {self.processes} job{'s' * (self.processes > 1)}"

    def command(self, nodes: list[str], requests: int) -> str:
        """Returns the command that runs it, with that many requests altogether.

        Each process stays on its processor, so that it is not chance which one submits.
        """
        each = requests // (self.processes * self.devices)
        common = (
            "fio --direct=1 --ioengine=io_uring --bs=4k --iodepth=1 --norandommap"
            f" --rw={self.rw} --io_size={each * 4}k --numjobs={self.processes}"
            f" --cpus_allowed=0-{machine.CPUS - 1} --cpus_allowed_policy=split"
            " --group_reporting --output-format=json"
        )
        named = [f"--name={node[5:]} --filename={node}" for node in nodes[: self.devices]]
        return " ".join([common, *named])

    def run(self, guest: Guest, nodes: list[str], requests: int) -> None:
        """Runs it, with that many requests altogether."""
        command = self.command(nodes, requests)
        output = guest.run(command, timeout=jobs.PATIENCE * guest.patience).stdout
        jobs.milliseconds(output, requests)


JOBS = [
    ParallelJob(rw, processes, devices)
    for rw in ("randread", "randwrite")
    for processes, devices in ((1, 1), (4, 1), (16, 1), (1, DEVICES))
]
"""All jobs, in the order of the table."""


def chosen(words: list[str]) -> list[ParallelJob]:
    """Returns the jobs with one of the words in their keys, or all if there are no words.

    >>> [job.key for job in chosen(["randread", "16x1"])][2:]
    ['4k-randread-16x1', '4k-randread-1x4', '4k-randwrite-16x1']
    """
    return [
        job
        for job in JOBS
        if not words or any(f"-{word}-" in f"-{job.key}-" for word in words)
    ]
