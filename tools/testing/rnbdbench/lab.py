# SPDX-License-Identifier: GPL-2.0-only
"""Keeping guests for tests: booting, sharing, cleaning up, collecting logs.

Booting takes ten seconds, so a guest serves test after test as long as it is
in order; between tests the RNBD modules are unloaded, which is a test of its
own.  A guest that took part in a failure is replaced.
"""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from rnbdbench import cleanup
from rnbdbench import disks
from rnbdbench import dmesg
from rnbdbench import network
from rnbdbench import rnbd
from rnbdbench.channel import GuestGone
from rnbdbench.guest import Guest
from rnbdbench.guest import Specification
from rnbdbench.kmemleak import LeakCheck

GUESTS = "guests"
"""Folder for the whole consoles, below that of the logs; each worker has its own in it."""

MOST_CABLES = len(network.TARGETS)
"""Cables between two guests at most."""

RAM_DISK = 16
"""MiB of the disk that `Pair.map` makes."""

LAST_LINES = 40
"""Lines of each kernel's log that a failed test shows."""


@dataclass
class Machine:
    """A guest in the lab."""

    guest: Guest
    mark: int = 0
    """Where the present test starts in the console."""
    leaks: LeakCheck | None = None
    """Begun, and not read yet."""
    unchecked: list[str] = field(default_factory=list)
    """Tests that ran since."""


@dataclass(frozen=True)
class Pair:
    """An initiator and a target, guests of their own or one and the same."""

    initiator: rnbd.Initiator
    target: rnbd.Target

    @property
    def guests(self) -> list[Guest]:
        """The guests, each once."""
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
        """A cable between the guests, to be pulled and plugged."""
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

    def loopback(self, kernel: str, drivers: str, fabric: str) -> Pair:
        """One guest that is both initiator and target."""
        specification = Specification("loopback", kernel, drivers, fabric, disks=self._disks)
        if self._provide([specification]):
            network.loop_back(self._guest("loopback"))
        return self._begin("loopback", "loopback")

    def pair(
        self, kernel: str, client: str, server: str, fabric: str, cables: int = 1
    ) -> Pair:
        """Two guests, joined by one cable or more."""
        cards = [
            [option for cable in self._cables[:cables] for option in cable.card(end, kernel)]
            for end in (0, 1)
        ]
        specifications = [
            Specification("initiator", kernel, client, fabric, network=cards[0]),
            Specification("target", kernel, server, fabric, network=cards[1]),
        ]
        if self._provide(specifications):
            network.join(self._guest("initiator"), self._guest("target"), cables)
        return self._begin("initiator", "target")

    def replace(self, guest: Guest) -> Guest:
        """Boots a new guest in the place of a dead one, within a test."""
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
        """Has a line written to the folder of the present test, into `figures`."""
        self._figures.append(figure)

    def let_memory_fail(self) -> None:
        """Says that the present test has allocations fail, some of which the kernel reports."""
        self._memory_fails = True

    def finish(self, test: str, failed: bool, last: bool) -> str:
        """Ends a test: unloads modules, keeps logs, returns what was wrong.

        Reading kmemleak takes a minute, so that happens after a failure and after
        the `last` test of a file with these guests, for all the tests before it.
        """
        problems: list[str] = []
        machines = [machine for machine in self._in_use if machine.guest.alive]
        try:
            network.mend([machine.guest for machine in machines])
        except (AssertionError, GuestGone) as error:
            problems.append(f"mending the network failed: {error}")
        for machine in machines:
            guest = machine.guest
            try:
                cleanup.clean(guest, failed or last)
                machine.unchecked.append(test)
                if failed or last:
                    problems += _leaks(machine)
                guest.sync_console()
            except (AssertionError, GuestGone) as error:
                problems.append(f"cleaning up {guest.name} failed: {error}")
        problems += self._keep_logs(test)
        if failed:
            problems += [_last_words(machine) for machine in self._in_use]
        if failed or problems:
            for machine in machines:
                self._discard(machine)
        self._in_use = []
        return "\n".join(problems)

    def close(self) -> None:
        """Switches all guests off."""
        for machine in list(self._machines.values()):
            self._discard(machine)
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _guest(self, name: str) -> Guest:
        return self._machines[name].guest

    def _discard(self, machine: Machine) -> None:
        machine.guest.kill()
        if self._machines.get(machine.guest.name) is machine:
            del self._machines[machine.guest.name]

    def _provide(self, specifications: list[Specification]) -> bool:
        """Makes exactly these guests run; tells whether that changed anything.

        When one is missing all are booted, as their network is set up together.
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
        """Writes what each kernel said during the test; returns complaints."""
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
                problems.append(f"the kernel of {machine.guest.name} complained:\n{excerpt}")
        return problems


def _leaks(machine: Machine) -> list[str]:
    """What leaked in the tests that were not checked yet."""
    tests = ", ".join(machine.unchecked)
    check, machine.leaks, machine.unchecked = machine.leaks, None, []
    leaked = check.report() if check else ""
    return [f"kmemleak on {machine.guest.name}, after {tests}:\n{leaked}"] if leaked else []


def _last_words(machine: Machine) -> str:
    """What a kernel said last, for the report of a failed test."""
    lines = machine.guest.console.since(machine.mark).splitlines()
    text = "\n".join(lines[-LAST_LINES:])
    counters = network.counters(machine.guest)
    name = machine.guest.console.path.stem
    return f"the last lines of the kernel of {name}:\n{text}\nits RDMA devices: {counters}"
