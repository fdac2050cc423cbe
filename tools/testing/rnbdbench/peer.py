# SPDX-License-Identifier: GPL-2.0-only
"""Peers in user space that break the protocol: the programs of tools/testing/peer."""

import json
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rnbdbench import image
from rnbdbench import network
from rnbdbench import settings
from rnbdbench.commands import Job
from rnbdbench.guest import Guest

PORT, ROGUE_PORT = 1234, 1235

CASE = 30.0
"""The most seconds that a case may take."""


def _command(guest: Guest, program: str, address: str, port: int, *arguments: str) -> str:
    """Returns the command that runs a peer, which uses an address of the target."""
    seconds = 10.0 * guest.patience
    return (
        f"modprobe rdma_ucm && {image.program(program)}"
        f" {address} {port} {seconds} {' '.join(arguments)}"
    )


@dataclass(frozen=True)
class Rogue:
    """A client that breaks the protocol, and runs in a guest."""

    guest: Guest
    job: Job
    names: list[str]
    mark: int

    def outcomes(self, seconds: float) -> dict[str, tuple[str, str]]:
        """Waits for its end; returns the outcome and kernel log of each case."""
        output = self.job.check(seconds).stdout
        log = self.guest.printed_since(self.mark)
        found = {}
        for line in output.splitlines():
            report = json.loads(line)
            _, _, after = log.partition(f"rnbdbench: case {report['case']}\n")
            found[report["case"]] = report["outcome"], after.partition("rnbdbench: case ")[0]
        missing = set(self.names) - set(found)
        assert list(found) == self.names, f"cases that did not run: {missing}"
        return found


def begin_misbehaving(
    guest: Guest, disk: str, cases: Iterable[str], slow_disk: str = "", delay: float = 0.0
) -> Rogue:
    """Starts a client that breaks the protocol in one way after the other.

    The server is in the same guest, or in the target. Requests in flight are those of `slow_disk`,
    each of which takes `delay` seconds.
    """
    names = list(cases)
    mark = guest.console.mark()
    addresses = f"{network.TARGET.v4},{network.TARGET.v6}"
    disks = f"{disk},{slow_disk or disk},{delay}"
    command = _command(guest, "rogue_client.py", addresses, PORT, disks, *names)
    return Rogue(guest, guest.begin(command), names, mark)


def misbehave(
    guest: Guest, disk: str, cases: Iterable[str], slow_disk: str = "", delay: float = 0.0
) -> dict[str, tuple[str, str]]:
    """Does the same, and returns the outcome and kernel log of each case."""
    rogue = begin_misbehaving(guest, disk, cases, slow_disk, delay)
    return rogue.outcomes(CASE * len(rogue.names))


@dataclass(frozen=True)
class Fuzzer:
    """A fuzzer that runs in a guest."""

    job: Job

    def report(self) -> "Report":
        """Waits for its end; returns its counts."""
        result = self.job.check(settings.FUZZ_SECONDS + CASE)
        print(result.stdout, result.stderr)
        return Report(**json.loads(result.stdout.splitlines()[-1]))


@dataclass(frozen=True)
class Mapped:
    """What became of the disks that were mapped from a fuzzer."""

    disks: int
    outcomes: dict[str, int]
    longest: dict[str, float]
    """The most seconds that a step took."""


def map_disks(guest: Guest, seconds: float) -> Mapped:
    """Maps disks from the server at `ROGUE_PORT`, one after the other, and uses them."""
    arguments = f"{network.TARGET.path()} {ROGUE_PORT} {settings.SEED} {seconds}"
    output = guest.output(f"{image.program('map_loop.py')} {arguments}", seconds + 4 * CASE)
    print(output)
    return Mapped(**json.loads(output.splitlines()[-1]))


@dataclass(frozen=True)
class Report:
    """What a fuzzer has sent, and what became of it."""

    seed: str
    seconds: float
    messages: int
    sessions: int
    up: int
    """Sessions that were set up, and went on to requests."""
    outcomes: dict[str, int]

    def __str__(self) -> str:
        rate = self.messages / self.seconds
        outcomes = ", ".join(f"{name}: {count}" for name, count in sorted(self.outcomes.items()))
        return (
            f"seed {self.seed}: {self.messages} messages, {rate:.0f} a second,"
            f" in {self.sessions} sessions, {self.up} of them up; {outcomes}"
        )


def begin_fuzzing_client(guest: Guest, disk: str) -> Fuzzer:
    """Starts a client that sends random requests for `settings.FUZZ_SECONDS`."""
    addresses = f"{network.TARGET.v4},{network.TARGET.v6}"
    arguments = (disk, settings.SEED, str(settings.FUZZ_SECONDS))
    return Fuzzer(guest.begin(_command(guest, "fuzz_client.py", addresses, PORT, *arguments)))


def begin_fuzzing_server(guest: Guest) -> Fuzzer:
    """Starts a server at `ROGUE_PORT` whose responses are random, for as long."""
    arguments = (settings.SEED, str(settings.FUZZ_SECONDS))
    return Fuzzer(_begin_server(guest, "fuzz_server.py", *arguments))


def _begin_server(guest: Guest, program: str, *arguments: str) -> Job:
    mark = guest.console.mark()
    job = guest.begin(_command(guest, program, network.TARGET.v4, ROGUE_PORT, *arguments))
    guest.wait_until(
        lambda: not job.running or "the rogue server listens" in guest.console.since(mark),
        "the rogue server to listen",
    )
    return job


@contextmanager
def rogue_server(guest: Guest, cases: Iterable[str]) -> Iterator[None]:
    """Runs a server at `ROGUE_PORT` that breaks the protocol, for the duration of the block."""
    job = _begin_server(guest, "rogue_server.py", *cases)
    try:
        yield
    finally:
        if job.running:
            job.cancel()
        result = job.wait()
        print(result.stdout, result.stderr)


def differences(
    expected: Mapping[str, tuple[str | None, str]], found: Mapping[str, tuple[str | None, str]]
) -> str:
    """Returns cases with an unexpected outcome, or without the expected words in the log."""
    lines = []
    for name, (outcome, words) in expected.items():
        came, log = found[name]
        if came != outcome:
            lines.append(f"{name}: {came} instead of {outcome}; the kernel log:\n{log}")
        elif words not in log:
            lines.append(f"{name}: '{words}' is not in the kernel log:\n{log}")
    return "\n".join(lines)
