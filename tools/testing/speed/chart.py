# SPDX-License-Identifier: GPL-2.0-only
"""A bar chart of the table, as SVG."""

from xml.sax.saxutils import escape

from speed import compare
from speed.contenders import Contender
from speed.jobs import Job

COLOURS = {"c": "#9aa5b1", "ours": "#c4532d", "nvme": "#4a6b8a"}
"""Contenders that the chart shows, with the colours of their bars."""

WIDTH = 720
NAME = 150
"""Width of the names of jobs, in pixels, as all lengths here."""
NUMBER = 70
"""Width of the number behind the longest bar."""
BAR = 13
GAP = 12
"""Height between the bars of two jobs."""
TOP = 52
"""Height of title and key."""

STYLE = (
    "text { font: 12px sans-serif; fill: #333 } .title { font-weight: bold; font-size: 14px }"
    " .number { font-size: 11px } @media (prefers-color-scheme: dark) { text { fill: #ddd } }"
)


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{kind}>{escape(text)}</text>'


def _bar(x: float, y: float, width: float, colour: str) -> str:
    return f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.1f}" height="{BAR - 2}" fill="{colour}"/>'


def _key(shown: list[Contender]) -> list[str]:
    parts = []
    x = NAME
    for contender in shown:
        parts += [_bar(x, 30, BAR, COLOURS[contender.key]), _text(x + 18, 40, contender.title)]
        x += 40 + 7 * len(contender.title)
    return parts


def svg(
    title: str, jobs: list[Job], contenders: list[Contender], figures: compare.Figures
) -> str:
    """Returns the chart: for each job a bar for each contender that was measured."""
    shown = [contender for contender in contenders if contender.key in COLOURS]
    most = max(
        (figures.get(job.key, {}).get(each.key, 0) for job in jobs for each in shown), default=0
    )
    parts = [_text(0, 16, title, "title"), *_key(shown)]
    y = TOP
    for job in jobs:
        parts.append(_text(0, y + BAR * len(shown) / 2 + 3, job.title))
        for contender in shown:
            number = figures.get(job.key, {}).get(contender.key)
            if number is not None:
                width = number / most * (WIDTH - NAME - NUMBER)
                parts.append(_bar(NAME, y, width, COLOURS[contender.key]))
                parts.append(_text(NAME + width + 5, y + 10, f"{number:.0f}", "number"))
            y += BAR
        y += GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img">'
    # The chart of README.md is a file of the tree, each of which has its licence.
    licence = "<!-- SPDX-License-Identifier: GPL-2.0-only -->"
    return "\n".join([head, licence, f"<style>{STYLE}</style>", *parts, "</svg>"]) + "\n"
