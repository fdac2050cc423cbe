# SPDX-License-Identifier: GPL-2.0-only
"""What arrives at a block device, as the block layer's tracepoints tell it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rnbdbench.guest import Guest
from rnbdbench.tracing import MOUNT
from rnbdbench.tracing import TRACING

_INSTANCE = f"{TRACING}/instances/rnbdbench"

BIOS = "block/block_bio_queue"
"""Whatever is submitted to a device, in the submitter's sizes."""
REQUESTS = "block/block_rq_issue"
"""What a driver gets of it; not for devices without requests, such as brd and dm."""
SCSI = "scsi/scsi_dispatch_cmd_start"
"""The commands of SCSI disks."""

# The letters of blk_fill_rwbs(), in its order.
_LETTERS = re.compile(r"(F?)(DE|WZ|D|W|F|R|N)(F?)A?(S?)M?U?$")
_OPERATIONS = {
    "R": "read",
    "W": "write",
    "F": "flush",
    "D": "discard",
    "DE": "secure-erase",
    "WZ": "write-zeroes",
    "N": "other",
}
_LINE = re.compile(r"\d+,\d+ (\w+) (?:\d+ \(.*?\) )?(\d+) \+ (\d+)(?: (\w+,\d+,\d+))? \[")


@dataclass(frozen=True)
class Arrival:
    """A bio or a request at a device."""

    operation: str
    """`read`, `write`, `flush`, `discard`, `secure-erase` or `write-zeroes`."""
    sector: int
    sectors: int
    preflush: bool = False
    fua: bool = False
    priority: str = ""
    """Class, hint and level, such as `rt,0,3`; of requests only."""

    @property
    def range(self) -> tuple[int, int]:
        """First sector, and number of sectors."""
        return self.sector, self.sectors


def device_number(guest: Guest, node: str) -> tuple[int, int]:
    """Major and minor number of a device."""
    major, minor = guest.output(f"stat -L -c '%Hr %Lr' {node}").split()
    return int(major), int(minor)


@contextmanager
def lines(guest: Guest, event: str, condition: str) -> Iterator[list[str]]:
    """Records a tracepoint; the list has the lines once the block is left."""
    folder = f"{_INSTANCE}/events/{event}"
    found: list[str] = []
    guest.run(
        f"{MOUNT}; mkdir {_INSTANCE}"
        f" && echo '{condition}' > {folder}/filter && echo 1 > {folder}/enable"
    )
    try:
        yield found
        guest.run(f"echo 0 > {folder}/enable")
        name = event.rsplit("/", 1)[1]
        for line in guest.read(f"{_INSTANCE}/trace").splitlines():
            _, marker, text = line.partition(f" {name}: ")
            if marker:
                found.append(text)
    finally:
        guest.run(f"rmdir {_INSTANCE}")


def _arrival(text: str) -> Arrival:
    line = _LINE.match(text)
    assert line, f"a trace line that is none: {text}"
    letters = _LETTERS.match(line[1])
    assert letters, f"unknown letters: {text}"
    return Arrival(
        _OPERATIONS[letters[2]],
        int(line[2]),
        int(line[3]),
        preflush=bool(letters[1]),
        fua=bool(letters[3]),
        priority=line[4] or "",
    )


@contextmanager
def arrivals(guest: Guest, node: str, event: str = BIOS) -> Iterator[list[Arrival]]:
    """Records what arrives at a device while the block runs, in order.

    The kernel filters by the whole device; a partition is a device to `BIOS` only.
    """
    major, minor = device_number(guest, node)
    found: list[Arrival] = []
    with lines(guest, event, f"dev == {major << 20 | minor}") as texts:
        yield found
    found += [_arrival(text) for text in texts]
