# SPDX-License-Identifier: GPL-2.0-only
"""What pytest needs to know about the bench: options, fixtures, verdicts.

A test that asks for one of `GUESTS` gets guests.  Which kernels and which
drivers it runs with is said by marks:

    @pytest.mark.kernels("stock", "sanitize")
    @pytest.mark.drivers("rust-c", "c-rust", "rust-rust")   # client-server
    @pytest.mark.fabrics("rxe", "siw")

Without marks: Rust on both sides, over soft-RoCE, on the stock kernel, and with
`--long` on the sanitizing one as well, where everything takes ten times as long.
Soft iWARP is for Rust on both sides, and with `--long` only.
"""

import re
from collections.abc import Generator
from collections.abc import Iterator

import pytest

from rnbdbench import settings
from rnbdbench.lab import Lab
from rnbdbench.lab import Pair

ORDER = ["static", "host", "loopback", "pair"]
"""Folders, the cheap tests first."""

GUESTS = ["loopback", "pair", "two_links"]
"""Fixtures that provide guests, in the order of running."""

_lab_key = pytest.StashKey[Lab]()
_last_key = pytest.StashKey[bool]()
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


def _arguments(metafunc: pytest.Metafunc, mark: str, default: list[str]) -> list[str]:
    found = metafunc.definition.get_closest_marker(mark)
    return list(found.args) if found else default


def _fabrics(metafunc: pytest.Metafunc, drivers: str) -> list[str]:
    fabrics = _arguments(metafunc, "fabrics", ["rxe"])
    only = metafunc.config.getoption("fabric")
    if only:
        asked = metafunc.definition.get_closest_marker("fabrics")
        fabrics = [only] if only in fabrics or not asked else []
    # The C drivers need immediates, which soft iWARP has not.
    possible = {"rxe", "siw"} if drivers == "rust-rust" else {"rxe"}
    return [fabric for fabric in fabrics if fabric in possible]


def _name(combination: tuple[str, ...]) -> str:
    *rest, fabric = combination
    return "-".join(rest if fabric == "rxe" else combination)


def _marks(metafunc: pytest.Metafunc, kernel: str, fabric: str) -> list[pytest.MarkDecorator]:
    """Marks a combination that is for `--long` only, unless it was asked for."""
    asked = metafunc.config.getoption("kernel") or metafunc.definition.get_closest_marker("kernels")
    slow = kernel == "sanitize" and not asked
    other = fabric == "siw" and not metafunc.config.getoption("fabric")
    return [pytest.mark.long] if slow or other else []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Makes one test of each combination of kernel and drivers."""
    for fixture in GUESTS:
        if fixture not in metafunc.fixturenames:
            continue
        kernels = _arguments(metafunc, "kernels", ["stock", "sanitize"])
        drivers = _arguments(metafunc, "drivers", ["rust-rust"])
        only = metafunc.config.getoption("kernel")
        if only:
            asked = metafunc.definition.get_closest_marker("kernels")
            kernels = [only] if only in kernels or not asked else []
        instead = metafunc.config.getoption("drivers")
        if instead:
            drivers = [instead]
        combinations = [
            (kernel, *pair.split("-"), fabric)
            for kernel in kernels
            for pair in drivers
            for fabric in _fabrics(metafunc, pair)
            # The C drivers draw reports of their own on the other one.
            if kernel == "stock" or pair == "rust-rust"
        ]
        parameters = [
            pytest.param(made, marks=_marks(metafunc, made[0], made[-1])) for made in combinations
        ]
        metafunc.parametrize(fixture, parameters, indirect=True, ids=map(_name, combinations))


def _rank(item: pytest.Item) -> tuple[int, str, int]:
    folder = item.path.relative_to(settings.TESTING).parts[0]
    parameters = getattr(item, "callspec", None)
    values = parameters.params if parameters else {}
    # Stock before sanitize, and tests with the same guests next to each other.
    for place, fixture in enumerate(GUESTS):
        if fixture in values:
            return ORDER.index(folder), "-".join(values[fixture]).replace("stock", "0"), place
    return ORDER.index(folder), "", 0


def _can_run(item: pytest.Item) -> bool:
    """Whether a test has guests, if it asks for some; `--kernel` may leave it none."""
    values = getattr(getattr(item, "callspec", None), "params", {})
    return all(isinstance(values[fixture], tuple) for fixture in GUESTS if fixture in values)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sorts the tests, and leaves out the long ones and those without guests.

    After `-k` and the like, so that the long ones are those of what was asked for.
    """
    items[:] = [item for item in items if _can_run(item)]
    items.sort(key=_rank)
    if not config.getoption("long"):
        long = [item for item in items if item.get_closest_marker("long")]
        config.stash[_long_key] = len(long)
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session")
def lab(pytestconfig: pytest.Config) -> Iterator[Lab]:
    """The guests of the whole run."""
    made = Lab(settings.LOGS)
    pytestconfig.stash[_lab_key] = made
    yield made
    made.close()


def _require(kernel: str) -> None:
    if kernel not in settings.available_kernels():
        pytest.skip(f"no kernel {kernel} is prepared")


@pytest.fixture
def loopback(lab: Lab, request: pytest.FixtureRequest) -> Pair:
    """One guest, initiator and target in one."""
    kernel, client, server, fabric = request.param
    _require(kernel)
    assert client == server, "one guest cannot hold two driver sets"
    return lab.loopback(kernel, client, fabric)


@pytest.fixture
def pair(lab: Lab, request: pytest.FixtureRequest) -> Pair:
    """Two guests joined by a cable."""
    kernel, client, server, fabric = request.param
    _require(kernel)
    return lab.pair(kernel, client, server, fabric)


@pytest.fixture
def two_links(lab: Lab, request: pytest.FixtureRequest) -> Pair:
    """Two guests joined by two cables, each a subnet of its own."""
    kernel, client, server, fabric = request.param
    _require(kernel)
    return lab.pair(kernel, client, server, fabric, cables=2)


def _company(item: pytest.Item) -> tuple[object, ...]:
    """What tests have in common that are checked for leaks together."""
    parameters = getattr(item, "callspec", None)
    values = parameters.params if parameters else {}
    return item.path, *(values.get(fixture) for fixture in GUESTS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Notes whether a test is the last one of its company."""
    item.stash[_last_key] = nextitem is None or _company(nextitem) != _company(item)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Lets a test fail for what a kernel said, not only for what it asserts."""
    lab = item.config.stash.get(_lab_key, None)
    last = item.stash[_last_key]
    name = re.sub(r"[^\w.=-]+", "_", item.nodeid.removesuffix("]"))
    try:
        result = yield
    except BaseException:
        if lab:
            item.add_report_section("call", "guests", lab.finish(name, failed=True, last=last))
        raise
    problems = lab.finish(name, failed=False, last=last) if lab else ""
    if problems:
        pytest.fail(problems, pytrace=False)
    return result


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Prints the counts, in the last line."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.option.collectonly:
        return
    count = {
        outcome: len(reporter.stats.get(outcome, []))
        for outcome in ("passed", "failed", "error", "skipped")
    }
    failed = count["failed"] + count["error"]
    left = config.stash.get(_long_key, 0)
    line = f"{count['passed']} passed, {failed} failed, {count['skipped']} skipped"
    reporter.line(line + (f", {left} left to make check-long" if left else ""))
