# SPDX-License-Identifier: GPL-2.0-only
"""The evaluation of figures by `make bench`."""

import json
from xml.etree import ElementTree

import pytest

from speed import compare
from speed import contenders
from speed import jobs
from speed.report import Report

READ = jobs.JOBS[0]


def fio(requests: int = 5000, milliseconds: int = 600, error: int = 0) -> str:
    """Returns a report of fio about reads."""
    idle = {"total_ios": 0, "runtime": 0}
    job = {"error": error, "read": {"total_ios": requests, "runtime": milliseconds}, "write": idle}
    return json.dumps({"fio version": "fio-3.39", "jobs": [job]})


def test_a_nanosecond_is_an_instruction() -> None:
    assert jobs.instructions_per_io(fio(), 5000) == 120000


def test_lines_before_the_report_are_ignored() -> None:
    assert jobs.instructions_per_io(f"fio: a note\n{fio()}", 5000) == 120000


@pytest.mark.parametrize(
    "output",
    [
        fio(error=5),
        fio(requests=4999),
        fio(milliseconds=0),
        '{"jobs": []}',
        '{"jobs": [{"error": 0}]}',
        "fio: failed opening /dev/rnbd0",
        "",
    ],
    ids=["error", "too few", "no time", "no job", "no sides", "no report", "nothing"],
)
def test_invalid_measurements_are_refused(output: str) -> None:
    with pytest.raises(jobs.Unusable):
        jobs.instructions_per_io(output, 5000)


def test_jobs_are_chosen_by_parts_of_their_names() -> None:
    assert jobs.chosen([]) == jobs.JOBS
    # 64k is another word than 4k.
    assert {job.block for job in jobs.chosen(["4k"])} == {4}
    assert [job.key for job in jobs.chosen(["4k-randwrite"])] == [
        "4k-randwrite-qd1",
        "4k-randwrite-qd32",
    ]
    assert jobs.chosen(["1m"]) == []


def test_contenders_keep_the_order_of_the_table() -> None:
    keys = [contender.key for contender in contenders.chosen(["ours", "ram0"])]
    assert keys == ["ram0", "ours"]
    assert contenders.chosen([]) == contenders.CONTENDERS
    with pytest.raises(KeyError):
        contenders.chosen(["theirs"])


def test_ratio_is_ours_by_theirs() -> None:
    ratio = compare.Ratio("ours / C (Y)", "ours", "c")
    assert ratio.value({"ours": 60.0, "c": 80.0}) == 0.75
    assert ratio.value({"ours": 60.0}) is None
    assert ratio.value({}) is None


def test_runs_agree_within_a_hundredth() -> None:
    first = {READ.key: {"c": 100000.0, "ours": 100000.0}}
    near = {READ.key: {"c": 101000.0, "ours": 100000.0}}
    far = {READ.key: {"c": 100000.0, "ours": 98900.0}}
    assert compare.disagreements([first]) == []
    assert compare.disagreements([first, near]) == []
    (line,) = compare.disagreements([first, near, far])
    assert line.startswith(f"{READ.key} of ours: 100000, 100000, 98900 (1.1% apart)"), line
    assert compare.mean([first, near]) == {READ.key: {"c": 100500.0, "ours": 100000.0}}


def test_figures_that_a_run_lacks_are_left_out() -> None:
    """A contender that failed once has no mean, and agrees with nothing."""
    whole = {READ.key: {"c": 100000.0, "ours": 100000.0}}
    part = {READ.key: {"c": 100000.0}}
    assert compare.mean([whole, part]) == part
    assert compare.mean([part, whole]) == part
    assert compare.disagreements([whole, part]) == []


def test_table_has_a_dash_for_what_was_not_measured() -> None:
    figures = {READ.key: {"c": 80000.0, "ours": 60000.0}}
    both = contenders.chosen(["c", "ours", "nvme"])
    report = Report("7.3.4", "c0ffee", [READ], both, figures)
    *_, line = report.table().splitlines()
    assert line == "| 4k randread QD1 | – | 80000 | 60000 | 0.75 |"
    assert json.loads(report.json([figures]))["ratios"]["ours / C (Y)"] == {READ.key: 0.75}


def test_chart_has_a_bar_for_each_figure() -> None:
    """As long as the figure, and none for what was not measured."""
    figures = {READ.key: {"c": 80000.0, "ours": 60000.0, "ours-n": 50000.0}}
    report = Report("7.3.4", "c0ffee & more", jobs.JOBS[:2], contenders.CONTENDERS, figures)
    chart = ElementTree.fromstring(report.svg())
    namespace = "{http://www.w3.org/2000/svg}"
    texts = [each.text for each in chart.iter(f"{namespace}text")]
    assert report.title in texts
    assert {"80000", "60000", jobs.JOBS[0].title, jobs.JOBS[1].title} <= {*texts}
    # Three squares of the key come first.
    bars = [float(each.get("width", 0)) for each in chart.iter(f"{namespace}rect")][3:]
    assert len(bars) == 2
    assert bars[1] / bars[0] == pytest.approx(0.75, rel=0.01)


def test_a_job_that_costs_more_than_with_c_is_named() -> None:
    """By more than runs are apart; others are not looked at."""
    figures = {
        "less": {"ours": 99.0, "c": 100.0, "ours-n": 120.0, "c-n": 100.0},
        "same": {"ours": 100.9, "c": 100.0},
        "more": {"ours": 101.1, "c": 100.0},
        "alone": {"ours": 100.0},
    }
    assert compare.dearer(figures) == ["more: ours / C (Y) is 1.01"]
