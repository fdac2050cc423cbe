# SPDX-License-Identifier: GPL-2.0-only
"""Cache lines that pass from processor to processor, counted by a plugin of QEMU (sharing.c)."""

import re
from collections import Counter
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from rnbdbench.guest import Guest
from speed import counting
from speed import profile
from speed.parallel import ParallelJob
from speed.symbols import DATA
from speed.symbols import USER
from speed.symbols import Symbols
from speed.symbols import readable

FEW, MANY = 320, 1600
"""Requests of the two runs whose difference is taken: it has no start and no end of fio."""

MODULES = (*profile.OWN_PARTS, "nvme, nvmet")
BELOW = ("soft-RoCE", "RDMA core", "network")
COPIES = ("copying, checksums",)
GROUPS = {"in the modules": MODULES, "in soft-RoCE and network": BELOW, "in copies": COPIES}
"""Columns of the summary, and the parts of the profile that they add up."""

REST = "elsewhere"

STARTUP = r":_*clear_pages?(_\w+)?"
"""Functions that clear new pages: fio takes them to start, a request takes none."""

FAR = 4096
"""Bytes behind the start of a variable that do not belong to it: /proc/kallsyms lacks many."""

BY_READS, BY_WRITES = "by reads", "by writes"


@dataclass(frozen=True)
class Reading:
    """Transfers since the guest is watched."""

    sites: Counter[tuple[int, str]]
    """By address of the instruction, and by its kind of access."""
    lines: Counter[tuple[int, int, str]]
    """The same by number of the line, for lines that are often transferred."""
    addresses: dict[int, int]
    """The last address of each of these lines."""


def parse(text: Iterable[str]) -> Reading:
    """Parses the output of the plugin."""
    found = Reading(Counter(), Counter(), {})
    for row in text:
        kind, *numbers, reads, writes = row.split()
        counts = {BY_READS: int(reads), BY_WRITES: int(writes)}
        if kind == "at":
            site = int(numbers[0], 16)
            for access, times in counts.items():
                found.sites[site, access] += times
            continue
        address, line, site = (int(number, 16) for number in numbers)
        found.addresses[line] = address
        for access, times in counts.items():
            found.lines[line, site, access] += times
    return found


def difference(later: Reading, earlier: Reading) -> Reading:
    """Returns the difference of two readings; it may be below 0."""
    sites, lines = Counter(later.sites), Counter(later.lines)
    sites.subtract(earlier.sites)
    lines.subtract(earlier.lines)
    return Reading(sites, lines, later.addresses)


class Watcher(counting.Plugin):
    """The plugin that counts transfers."""

    source = Path(__file__).with_name("sharing.c")

    def watch(self, guest: Guest) -> None:
        """Begins to watch; the guest is slow from then on."""
        # It begins when a processor wakes up.
        waking = guest.begin("while sleep 0.1; do :; done")
        try:
            self.order("watch", "the watch", guest.patience)
        finally:
            waking.cancel()

    def read(self, patience: float) -> Reading:
        """Reads all transfers since the guest is watched."""
        self.order(f"write {self.written}", "counts", patience)
        with self.written.open(encoding="ascii") as text:
            return parse(text)


@dataclass
class Line:
    """A cache line that is often transferred."""

    place: str
    """A variable, or just an address."""
    transfers: float
    """Per I/O."""
    sites: dict[str, float]
    """The instructions that cause them."""

    @property
    def functions(self) -> dict[str, float]:
        """The functions that cause them."""
        found: Counter[str] = Counter()
        for site, times in self.sites.items():
            found[site.rsplit("+", 1)[0]] += times
        return dict(found.most_common())

    @property
    def own(self) -> float:
        """The transfers that functions of the modules cause."""
        return sum(
            times
            for function, times in self.functions.items()
            if profile.part_of(function) in MODULES
        )


@dataclass
class Sharing:
    """The transfers that an I/O causes."""

    parts: Counter[str] = field(default_factory=Counter)
    """By part of the profile."""
    reads: Counter[str] = field(default_factory=Counter)
    """Those by reads, by `<module>:<function>`."""
    writes: Counter[str] = field(default_factory=Counter)
    """Those by writes."""
    sites: Counter[str] = field(default_factory=Counter)
    """By `<module>:<function>+<offset>`."""
    lines: list[Line] = field(default_factory=list)
    """The lines that are often transferred, without those of copied data; the first ones most."""

    @property
    def total(self) -> float:
        """All transfers."""
        return sum(self.parts.values())

    @property
    def functions(self) -> Counter[str]:
        """By `<module>:<function>`."""
        return self.reads + self.writes

    @property
    def groups(self) -> dict[str, float]:
        """By column of the summary."""
        found = {
            group: sum(self.parts[part] for part in parts) for group, parts in GROUPS.items()
        }
        return {**found, REST: self.total - sum(found.values())}


MOST_LINES = 40
"""The number of lines that are kept of those that no module touches."""


def attribute(
    counts: Reading, symbols: Symbols, variables: Symbols, requests: int
) -> Sharing:
    """Attributes the transfers of `requests` requests to functions and parts, per request."""

    def function_of(address: int) -> tuple[str, int]:
        name, module, start = symbols.find(address)
        return f"{module}:{name}", address - start

    def shown(function: str) -> str:
        module, name = function.split(":", 1)
        return f"{module}:{readable(name)}"

    sharing = Sharing()
    for (address, access), times in counts.sites.items():
        function, offset = function_of(address)
        if re.fullmatch(STARTUP, function):
            continue
        sharing.parts[profile.part_of(function)] += times / requests
        by_access = sharing.reads if access == BY_READS else sharing.writes
        by_access[shown(function)] += times / requests
        sharing.sites[f"{shown(function)}+{offset:#x}"] += times / requests
    lines: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for (line, address, access), times in counts.lines.items():
        function, offset = function_of(address)
        part = profile.part_of(function)
        if times and part not in COPIES and not re.fullmatch(STARTUP, function):
            lines[line][f"{shown(function)}+{offset:#x} {access}"] += times / requests
    for line, sites in lines.items():
        address = counts.addresses[line]
        name, module, start = variables.find(address)
        near = module != USER and address - start < FAR
        place = f"{module}:{readable(name)}+{address - start:#x}" if near else f"{address:x}"
        sharing.lines.append(Line(place, sum(sites.values()), dict(sites.most_common())))
    sharing.lines.sort(key=lambda line: -line.transfers)
    others = [line for line in sharing.lines if not line.own]
    dropped = {id(line) for line in others[MOST_LINES:]}
    sharing.lines = [line for line in sharing.lines if id(line) not in dropped]
    return sharing


def names(guest: Guest) -> tuple[Symbols, Symbols]:
    """Returns the functions and the variables of a guest, before it is watched and slow."""
    table = guest.output("cat /proc/kallsyms", timeout=120).splitlines()
    return Symbols(table), Symbols(table, DATA)


def take(
    guest: Guest,
    watcher: Watcher,
    nodes: list[str],
    job: ParallelJob,
    known: tuple[Symbols, Symbols],
) -> Sharing:
    """Runs a job with few and with many requests; returns the transfers of the difference."""
    readings = []
    # The first run is for what is done once only.
    for requests in (FEW, FEW, MANY):
        job.run(guest, nodes, requests)
        readings.append(watcher.read(guest.patience))
    few = difference(readings[1], readings[0])
    many = difference(readings[2], readings[1])
    return attribute(difference(many, few), *known, MANY - FEW)
