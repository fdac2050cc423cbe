# SPDX-License-Identifier: GPL-2.0-only
"""Guests for tests: booting, sharing, cleaning up, collecting logs.

Booting takes ten seconds, so one guest serves many tests; the RNBD modules are unloaded
after each test, which tests the unloading.  A guest that took part in a failure is
replaced.
"""

import shutil
import tempfile
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from rnbdbench import cleanup
from rnbdbench import debian
from rnbdbench import disks
from rnbdbench import dmesg
from rnbdbench import network
from rnbdbench import rnbd
from rnbdbench import settings
from rnbdbench.channel import GuestGone
from rnbdbench.guest import Guest
from rnbdbench.kmemleak import LeakCheck
from rnbdbench.specification import Specification

GUESTS = "guests"
"""Folder for the whole consoles, below that of the logs; each worker has its own in it."""

DISKS = "disks"
"""Folder for disks of Debian machines, in that one. Their size is that of what they have."""

MOST_CABLES = len(network.TARGETS)
"""Cables between two guests at most."""

RAM_DISK = 16
"""MiB of the disk that `Pair.map` makes."""

LAST_LINES = 40
"""Lines of each kernel's log that a failed test shows."""


@dataclass
class Machine:
    """A guest, and its state between tests."""

    guest: Guest
    mark: int = 0
    """The start of the current test in the console."""
    leaks: LeakCheck | None = None
    """The check that was started and not read yet."""
    unchecked: list[str] = field(default_factory=list)
    """Tests that ran since then."""


@dataclass(frozen=True)
class Pair:
    """An initiator and a target: two guests, or one guest in both roles."""

    initiator: rnbd.Initiator
    target: rnbd.Target

    @property
    def guests(self) -> list[Guest]:
        """The guests, without duplicates."""
        both = [self.initiator.guest, self.target.guest]
        return both if both[0] is not both[1] else both[:1]

    def load(self, **parameters: Any) -> None:
        """Loads the server and the client; `parameters` are those of `Target.load`."""
        self.target.load(**parameters)
        self.initiator.load()

    def map(
        self, disk: str = "", transport: Mapping[str, int] | None = None, **options: Any
    ) -> rnbd.Device:
        """Loads the server and the client, and maps a disk of the target.

        The disk is a RAM disk unless told otherwise.  `transport` has parameters of rtrs,
        `options` are those of `Initiator.map`.
        """
        disk = disk or self.target.ram_disk(RAM_DISK)
        self.load(transport=transport)
        return self.initiator.map(disk, **options)

    def cable(self, number: int = 0) -> network.Plugs:
        """Returns a cable between the guests, for pulling and plugging."""
        return network.Plugs(self.guests, number)


class Lab:
    """All guests of a run, or of one of the workers of a run."""

    def __init__(self, logs: Path, worker: str = "") -> None:
        self._logs = logs
        self._consoles = logs / GUESTS / worker
        self._consoles.mkdir(parents=True)
        self._sockets = Path(tempfile.mkdtemp(prefix="rnbdbench-"))
        self._disks = disks.hardware(self._sockets)
        self._machines: dict[str, Machine] = {}
        self._in_use: list[Machine] = []
        self._figures: list[str] = []
        self._memory_fails = False
        self._cables = [network.Cable(self._sockets, number) for number in range(MOST_CABLES)]

    def loopback(self, kernel: str, drivers: str, fabric: str, cpus: int) -> Pair:
        """Provides one guest that is both initiator and target."""
        specification = Specification(
            "loopback", kernel, drivers, fabric, cpus, disks=self._disks
        )
        if self._provide([specification]):
            network.loop_back(self._guest("loopback"))
        return self._begin("loopback", "loopback")

    def pair(
        self,
        kernel: str,
        client: str,
        server: str,
        fabric: str,
        cables: int = 1,
        parameters: Sequence[str] = (),
    ) -> Pair:
        """Provides two guests, connected by one cable or more.

        `parameters` are more ones for their kernels.
        """
        kernels = settings.ends(kernel)
        cards = [
            [option for cable in self._cables[:cables] for option in cable.card(end, name)]
            for end, name in enumerate(kernels)
        ]
        specifications = [
            Specification(
                name, kernel, drivers, fabric, network=card, parameters=list(parameters)
            )
            for name, kernel, drivers, card in zip(
                ("initiator", "target"), kernels, (client, server), cards, strict=True
            )
        ]
        if self._provide(specifications):
            network.join(self._guest("initiator"), self._guest("target"), cables)
        return self._begin("initiator", "target")

    def debians(self) -> debian.Debians:
        """Provides two Debian machines, connected by one cable, with the packages installed."""
        folder = self._consoles / DISKS
        folder.mkdir(exist_ok=True)
        addresses = {"initiator": network.INITIATOR, "target": network.TARGET}
        specifications = [
            debian.Specification(
                name, "stock", "rust", network=self._cables[0].card(end, "stock"), folder=folder
            )
            for end, name in enumerate(addresses)
        ]
        fresh = self._provide(specifications)
        self._begin(*addresses)
        made = debian.Debians(*(debian.Debian(self._guest(name)) for name in addresses))
        if fresh:
            made.set_up(*addresses.values())
        made.install()
        return made

    def replace(self, guest: Guest) -> Guest:
        """Boots a guest that replaces a dead one, within a test."""
        guest.kill()
        fresh = Guest(guest.specification, self._consoles)
        machine = Machine(fresh)
        self._machines[guest.name] = machine
        self._in_use.append(machine)
        fresh.start()
        fresh.wait_ready()
        machine.mark = fresh.console.mark()
        return fresh

    def note(self, figure: str) -> None:
        """Writes a line to the file `figures` in the log folder of the current test."""
        self._figures.append(figure)

    def let_memory_fail(self) -> None:
        """Declares that the test makes allocations fail, some of which the kernel reports."""
        self._memory_fails = True

    def finish(self, test: str, failed: bool, last: bool) -> str:
        """Ends a test: unloads modules, keeps logs, returns a description of all problems.

        Reading kmemleak takes a minute, so it happens only after a failure, and after the
        `last` test of a file with these guests on behalf of all tests before it.
        """
        problems: list[str] = []
        machines = [machine for machine in self._in_use if machine.guest.alive]
        try:
            network.plug_all([machine.guest for machine in machines])
        except (AssertionError, GuestGone) as error:
            problems.append(f"repairing the network failed: {error}")
        for machine in machines:
            guest = machine.guest
            try:
                if isinstance(guest.specification, debian.Specification):
                    debian.clean(guest)
                else:
                    cleanup.clean(guest, failed or last)
                machine.unchecked.append(test)
                if failed or last:
                    problems += _leaks(machine)
                guest.sync_console()
            except (AssertionError, GuestGone) as error:
                problems.append(f"cleaning up {guest.name} failed: {error}")
        problems += self._keep_logs(test)
        if failed:
            problems += [_last_lines(machine) for machine in self._in_use]
        if failed or problems:
            for machine in machines:
                self._discard(machine)
        self._in_use = []
        return "\n".join(problems)

    def close(self) -> None:
        """Powers off all guests."""
        for machine in list(self._machines.values()):
            self._discard(machine)
        for folder in (self._sockets, self._consoles / DISKS):
            shutil.rmtree(folder, ignore_errors=True)

    def _guest(self, name: str) -> Guest:
        return self._machines[name].guest

    def _discard(self, machine: Machine) -> None:
        machine.guest.kill()
        if self._machines.get(machine.guest.name) is machine:
            del self._machines[machine.guest.name]

    def _provide(self, specifications: list[Specification]) -> bool:
        """Makes exactly these guests run; returns whether any guest was booted.

        If one is missing, all are booted, as their network is set up together.
        """
        present = [machine.guest.specification for machine in self._machines.values()]
        alive = all(machine.guest.alive for machine in self._machines.values())
        if alive and present == specifications:
            return False
        for machine in list(self._machines.values()):
            self._discard(machine)
        for specification in specifications:
            guest = Guest(specification, self._consoles)
            self._machines[specification.name] = Machine(guest)
            specification.prepare()
            guest.start()
        for machine in self._machines.values():
            machine.guest.wait_ready()
        return True

    def _begin(self, initiator: str, target: str) -> Pair:
        self._in_use = [self._machines[name] for name in dict.fromkeys([initiator, target])]
        for machine in self._in_use:
            if machine.guest.kernel.name == "sanitize" and machine.leaks is None:
                machine.leaks = LeakCheck(machine.guest)
            machine.mark = machine.guest.console.mark()
        return Pair(rnbd.Initiator(self._guest(initiator)), rnbd.Target(self._guest(target)))

    def _keep_logs(self, test: str) -> list[str]:
        """Writes the kernel log of each guest during the test; returns reports found in it."""
        folder = self._logs / test
        folder.mkdir(parents=True, exist_ok=True)
        if self._figures:
            text = "".join(f"{figure}\n" for figure in self._figures)
            (folder / "figures").write_text(text, encoding="utf-8")
            self._figures = []
        problems = []
        memory_fails, self._memory_fails = self._memory_fails, False
        for machine in self._in_use:
            log = machine.guest.console.since(machine.mark)
            name = machine.guest.console.path.stem
            (folder / f"{name}.dmesg").write_text(log, encoding="utf-8")
            if memory_fails:
                log = dmesg.without_failed_vmalloc(log)
            excerpt = dmesg.complaints(log)
            if excerpt:
                problems.append(f"the kernel of {machine.guest.name} reported:\n{excerpt}")
        return problems


def _leaks(machine: Machine) -> list[str]:
    """Returns the leaks of the tests that were not checked yet."""
    tests = ", ".join(machine.unchecked)
    check, machine.leaks, machine.unchecked = machine.leaks, None, []
    leaked = check.report() if check else ""
    return [f"kmemleak on {machine.guest.name}, after {tests}:\n{leaked}"] if leaked else []


def _last_lines(machine: Machine) -> str:
    """Returns the last lines of a kernel log, for the report of a failed test."""
    lines = machine.guest.console.since(machine.mark).splitlines()
    text = "\n".join(lines[-LAST_LINES:])
    counters = network.counters(machine.guest)
    name = machine.guest.console.path.stem
    return f"the last lines of the kernel of {name}:\n{text}\nits RDMA devices: {counters}"
