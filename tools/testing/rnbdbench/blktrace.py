# SPDX-License-Identifier: GPL-2.0-only
"""Bios and requests that arrive at a block device, by tracepoints of the block layer."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rnbdbench.guest import Guest
from rnbdbench.tracing import MOUNT
from rnbdbench.tracing import TRACING

_INSTANCE = f"{TRACING}/instances/rnbdbench"

BIOS = "block/block_bio_queue"
"""Every bio that is submitted to a device, in the submitter's sizes."""
REQUESTS = "block/block_rq_issue"
"""Every request that a driver gets; not for bio-based devices, such as brd and dm."""
SCSI = "scsi/scsi_dispatch_cmd_start"
"""Every command that a SCSI disk gets."""

# The letters of blk_fill_rwbs(), in its order.
_LETTERS = re.compile(r"(F?)(DE|WZ|D|W|F|R|N)(F?)A?(S?)M?(U?)$")
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
    atomic: bool = False
    priority: str = ""
    """Class, hint and level, such as `rt,0,3`; of requests only."""

    @property
    def range(self) -> tuple[int, int]:
        """The first sector and the number of sectors."""
        return self.sector, self.sectors


def device_number(guest: Guest, node: str) -> tuple[int, int]:
    """Returns the major and minor number of a device."""
    major, minor = guest.output(f"stat -L -c '%Hr %Lr' {node}").split()
    return int(major), int(minor)


@contextmanager
def lines(guest: Guest, event: str, condition: str) -> Iterator[list[str]]:
    """Records a tracepoint for the duration of the block; fills the list at its end."""
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
    assert line, f"malformed trace line: {text}"
    letters = _LETTERS.match(line[1])
    assert letters, f"unknown letters: {text}"
    return Arrival(
        _OPERATIONS[letters[2]],
        int(line[2]),
        int(line[3]),
        preflush=bool(letters[1]),
        fua=bool(letters[3]),
        atomic=bool(letters[5]),
        priority=line[4] or "",
    )


@contextmanager
def arrivals(guest: Guest, node: str, event: str = BIOS) -> Iterator[list[Arrival]]:
    """Records the arrivals at a device for the duration of the block, in order.

    The kernel filters by the whole disk; only `BIOS` tells partitions apart.
    """
    major, minor = device_number(guest, node)
    found: list[Arrival] = []
    with lines(guest, event, f"dev == {major << 20 | minor}") as texts:
        yield found
    found += [_arrival(text) for text in texts]
