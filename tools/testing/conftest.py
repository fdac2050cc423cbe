# SPDX-License-Identifier: GPL-2.0-only
"""The bench as a plugin of pytest: options, fixtures, distribution, results.

A test that asks for one of `combinations.GUESTS` gets guests.  Marks say with which kernels
and which drivers it runs:

    @pytest.mark.kernels("stock", "sanitize")
    @pytest.mark.drivers("rust-c", "c-rust", "rust-rust")   # client-server
    @pytest.mark.fabrics("rxe", "siw")
    @pytest.mark.cpus(4)                                    # of `loopback`, for a whole file
    @pytest.mark.parameters("ipv6.disable=1")               # of `pair`, for a whole file

Without marks: Rust on both sides, over soft-RoCE, on the stock kernel, and with
`--long` on the sanitizing one as well, where everything takes ten times as long.
Soft iWARP is for Rust on both sides, and with `--long` only.  So are the C drivers on both
sides, and those that a mark names once more:

    @pytest.mark.drivers("rust-c", "c-rust", long=["rust-c"])

A pair of guests has different kernels with a mark such as

    @pytest.mark.kernels("7.3-arm64+stock")   # initiator+target

With `-n 2`, tests run in two processes (`rnbdbench/schedule.py`), the workers of
pytest-xdist; the process that was started only distributes them and reports.
"""

import os
import re
from collections.abc import Generator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rnbdbench import combinations
from rnbdbench import settings
from rnbdbench.debian import Debians
from rnbdbench.lab import Lab
from rnbdbench.lab import Pair
from rnbdbench.logs import LogFolder
from rnbdbench.rnbd import Device
from rnbdbench.schedule import Batch
from rnbdbench.schedule import Scheduler
from rnbdbench.schedule import processor_policy
from rnbdbench.specification import CPUS

ORDER = ["static", "host", "loopback", "pair"]
"""Folders, the cheap tests first."""

_items_key = pytest.StashKey[list[pytest.Item]]()
_lab_key = pytest.StashKey[Lab]()
_last_key = pytest.StashKey[bool]()
_logs_key = pytest.StashKey[LogFolder]()
_long_key = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the bench's own options."""
    group = parser.getgroup("bench")
    group.addoption("--long", action="store_true", help="run the tests that take long, too")
    group.addoption("--kernel", help="run guests with this kernel only")
    group.addoption("--drivers", help="run guests with these drivers (client-server) instead")
    group.addoption("--fabric", help="run guests with this kind of RDMA (rxe, siw) only")


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marks."""
    config.addinivalue_line("markers", "long: takes minutes; runs with --long only")
    config.addinivalue_line("markers", "kernels(name, …): kernels to run on")
    config.addinivalue_line("markers", "drivers(client-server, …): driver sets to run with")
    config.addinivalue_line("markers", "fabrics(name, …): kinds of RDMA to run over")
    config.addinivalue_line("markers", "cpus(number): CPUs of the guest, for tests with one")
    config.addinivalue_line("markers", "parameters(word, …): kernel parameters, for a pair")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Makes one test for each combination of kernel, drivers and fabric."""
    combinations.parametrize(metafunc)


def _rank(item: pytest.Item) -> tuple[int, str, int]:
    folder = ORDER.index(item.path.relative_to(settings.TESTING).parts[0])
    guests = combinations.guests(item)
    if not guests:
        return folder, "", 0
    fixture, *parameters = guests
    # Stock before sanitize, and tests with the same guests next to each other.
    return folder, "-".join(parameters).replace("stock", "0"), combinations.GUESTS.index(fixture)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sorts the tests, and leaves out long tests and those that `--kernel` leaves no guests.

    It runs after `-k` and the like, so it counts the long tests among those selected.
    """
    items[:] = [item for item in items if combinations.guests(item) != ()]
    items.sort(key=_rank)
    if not config.getoption("long"):
        long = [item for item in items if item.get_closest_marker("long")]
        config.stash[_long_key] = len(long)
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def _batch_key(item: pytest.Item) -> tuple[object, ...]:
    """Returns the key of a test's batch: its file and its guests."""
    return item.path, combinations.guests(item)


def _batches(items: list[pytest.Item]) -> list[Batch]:
    """Returns all batches: those without guests first, then those that take longest."""
    batches: dict[object, Batch] = {}
    for index, item in enumerate(items):
        guests = combinations.guests(item)
        # Two guests of the sanitizing kernel take all of two processors.
        alone = guests is not None and guests[0] != "loopback" and "sanitize" in guests
        batch = batches.setdefault(_batch_key(item), Batch(guests, alone))
        batch.tests.append(index)

    def cost(batch: Batch) -> tuple[int, ...]:
        if batch.guests is None:
            return (1,)
        return 0, "sanitize" in batch.guests, "loopback" not in batch.guests, len(batch.tests)

    return sorted(batches.values(), key=cost, reverse=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> bool | None:
    """Collects the tests in the process that distributes them, too: it makes the batches."""
    if not session.config.pluginmanager.hasplugin("dsession"):
        return None
    items = session.perform_collect()
    if session.testsfailed:
        raise session.Interrupted(f"{session.testsfailed} errors during collection")
    session.config.stash[_items_key] = list(items)
    return True


def pytest_xdist_make_scheduler(config: pytest.Config) -> Scheduler:
    """Makes pytest-xdist use the scheduler of the bench."""
    items = config.stash[_items_key]
    names = [item.nodeid for item in items]
    return Scheduler(names, _batches(items), len(config.getoption("tx")))


def _logs(config: pytest.Config) -> Path:
    """Returns the folder for the logs of this run."""
    if _logs_key not in config.stash:
        config.stash[_logs_key] = LogFolder(settings.LOGS)
    return config.stash[_logs_key].path


def pytest_configure_node(node: Any) -> None:
    """Sends a worker the path of the folder for logs."""
    node.workerinput["logs"] = str(_logs(node.config))


@pytest.fixture(scope="session")
def lab(pytestconfig: pytest.Config) -> Iterator[Lab]:
    """The guests of the whole run, or of one worker."""
    worker = getattr(pytestconfig, "workerinput", None)
    made = Lab(Path(worker["logs"]), worker["workerid"]) if worker else Lab(_logs(pytestconfig))
    pytestconfig.stash[_lab_key] = made
    yield made
    made.close()


def _require(kernel: str) -> None:
    for name in settings.ends(kernel):
        if name not in settings.available_kernels():
            pytest.skip(f"no kernel {name} is prepared")


@pytest.fixture
def loopback(lab: Lab, request: pytest.FixtureRequest) -> Pair:
    """One guest that is both initiator and target."""
    kernel, client, server, fabric = request.param
    _require(kernel)
    assert client == server, "one guest cannot hold two driver sets"
    mark = request.node.get_closest_marker("cpus")
    return lab.loopback(kernel, client, fabric, cpus=mark.args[0] if mark else CPUS)


@pytest.fixture
def pair(lab: Lab, request: pytest.FixtureRequest) -> Pair:
    """Two guests joined by a cable."""
    kernel, client, server, fabric = request.param
    _require(kernel)
    mark = request.node.get_closest_marker("parameters")
    return lab.pair(kernel, client, server, fabric, parameters=mark.args if mark else ())


@pytest.fixture
def two_links(lab: Lab, request: pytest.FixtureRequest) -> Pair:
    """Two guests joined by two cables, each a subnet of its own."""
    kernel, client, server, fabric = request.param
    _require(kernel)
    return lab.pair(kernel, client, server, fabric, cables=2)


@pytest.fixture
def debians(lab: Lab, request: pytest.FixtureRequest) -> Debians:
    """Two Debian machines joined by a cable, with the packages of build/deb."""
    kernel, client, server, fabric = request.param
    assert (kernel, client, server, fabric) == ("stock", "rust", "rust", "rxe"), request.param
    return lab.debians()


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Device:
    """A RAM disk of the target, mapped; the server and the client are loaded for it."""
    (guests,) = (name for name in combinations.GUESTS if name in request.fixturenames)
    bench: Pair = request.getfixturevalue(guests)
    return bench.map()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Notes whether a test is the last one of its batch."""
    item.stash[_last_key] = nextitem is None or _batch_key(nextitem) != _batch_key(item)
    if hasattr(item.config, "workerinput"):
        os.sched_setscheduler(0, processor_policy(item.path), os.sched_param(0))
    return (yield)


def _finish(item: pytest.Item, failed: bool) -> str:
    """Ends the use of guests by a test; returns a description of all problems."""
    lab = item.config.stash.get(_lab_key, None)
    name = re.sub(r"[^\w.=-]+", "_", item.nodeid.removesuffix("]"))
    return lab.finish(name, failed, item.stash[_last_key]) if lab else ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Replaces guests that a fixture has failed to prepare."""
    try:
        yield
    except pytest.skip.Exception:
        raise
    except BaseException:
        item.add_report_section("setup", "guests", _finish(item, failed=True))
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fails a test for problems that a kernel reports, not only for its own assertions."""
    try:
        result = yield
    except BaseException:
        item.add_report_section("call", "guests", _finish(item, failed=True))
        raise
    problems = _finish(item, failed=False)
    if problems:
        pytest.fail(problems, pytrace=False)
    return result


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the tables that tests have recorded (`record_property`)."""
    for report in terminalreporter.getreports("passed"):
        for title, table in report.user_properties:
            terminalreporter.section(title)
            terminalreporter.line(table)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Prints the counts, in the last line."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.option.collectonly or hasattr(config, "workerinput"):
        return
    count = {
        outcome: len(reporter.stats.get(outcome, []))
        for outcome in ("passed", "failed", "error", "skipped")
    }
    failed = count["failed"] + count["error"]
    left = config.stash.get(_long_key, 0)
    line = f"{count['passed']} passed, {failed} failed, {count['skipped']} skipped"
    reporter.line(line + (f", {left} left to make check-long" if left else ""))
