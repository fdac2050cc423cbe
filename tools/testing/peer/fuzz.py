# SPDX-License-Identifier: GPL-2.0-only
"""Random changes of messages, and what became of them: the common part of both fuzzers.

Every choice comes from a generator that is made of the seed and of the number of a session, so
that a session can be made again without those before it: `<seed>:<number>` begins with that one.
"""

import json
import random
import time
from collections import Counter

import kernel_log

WIDTHS = (1, 2, 4, 8)
"""Bytes of the fields of messages."""


def number(rng, width):
    """Returns a number of `width` bytes, mostly one at some boundary."""
    top = 1 << 8 * width
    near = rng.choice((0, 0, 1, 8, 36, 56, 256, 511, 512, 4096, 1 << 17, top // 2, top - 1))
    return (near + rng.choice((-1, 0, 0, 0, 1))) % top if rng.random() < 0.8 else rng.randrange(top)


def change(rng, said):
    """Changes one thing of a message: a field, a bit, or the length."""
    raw = bytearray(said)
    kind = rng.random()
    if kind < 0.12 or not raw:
        return bytes(raw) + rng.randbytes(rng.choice((1, 2, 4, 8, 32, 200)))
    if kind < 0.24:
        return bytes(raw[: rng.randrange(len(raw))])
    if kind < 0.4:
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        return bytes(raw)
    width = rng.choice([each for each in WIDTHS if each <= len(raw)])
    # The first fields count most.
    fields = min(len(raw), 32 if rng.random() < 0.8 else len(raw)) // width
    at = rng.randrange(fields) * width
    raw[at : at + width] = number(rng, width).to_bytes(width, "little")
    return bytes(raw)


class Run:
    """A run of a fuzzer: its sessions, one after the other, and what became of them."""

    def __init__(self, seed, seconds):
        self.seed, _, first = seed.partition(":")
        self.next = int(first or 0)
        self.start, self.end = time.monotonic(), time.monotonic() + float(seconds)
        self.counts = Counter(messages=0, sessions=0, up=0)
        """Of messages, of sessions, and of those that were up."""
        self.outcomes = Counter()
        print(f"the seed is {seed}", flush=True)

    def sessions(self):
        """Yields the number and the generator of each session, until the time is up."""
        while not self.over():
            kernel_log.tell(f"fuzz {self.seed}:{self.next}")
            self.counts["sessions"] += 1
            yield self.next, random.Random(f"{self.seed}:{self.next}")
            self.next += 1

    def over(self):
        """Returns whether the time is up."""
        return time.monotonic() > self.end

    def report(self):
        """Prints a line of JSON with all counts."""
        seconds = round(time.monotonic() - self.start, 1)
        report = {"seed": self.seed, "seconds": seconds, **self.counts, "outcomes": self.outcomes}
        print(json.dumps(report), flush=True)
