# SPDX-License-Identifier: GPL-2.0-only
"""Which tests run side by side: a scheduler for pytest-xdist.

The tests of a file that use the same guests are a batch.  A worker runs a batch in order,
in guests of its own.  It then takes a batch for the guests that it has, as other guests
would have to be booted.

Tests without guests are mostly compilers, which use what processor time the guests leave:
one worker runs them while the others have guests.

A worker tells each test which one comes next, so it starts the last of its tests only when
it has been given more, or has been told that there are none.  A worker that has one test
left is therefore idle.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Protocol

Guests = tuple[str, ...] | None
"""The fixture that provides guests, and its parameters."""

SINGLE = "loopback"
"""The fixture that provides one machine; the others provide two."""

KEEP = 1
"""Tests that a worker keeps until it has been given more."""


COMPILING = ("host", "static")
"""Folders of tests without virtual machines, which are mostly compilers."""


def processor_policy(test: Path) -> int:
    """Returns the scheduling policy of a test file.

    Some tests have no fixture for their guests and boot them all the same, such as that of the
    demo.  With what processor time others leave, these would not boot in time.
    """
    return os.SCHED_IDLE if test.parent.name in COMPILING else os.SCHED_OTHER


class Worker(Protocol):
    """What the scheduler uses of a worker of pytest-xdist."""

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        """Adds tests to those that it has."""

    def shutdown(self) -> None:
        """Tells it that no more tests will come."""

    @property
    def shutting_down(self) -> bool:
        """Whether `shutdown` was called."""


@dataclass
class Batch:
    """Tests that one worker runs, one after the other."""

    guests: Guests
    """Which guests they use; None if they use none."""
    alone: bool
    """Whether no other test with guests may run at the same time."""
    tests: list[int] = field(default_factory=list)
    """Their indices among all tests."""


class Scheduler:
    """Hands out batches to workers; pytest-xdist calls the public methods."""

    def __init__(self, names: Sequence[str], batches: Sequence[Batch], workers: int) -> None:
        self._names = list(names)
        self._alone = {test for batch in batches if batch.alone for test in batch.tests}
        self._plain = {test for batch in batches if not batch.guests for test in batch.tests}
        self._waiting = list(batches)
        self._expected = workers
        self._ready: set[Worker] = set()
        self._left: dict[Worker, list[int]] = {}
        self._guests: dict[Worker, Guests] = {}

    @property
    def nodes(self) -> list[Worker]:
        """All workers."""
        return list(self._left)

    @property
    def collection_is_completed(self) -> bool:
        """Whether the workers that the run began with have collected the tests."""
        return self._expected == 0

    @property
    def tests_finished(self) -> bool:
        """Whether each worker has been told that there are no more tests."""
        return self.collection_is_completed and not self.has_pending

    @property
    def has_pending(self) -> bool:
        """Whether there are tests that have not been run."""
        return bool(self._waiting) or any(self._left.values())

    def add_node(self, node: Worker) -> None:
        """Takes a worker that was started."""
        self._left[node] = []

    def add_node_collection(self, node: Worker, collection: Sequence[str]) -> None:
        """Takes the names of the tests that a worker has collected."""
        assert list(collection) == self._names, "a worker has collected other tests"
        self._ready.add(node)
        self._expected = max(0, self._expected - 1)

    def schedule(self) -> None:
        """Gives each worker something to do, once all of them have collected the tests."""
        for node in self._left:
            if node in self._ready:
                while not node.shutting_down and not self._busy(node) and self._give(node):
                    pass

    def mark_test_complete(self, node: Worker, item_index: int, duration: float = 0) -> None:
        """Takes note of a test that a worker has run."""
        self._left[node].remove(item_index)
        self.schedule()

    def remove_node(self, node: Worker) -> str | None:
        """Removes a worker; returns the name of the test that killed it, if one did.

        Another worker runs the tests that it had left.
        """
        left = self._left.pop(node)
        guests = self._guests.pop(node, None)
        died, others = left[:1], left[1:]
        if others:
            self._waiting.insert(0, Batch(guests, not self._alone.isdisjoint(others), others))
        self.schedule()
        return self._names[died[0]] if died else None

    def mark_test_pending(self, item: str) -> None:
        """Would run a test once more, which the bench never requests."""
        raise NotImplementedError

    def remove_pending_tests_from_node(self, node: Worker, indices: Sequence[int]) -> None:
        """Would take tests back, which only another scheduler does."""
        raise NotImplementedError

    def _busy(self, node: Worker) -> bool:
        return len(self._left[node]) > KEEP

    def _runs_guests(self, node: Worker) -> bool:
        """Whether a worker runs a test with guests, or is about to."""
        runs = self._busy(node) or node.shutting_down
        return runs and not self._plain.issuperset(self._left[node])

    def _give(self, node: Worker) -> bool:
        """Gives an idle worker its next batch; False if there is none, or it has to wait."""
        others = [other for other in self._left if other is not node]
        reserved = any(not self._alone.isdisjoint(self._left[other]) for other in others)
        # Whatever it is given, it begins the test that it has kept.
        if reserved and not self._plain.issuperset(self._left[node]):
            return False
        if not self._waiting:
            node.shutdown()
            return False
        guests_run = any(map(self._runs_guests, others))

        def may_run(batch: Batch) -> bool:
            return batch.guests is None or not (reserved or (batch.alone and guests_run))

        possible = list(filter(may_run, self._waiting))
        if not possible:
            return False
        batch = self._choose(node, others, possible)
        self._waiting.remove(batch)
        self._left[node] += batch.tests
        self._guests[node] = batch.guests
        node.send_runtest_some(batch.tests)
        return True

    def _choose(self, node: Worker, others: Sequence[Worker], batches: Sequence[Batch]) -> Batch:
        """The batch that a worker takes next.

        Those without guests come first, but for one worker only, then those that run alone.
        Of all others it takes one for the guests it has, else one for guests that no other
        worker has.  While another worker has two machines it takes one machine, as long as
        there are tests for that: four machines on two processors are slower than three.
        """
        plain_runs = any(not self._plain.isdisjoint(self._left[other]) for other in others)
        taken = {self._guests.get(other) for other in others}
        pair_taken = any(guests is not None and guests[0] != SINGLE for guests in taken)

        def rank(batch: Batch) -> tuple[bool, ...]:
            side_by_side = batch.guests is not None and not batch.alone
            return (
                (batch.guests is None) == plain_runs,
                side_by_side,
                side_by_side and batch.guests != self._guests.get(node),
                side_by_side and pair_taken and batch.guests[0] != SINGLE,
                side_by_side and batch.guests in taken,
            )

        return min(batches, key=rank)
