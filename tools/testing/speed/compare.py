# SPDX-License-Identifier: GPL-2.0-only
"""Arithmetic on measured figures."""

from dataclasses import dataclass

Figures = dict[str, dict[str, float]]
"""Instructions per I/O, by the keys of job and contender."""

TOLERANCE = 0.01
"""The relative difference of two equal runs at most."""


@dataclass(frozen=True)
class Ratio:
    """A column of the table: the cost of one contender relative to another."""

    title: str
    of: str
    to: str

    def value(self, row: dict[str, float]) -> float | None:
        """Returns the ratio in a row; None if one of the two was not measured."""
        dividend, divisor = row.get(self.of), row.get(self.to)
        if dividend is None or not divisor:
            return None
        return dividend / divisor


RATIOS = [
    Ratio("ours / C (Y)", "ours", "c"),
    Ratio("ours / C (N)", "ours-n", "c-n"),
    Ratio("ours (Y) / nvme", "ours", "nvme"),
]


def dearer(figures: Figures) -> list[str]:
    """Returns a line for each job that costs more with our drivers than with C, by default.

    By more than two runs of the same may be apart: what is less is not known.
    """
    ratio = RATIOS[0]
    found = {job: ratio.value(row) for job, row in figures.items()}
    return [
        f"{job}: {ratio.title} is {value:.2f}"
        for job, value in found.items()
        if value is not None and value > 1 + TOLERANCE
    ]


def mean(runs: list[Figures]) -> Figures:
    """Returns the mean of the figures that all runs have."""
    return {
        job: {
            key: sum(run[job][key] for run in runs) / len(runs)
            for key in row
            if all(key in run[job] for run in runs)
        }
        for job, row in runs[0].items()
    }


def disagreements(runs: list[Figures]) -> list[str]:
    """Returns a line for each figure that differs between runs by more than `TOLERANCE`."""
    lines = []
    for job, row in mean(runs).items():
        for key in row:
            values = [run[job][key] for run in runs]
            least, most = min(values), max(values)
            if most - least > TOLERANCE * least:
                seen = ", ".join(f"{value:.0f}" for value in values)
                lines.append(f"{job} of {key}: {seen} ({most / least - 1:.1%} apart)")
    return lines
