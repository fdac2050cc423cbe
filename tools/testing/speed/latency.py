# SPDX-License-Identifier: GPL-2.0-only
"""How long a request takes beside others: percentiles of a probe with one request in flight."""

import json
from dataclasses import asdict
from dataclasses import dataclass

from rnbdbench.guest import Guest
from speed import jobs
from speed.report import table

PERCENTILES = (50.0, 99.0, 99.9)

REQUESTS = 2000
"""The number of requests of a probe: two of them are above the highest percentile."""

DEVICES = 2
"""The device of the probe, and that of its neighbour."""

MEANING = (
    "Latency of a read of 4 KiB with one request in flight, in thousands of instructions that the\n"
    "one processor executes from its submission to its completion: percentiles "
    f"{', '.join(f'{each:g}' for each in PERCENTILES)}.\n"
    "In parentheses: requests of the neighbour meanwhile."
)


@dataclass(frozen=True)
class Latency:
    """What was measured of a probe."""

    percentiles: dict[float, float]
    """Nanoseconds, which are instructions where the guest counts, by percentile."""
    beside: float
    """The number of requests of the neighbour for each of the probe."""

    def __str__(self) -> str:
        """Returns the percentiles, in thousands."""
        text = " / ".join(f"{self.percentiles[each] / 1000:.0f}" for each in PERCENTILES)
        return f"{text} ({self.beside:.1f})" if self.beside else text


Found = dict[str, dict[str, Latency]]
"""Latencies by the key of the job and the title of the contender."""


@dataclass(frozen=True)
class ProbeJob:
    """A probe, and what the same session or controller does for another device meanwhile."""

    neighbour: jobs.Job | None
    """The load, or none."""

    @property
    def key(self) -> str:
        """Its name on the command line."""
        return f"beside-{self.neighbour.key}" if self.neighbour else "alone"

    @property
    def title(self) -> str:
        """Its name in tables."""
        return f"beside {self.neighbour.title}" if self.neighbour else "alone"

    def command(self, nodes: list[str]) -> str:
        """Returns the command that runs it; the load ends with the probe."""
        probed, loaded = nodes
        common = (
            "fio --direct=1 --ioengine=io_uring --norandommap --lat_percentiles=1"
            f" --percentile_list={':'.join(map(str, PERCENTILES))} --output-format=json"
        )
        probe = (
            f"--name=probe --filename={probed} --rw=randread --bs=4k --iodepth=1"
            f" --io_size={REQUESTS * 4}k --exitall"
        )
        if self.neighbour is None:
            return f"{common} {probe}"
        load = (
            f"--name=load --filename={loaded} --rw={self.neighbour.rw}"
            f" --bs={self.neighbour.block}k --iodepth={self.neighbour.depth}"
            " --time_based --runtime=3600"
        )
        return f"{common} {probe} {load}"

    def run(self, guest: Guest, nodes: list[str]) -> Latency:
        """Runs it."""
        command = self.command(nodes)
        return parse(guest.run(command, timeout=jobs.PATIENCE * guest.patience).stdout)


JOBS = [ProbeJob(None), *(ProbeJob(job) for job in jobs.JOBS if job.depth > 1)]
"""All jobs, in the order of the table."""


def chosen(words: list[str]) -> list[ProbeJob]:
    """Returns the jobs with one of the words in their keys, or all if there are no words.

    >>> [job.key for job in chosen(["alone", "64k"])]
    ['alone', 'beside-64k-randread-qd32', 'beside-64k-randwrite-qd32']
    """
    return [
        job
        for job in JOBS
        if not words or any(f"-{word}-" in f"-{job.key}-" for word in words)
    ]


def parse(output: str) -> Latency:
    """Returns the latency of the probe in a report of fio.

    `jobs.Unusable` when a request failed, or another number of them ran.
    """
    try:
        found = json.loads(output[output.index("{") :])["jobs"]
        (probe,) = (job for job in found if job["jobname"] == "probe")
        latency = probe["read"]["lat_ns"]
        done = probe["read"]["total_ios"]
        percentiles = {each: float(latency["percentile"][f"{each:.6f}"]) for each in PERCENTILES}
        total = sum(job[side]["total_ios"] for job in found for side in ("read", "write"))
        errors = [job["error"] for job in found if job["error"]]
    except (ValueError, KeyError, TypeError) as problem:
        raise jobs.Unusable(f"fio printed something else than its report: {problem!r}") from problem
    if errors:
        raise jobs.Unusable(f"fio says error {errors[0]}")
    if done != REQUESTS:
        raise jobs.Unusable(f"{done} requests ran instead of {REQUESTS}")
    return Latency(percentiles, (total - done) / done)


def summary(asked: list[ProbeJob], found: Found) -> str:
    """Returns the table: a line for each job, a column for each contender."""
    titles = list(dict.fromkeys(title for job in asked for title in found[job.key]))
    lines = [
        [
            job.title,
            *(str(found[job.key].get(each, "–")) for each in titles),
        ]
        for job in asked
    ]
    return f"{MEANING}\n\n" + table(["4k randread QD1", *titles], lines)


def markdown(title: str, asked: list[ProbeJob], runs: list[Found]) -> str:
    """Returns the report: a table for each run."""
    return f"# {title}\n\n" + "\n\n".join(summary(asked, run) for run in runs) + "\n"


def as_json(runs: list[Found]) -> str:
    """Returns the figures."""
    return json.dumps(runs, indent=1, default=asdict) + "\n"
