# SPDX-License-Identifier: GPL-2.0-only
"""The table, as Markdown, as JSON and as a chart."""

import json
from dataclasses import dataclass

from speed import chart
from speed import compare
from speed.contenders import Contender
from speed.jobs import Job

MEANING = (
    "Instructions that one I/O takes, all of it on one processor: fio, block layer, client,\n"
    "soft-RoCE both ways, server, RAM disk. A ratio is ours divided by the other one's: below\n"
    "1.00 ours takes fewer, above 1.00 more. Y and N: `always_invalidate` of the server."
)


def row(cells: list[str]) -> str:
    """Returns a line of a table."""
    return f"| {' | '.join(cells)} |"


def table(header: list[str], lines: list[list[str]]) -> str:
    """Returns a table with text in the first column and numbers in the others."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(map(row, [header, rule, *lines]))


@dataclass(frozen=True)
class Report:
    """Measured figures, and their origin."""

    release: str
    commit: str
    jobs: list[Job]
    contenders: list[Contender]
    figures: compare.Figures

    def table(self) -> str:
        """Returns figures and ratios, with a dash for a missing figure."""
        ratios = [
            ratio
            for ratio in compare.RATIOS
            if any(ratio.value(row) is not None for row in self.figures.values())
        ]
        header = [
            "instructions per I/O",
            *(contender.title for contender in self.contenders),
            *(ratio.title for ratio in ratios),
        ]
        lines = []
        for job in self.jobs:
            found = self.figures.get(job.key, {})
            numbers = [found.get(contender.key) for contender in self.contenders]
            quotients = [ratio.value(found) for ratio in ratios]
            lines.append(
                [job.title]
                + ["–" if number is None else f"{number:.0f}" for number in numbers]
                + ["–" if quotient is None else f"{quotient:.2f}" for quotient in quotients]
            )
        return table(header, lines)

    @property
    def title(self) -> str:
        """What was measured."""
        return f"Instructions per I/O: commit {self.commit}, kernel {self.release}"

    def markdown(self) -> str:
        """Returns the report as Markdown."""
        return "\n\n".join([f"# {self.title}", self.table(), MEANING]) + "\n"

    def svg(self) -> str:
        """Returns the report as a chart."""
        return chart.svg(self.title, self.jobs, self.contenders, self.figures)

    def json(self, runs: list[compare.Figures]) -> str:
        """Returns the report as JSON, with every run."""
        return json.dumps(
            {
                "release": self.release,
                "commit": self.commit,
                "instructions_per_io": self.figures,
                "runs": runs,
                "ratios": {
                    ratio.title: {
                        job: value
                        for job, row in self.figures.items()
                        if (value := ratio.value(row)) is not None
                    }
                    for ratio in compare.RATIOS
                },
            },
            indent=2,
        )
