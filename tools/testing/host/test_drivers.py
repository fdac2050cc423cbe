# SPDX-License-Identifier: GPL-2.0-only
"""The bench: modules that stay loaded for the next test."""

from dataclasses import dataclass
from dataclasses import field
from typing import cast

from rnbdbench import drivers
from rnbdbench.guest import Guest
from rnbdbench.specification import Specification

LOADED = "rtrs\nrnbd_server\nrnbd_client\n"


@dataclass
class Kernel:
    """The used part of a kernel."""

    name: str


@dataclass
class Recorder:
    """Replaces a guest: records what is loaded and unloaded."""

    kernel: Kernel
    specification: Specification
    loaded: dict[str, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)

    def run(self, command: str, timeout: float = 0) -> None:
        """Takes the words of a modprobe, and the fact of anything else."""
        assert timeout
        self.done.append(command.strip() if command.startswith("modprobe") else "unload")


def _guest(kernel: str = "sanitize") -> tuple[Guest, list[str]]:
    made = Recorder(Kernel(kernel), Specification("loopback", kernel, "rust"))
    return cast(Guest, made), made.done


def _load(guest: Guest, depth: str = "sess_queue_depth=64") -> None:
    drivers.load(guest, "rtrs", depth)
    drivers.load(guest, "rnbd_server")
    drivers.load(guest, "rnbd_client")


def test_modules_with_equal_parameters_are_reused() -> None:
    """Each module is reused once; modules that a test does not use stay for later ones."""
    guest, done = _guest()
    _load(guest)
    drivers.rested(guest, LOADED)
    done.clear()
    drivers.load(guest, "rtrs", "sess_queue_depth=64")
    drivers.load(guest, "rnbd_server")
    drivers.rested(guest, LOADED)
    _load(guest)
    assert done == []
    drivers.load(guest, "rnbd_client")
    assert done == ["modprobe rnbd_client"], "not kept any more, so it is up to modprobe"


def test_other_parameters_reload_all_modules() -> None:
    """Also what the test has taken over before."""
    guest, done = _guest()
    _load(guest)
    drivers.rested(guest, LOADED)
    done.clear()
    drivers.load(guest, "rnbd_client")
    drivers.load(guest, "rtrs", "sess_queue_depth=16")
    assert done == ["unload", "modprobe rtrs sess_queue_depth=16", "modprobe rnbd_client"]


def test_unloaded_modules_are_not_reused() -> None:
    """Whether by the test or by the clean-up; the transport may have come by itself."""
    guest, done = _guest()
    drivers.load(guest, "rnbd_client")
    drivers.rested(guest, "rtrs\nrnbd_client\n")
    assert guest.kept == {"rtrs", "rnbd_client"}
    drivers.rested(guest, "")
    done.clear()
    _load(guest)
    assert "unload" not in done
    drivers.unload(guest)
    assert not guest.loaded and not guest.kept


def test_modules_stay_only_where_unloading_is_slow() -> None:
    """And only what is known: a module that a test loaded by itself goes."""
    guest, _ = _guest("stock")
    assert drivers.resting(guest, "rules") == drivers.unloading(guest)
    guest, _ = _guest()
    drivers.load(guest, "rnbd_client")
    assert {*drivers.resting(guest, "rules").split('" ')[1].split()} == {"rtrs", "rnbd_client"}
