# SPDX-License-Identifier: GPL-2.0-only
"""Counting the instructions of a guest, with a plugin of QEMU (counter.c)."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rnbdbench import cache
from rnbdbench.waiting import wait_until


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


class Plugin:
    """A plugin in a guest, which follows orders from a pipe."""

    source: Path

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
        plugin = cache.shared_object(self.source, "-fvisibility=hidden")
        return ["-plugin", f"file={plugin},orders={self._orders}"]

    def order(self, words: str, what: str, patience: float) -> None:
        """Gives an order, and waits until the plugin has followed it."""
        done = self._folder / "done"
        done.unlink(missing_ok=True)
        self._orders.write_text(f"{words} {done}\n", encoding="ascii")
        wait_until(done.exists, f"{what} by QEMU's plugin", 60 * patience)

    @property
    def written(self) -> Path:
        """The file that counts are written to."""
        return self._folder / "counts"


class Counter(Plugin):
    """The plugin that counts instructions."""

    source = Path(__file__).with_name("counter.c")

    def read(self, patience: float) -> Counts:
        """Reads all counts since the guest was started."""
        self.order(f"{self.written}", "counts", patience)
        with self.written.open(encoding="ascii") as lines:
            return parse(lines)
