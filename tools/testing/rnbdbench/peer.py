# SPDX-License-Identifier: GPL-2.0-only
"""Peers in user space, which do what no driver would: the programs of tools/testing/peer."""

import hashlib
import json
import subprocess
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnbdbench import cache
from rnbdbench import network
from rnbdbench import settings
from rnbdbench.guest import Guest

PROGRAMS = settings.TESTING / "peer"
SOURCE = PROGRAMS / "peer.c"
PORT, ROGUE_PORT = 1234, 1235

CASE = 30.0
"""Seconds that a case may take at most."""


def _library() -> Path:
    """What the programs call; compiled when there is no such one yet."""
    key = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    path = settings.cache() / f"libpeer-{key}.so"
    if not path.exists():
        options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        libraries = ["-lrdmacm", "-libverbs"]
        with cache.making(path) as made:
            subprocess.run(["gcc-14", *options, "-o", made, SOURCE, *libraries], check=True)
    return path


def misbehave(guest: Guest, disk: str, cases: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Has a client do what it must not: what became of each case, and what the kernel said.

    The server is in the same guest, or in the target.
    """
    names = list(cases)
    seconds = 10.0 * guest.patience
    program = PROGRAMS / "rogue_client.py"
    mark = guest.console.mark()
    output = guest.output(
        f"modprobe rdma_ucm && python3 -B {program} {_library()} {network.TARGET.v4} {PORT}"
        f" {seconds} {disk} {' '.join(names)}",
        timeout=CASE * len(names),
    )
    guest.sync_console()
    log = guest.console.since(mark)
    found = {}
    for line in output.splitlines():
        told = json.loads(line)
        _, _, after = log.partition(f"rnbdbench: case {told['case']}\n")
        found[told["case"]] = told["outcome"], after.partition("rnbdbench: case ")[0]
    assert list(found) == names, f"cases that were not done: {set(names) - set(found)}"
    return found


@contextmanager
def rogue_server(guest: Guest, cases: Iterable[str]) -> Iterator[None]:
    """Has a server listen at `ROGUE_PORT` that does what it must not, while the block runs."""
    mark = guest.console.mark()
    job = guest.begin(
        f"modprobe rdma_ucm && python3 -B {PROGRAMS / 'rogue_server.py'} {_library()}"
        f" {network.TARGET.v4} {ROGUE_PORT} {10.0 * guest.patience} {' '.join(cases)}"
    )
    guest.wait_until(
        lambda: not job.running or "the rogue server listens" in guest.console.since(mark),
        "the rogue server to listen",
    )
    try:
        yield
    finally:
        if job.running:
            job.cancel()
        result = job.wait()
        print(result.stdout, result.stderr)
