# SPDX-License-Identifier: GPL-2.0-only
"""The report about cache lines that pass from processor to processor."""

import json
from collections import Counter

from speed import profile
from speed.parallel import ParallelJob
from speed.report import table
from speed.sharing import GROUPS
from speed.sharing import MODULES
from speed.sharing import REST
from speed.sharing import Sharing

Found = dict[str, dict[str, Sharing]]
"""Transfers by the keys of job and contender."""

MEANING = (
    "Transfers of a cache line from one processor to another, per I/O: reads of a line that\n"
    "another processor has, and writes of a line that another one has."
)

TOP = 15
"""The number of functions and of lines that a table has."""


def mean(runs: list[Found]) -> Found:
    """Returns the mean of runs; lines, which have other addresses in each, are of the first."""
    found: Found = {job: {} for job in runs[0]}
    for job, row in runs[0].items():
        for title in row:
            each = [run[job][title] for run in runs if title in run.get(job, {})]
            both = Sharing(lines=each[0].lines)
            for name in ("parts", "reads", "writes", "sites"):
                counts: Counter[str] = getattr(both, name)
                for sharing in each:
                    for key, times in getattr(sharing, name).items():
                        counts[key] += times / len(each)
            found[job][title] = both
    return found


def summary(asked: list[ParallelJob], found: Found) -> str:
    """Returns the summary: a line for each job, with the contenders side by side."""
    titles = list(dict.fromkeys(title for job in asked for title in found[job.key]))
    groups = [*GROUPS, REST]
    lines = []
    for job in asked:
        each = [found[job.key].get(title) for title in titles]
        columns = [[f"{sharing.total:.0f}" if sharing else "–" for sharing in each]]
        columns += [
            [f"{sharing.groups[group]:.1f}" if sharing else "–" for sharing in each]
            for group in groups
        ]
        lines.append([job.title, *(" / ".join(column) for column in columns)])
    header = ["transfers per I/O", "all", *groups]
    return f"{' / '.join(titles)}\n\n" + table(header, lines)


def agreement(asked: list[ParallelJob], runs: list[Found]) -> str:
    """Returns a table of what each run has found, all and in the modules."""
    titles = list(dict.fromkeys(title for job in asked for title in runs[0][job.key]))
    lines = []
    for job in asked:
        cells = []
        for title in titles:
            each = [run[job.key][title] for run in runs if title in run[job.key]]
            everything = ", ".join(f"{sharing.total:.0f}" for sharing in each)
            modules = ", ".join(f"{sharing.groups['in the modules']:.1f}" for sharing in each)
            cells += [everything, modules]
        lines.append([job.title, *cells])
    header = [word for title in titles for word in (title, "in the modules")]
    return "Each run:\n\n" + table(["transfers per I/O", *header], lines)


def _functions(sharing: Sharing, own: bool) -> str:
    """Returns the functions of the modules, or the other ones, that cause most transfers."""
    lines = [
        [f"`{name}`", f"{times:.2f}", f"{sharing.reads[name]:.2f}", f"{sharing.writes[name]:.2f}"]
        for name, times in sharing.functions.most_common()
        if (profile.part_of(name) in MODULES) == own
    ]
    header = ["functions of the modules" if own else "other functions", "all", "reads", "writes"]
    return table(header, lines[:TOP])


def _lines(sharing: Sharing, own: bool) -> str:
    """Returns the lines that are transferred most, with the functions that do that.

    `own` ones are those that the modules touch.
    """
    lines = []
    for line in [line for line in sharing.lines if bool(line.own) == own][:TOP]:
        causes = [f"`{name}` {times:.2f}" for name, times in line.functions.items()]
        lines.append([f"`{line.place}`: {', '.join(causes[:8])}", f"{line.transfers:.2f}"])
    title = "cache lines that the modules touch" if own else "other cache lines"
    return table([title, "transfers"], lines)


def markdown(title: str, asked: list[ParallelJob], runs: list[Found]) -> str:
    """Returns the report: the summary, and a chapter for each job."""
    found = mean(runs)
    chapters = [summary(asked, found)]
    if len(runs) > 1:
        chapters.append(agreement(asked, runs))
    for job in asked:
        for name, sharing in found[job.key].items():
            chapters += [
                f"## {job.title}: {name}",
                _functions(sharing, own=True),
                _functions(sharing, own=False),
                _lines(sharing, own=True),
                _lines(sharing, own=False),
            ]
    return "\n\n".join([f"# {title}", MEANING, *chapters]) + "\n"


def _plain(found: Found) -> dict[str, object]:
    return {
        job: {
            title: {
                "all": sharing.total,
                "groups": sharing.groups,
                **vars(sharing),
                "lines": [vars(line) for line in sharing.lines],
            }
            for title, sharing in row.items()
        }
        for job, row in found.items()
    }


def as_json(runs: list[Found]) -> str:
    """Returns the report as JSON: each run, with all functions and instructions."""
    return json.dumps([_plain(run) for run in runs], indent=1)
