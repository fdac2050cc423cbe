# SPDX-License-Identifier: GPL-2.0-only
"""Which tests run: a test with guests runs once for each kernel, set of drivers and fabric."""

import pytest

from rnbdbench import settings
from rnbdbench import table

GUESTS = ["loopback", "pair", "two_links", "debians"]
"""Fixtures that provide guests, in the order of running."""

BARE_KERNEL = "bare_kernel"
"""The argument that gives a test the name of a kernel, for which it boots what it needs."""


def _arguments(metafunc: pytest.Metafunc, mark: str, default: list[str]) -> list[str]:
    found = metafunc.definition.get_closest_marker(mark)
    return list(found.args) if found else default


def _kernels(metafunc: pytest.Metafunc) -> list[str]:
    """Returns the kernels to run on.

    A kernel of the table runs a test that names it, if it is prepared.  If `--kernel`
    selects it, it is like `stock`.  `a+b` is kernel `a` for the initiator, `b` for the target.
    """
    kernels = _arguments(metafunc, "kernels", list(settings.OWN))
    only = metafunc.config.getoption("kernel")
    if only:
        like = "stock" if only in table.names() else only
        return [only] if {only, like} & {*kernels} else []
    prepared = settings.available_kernels()
    possible = {*settings.OWN, *prepared}
    return [kernel for kernel in kernels if {*settings.ends(kernel)} <= possible]


def _fabrics(metafunc: pytest.Metafunc, drivers: str) -> list[str]:
    fabrics = _arguments(metafunc, "fabrics", ["rxe"])
    only = metafunc.config.getoption("fabric")
    if only:
        asked = metafunc.definition.get_closest_marker("fabrics")
        fabrics = [only] if only in fabrics or not asked else []
    # The C drivers need immediates, which soft iWARP does not have.
    possible = {"rxe", "siw"} if drivers == "rust-rust" else {"rxe"}
    return [fabric for fabric in fabrics if fabric in possible]


def _built(kernel: str, drivers: str) -> bool:
    """Returns whether the C drivers that are asked for are those of the stock kernel.

    On the sanitizing kernel they cause reports of their own, and for other kernels they are
    not built.
    """
    sides = zip(settings.ends(kernel), drivers.split("-"), strict=True)
    return all(end == "stock" or driver == "rust" for end, driver in sides)


def _name(combination: tuple[str, ...]) -> str:
    *rest, fabric = combination
    return "-".join(rest if fabric == "rxe" else combination)


def _marks(metafunc: pytest.Metafunc, combination: tuple[str, ...]) -> list[pytest.MarkDecorator]:
    """Marks a combination that needs `--long`, unless an option selects it."""
    kernel, client, server, fabric = combination
    option = metafunc.config.getoption
    slow = kernel == "sanitize" and not option("kernel")
    mark = metafunc.definition.get_closest_marker("drivers")
    later = ("c-c", *(mark.kwargs.get("long", ()) if mark else ()))
    foreign = f"{client}-{server}" in later and not option("drivers")
    other = fabric == "siw" and not option("fabric")
    return [pytest.mark.long] if slow or foreign or other else []


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Makes one test for each combination of kernel, drivers and fabric."""
    if BARE_KERNEL in metafunc.fixturenames:
        metafunc.parametrize(BARE_KERNEL, _kernels(metafunc))
    for fixture in GUESTS:
        if fixture not in metafunc.fixturenames:
            continue
        kernels = _kernels(metafunc)
        drivers = _arguments(metafunc, "drivers", ["rust-rust"])
        instead = metafunc.config.getoption("drivers")
        if instead:
            drivers = [instead]
        possible = [
            (kernel, *pair.split("-"), fabric)
            for kernel in kernels
            for pair in drivers
            for fabric in _fabrics(metafunc, pair)
            if _built(kernel, pair)
        ]
        parameters = [pytest.param(made, marks=_marks(metafunc, made)) for made in possible]
        metafunc.parametrize(fixture, parameters, indirect=True, ids=map(_name, possible))


def guests(item: pytest.Item) -> tuple[str, ...] | None:
    """Returns the fixture that provides a test's guests, and its parameters.

    None if it has no guests, and () if the options leave it no combination to run.
    """
    values = getattr(getattr(item, "callspec", None), "params", {})
    if not isinstance(values.get(BARE_KERNEL, ""), str):
        return ()
    for fixture in GUESTS:
        if fixture in values:
            # No tuple if `--kernel` leaves the test without guests.
            return (fixture, *values[fixture]) if isinstance(values[fixture], tuple) else ()
    return None
