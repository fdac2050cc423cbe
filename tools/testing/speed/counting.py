# SPDX-License-Identifier: GPL-2.0-only
"""Counting the instructions of a guest, with a plugin of QEMU (counter.c)."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rnbdbench import cache
from rnbdbench.waiting import wait_until

SOURCE = Path(__file__).with_name("counter.c")


@dataclass(frozen=True)
class Block:
    """Instructions that run one after the other."""

    address: int
    instructions: int
    locked: int
    """The number of locked instructions among them."""


Counts = dict[Block, int]
"""The number of executions of each block."""


def parse(lines: Iterable[str]) -> Counts:
    """Parses the output of the plugin."""
    counts = {}
    for line in lines:
        address, instructions, locked, times = line.split()
        counts[Block(int(address, 16), int(instructions), int(locked))] = int(times)
    return counts


class Counter:
    """The plugin in a guest."""

    def __init__(self, folder: Path) -> None:
        """`folder` is for its files, and belongs to this guest."""
        self._folder = folder
        self._orders = folder / "orders"
        folder.mkdir(parents=True, exist_ok=True)
        self._orders.unlink(missing_ok=True)
        os.mkfifo(self._orders)

    @property
    def options(self) -> list[str]:
        """The options for QEMU."""
        plugin = cache.shared_object(SOURCE, "-fvisibility=hidden")
        return ["-plugin", f"file={plugin},orders={self._orders}"]

    def read(self, patience: float) -> Counts:
        """Reads all counts since the guest was started."""
        written, done = self._folder / "counts", self._folder / "done"
        done.unlink(missing_ok=True)
        self._orders.write_text(f"{written} {done}\n", encoding="ascii")
        wait_until(done.exists, "the counts of QEMU's plugin", 60 * patience)
        with written.open(encoding="ascii") as lines:
            return parse(lines)
