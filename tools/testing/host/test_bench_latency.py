# SPDX-License-Identifier: GPL-2.0-only
"""Latencies that `make bench OPTIONS=--latency` reads from fio's report."""

import json

import pytest

from speed import jobs
from speed import latency


def report(requests: int = latency.REQUESTS, error: int = 0) -> str:
    """Returns a report of fio about the probe and its neighbour, whose latencies are others."""

    def job(name: str, requests: int, scale: int, error: int) -> dict[str, object]:
        percentile = {"50.000000": scale, "99.000000": 2 * scale, "99.900000": 3 * scale}
        read = {"total_ios": requests, "lat_ns": {"percentile": percentile}}
        return {"jobname": name, "error": error, "read": read, "write": {"total_ios": 0}}

    load = job("load", 3 * latency.REQUESTS, 7, error)
    return json.dumps({"jobs": [load, job("probe", requests, 90000, 0)]})


def test_percentiles_are_those_of_the_probe() -> None:
    found = latency.parse(f"fio: a note\n{report()}")
    assert found.percentiles == {50.0: 90000, 99.0: 180000, 99.9: 270000}
    assert str(found) == "90 / 180 / 270 (3.0)"


@pytest.mark.parametrize(
    "output", [report(requests=latency.REQUESTS - 1), report(error=5), '{"jobs": []}', "fio: no"]
)
def test_a_probe_that_did_not_run_has_no_latency(output: str) -> None:
    with pytest.raises(jobs.Unusable):
        latency.parse(output)


def test_a_neighbour_runs_until_the_probe_has_ended() -> None:
    """It uses the other device."""
    (job,) = latency.chosen(["64k-randwrite"])
    command = job.command(["/dev/one", "/dev/two"])
    probe, _, load = command.partition("--name=load ")
    assert "--filename=/dev/one" in probe and "--exitall" in probe
    assert "--filename=/dev/two" in load and "--rw=randwrite --bs=64k --iodepth=32" in load


def test_the_table_has_a_dash_for_what_was_not_measured() -> None:
    alone, beside = latency.JOBS[:2]
    taken = latency.Latency(dict.fromkeys(latency.PERCENTILES, 5000.0), beside=0.0)
    found = {alone.key: {"C": taken}, beside.key: {}}
    text = latency.summary([alone, beside], found)
    assert "| alone | 5 / 5 / 5 |" in text
    assert f"| {beside.title} | – |" in text
