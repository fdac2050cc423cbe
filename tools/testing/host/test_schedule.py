# SPDX-License-Identifier: GPL-2.0-only
"""The bench: which tests run side by side."""

import os
from collections.abc import Sequence

import pytest

from rnbdbench import settings
from rnbdbench.schedule import Batch
from rnbdbench.schedule import Scheduler
from rnbdbench.schedule import processor_policy

LOOPBACK = ("loopback", "stock")
PAIR = ("pair", "stock")


class Worker:
    """A worker that runs a test when it is told to, and knows which one comes next."""

    def __init__(self) -> None:
        self.queue: list[int] = []
        self.done: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        """Takes tests."""
        assert not self.shutting_down
        self.queue += indices

    def shutdown(self) -> None:
        """Takes note that no more will come."""
        self.shutting_down = True

    @property
    def running(self) -> int | None:
        """The test that it runs now."""
        enough = 0 if self.shutting_down else 1
        return self.queue[0] if len(self.queue) > enough else None


def _begin(batches: list[Batch], count: int = 2) -> tuple[Scheduler, list[Worker]]:
    names = [f"test{index}" for index in range(sum(len(batch.tests) for batch in batches))]
    scheduler = Scheduler(names, batches, count)
    workers = [Worker() for _ in range(count)]
    for worker in workers:
        scheduler.add_node(worker)
    for worker in workers:
        assert not scheduler.collection_is_completed
        scheduler.add_node_collection(worker, names)
    scheduler.schedule()
    return scheduler, workers


def _step(scheduler: Scheduler, worker: Worker) -> None:
    """Has a worker end its test."""
    test = worker.running
    assert test is not None
    worker.queue.remove(test)
    worker.done.append(test)
    scheduler.mark_test_complete(worker, test)


def _finish(scheduler: Scheduler, workers: list[Worker]) -> None:
    """Has all tests run, one step of each worker after the other."""
    while not scheduler.tests_finished:
        running = [worker for worker in workers if worker.running is not None]
        assert running, "no worker runs anything, but there are tests left"
        for worker in running:
            _step(scheduler, worker)
    assert all(worker.shutting_down for worker in workers)


def test_each_test_runs_once_and_batches_in_their_order() -> None:
    batches = [
        Batch(None, False, [0]),
        Batch(None, False, [1, 2]),
        Batch(PAIR, False, [3, 4, 5]),
        Batch(LOOPBACK, False, [6]),
        Batch(LOOPBACK, False, [7, 8]),
        Batch(PAIR, False, [9, 10]),
    ]
    scheduler, workers = _begin(batches)
    _finish(scheduler, workers)
    first, second = (worker.done for worker in workers)
    assert sorted(first + second) == list(range(11))
    for batch in batches:
        assert any(
            done[start : start + len(batch.tests)] == batch.tests
            for done in (first, second)
            for start in range(len(done))
        )


def test_workers_keep_their_guests() -> None:
    """A worker takes other guests only when no test is left for its own."""
    batches = [
        Batch(PAIR, False, [0, 1]),
        Batch(PAIR, False, [2, 3]),
        Batch(LOOPBACK, False, [4, 5]),
        Batch(LOOPBACK, False, [6, 7]),
        Batch(LOOPBACK, False, [8, 9]),
    ]
    scheduler, workers = _begin(batches)
    _finish(scheduler, workers)
    assert workers[0].done == [0, 1, 2, 3, 8, 9]
    assert workers[1].done == [4, 5, 6, 7]


def test_a_batch_that_runs_alone_has_no_other_guests_beside_it() -> None:
    """With either worker as the slow one."""
    plain = {5, 6, 7, 8}
    for slow in (0, 1):
        batches = [
            Batch(None, False, [5, 6, 7]),
            Batch(None, False, [8]),
            Batch(PAIR, True, [2, 3]),
            Batch(PAIR, True, [4]),
            Batch(PAIR, False, [9, 10]),
            Batch(LOOPBACK, False, [0, 1]),
        ]
        scheduler, workers = _begin(batches)
        order: list[int] = []
        while not scheduler.tests_finished:
            running = [worker for worker in workers if worker.running is not None]
            assert running, "no worker runs anything, but there are tests left"
            tests = {worker.running for worker in running}
            if tests & {2, 3, 4}:
                assert len(tests - plain) == 1, f"{tests} run side by side"
            # One of the workers is as slow as can be.
            worker = next((each for each in running if each is not workers[slow]), running[0])
            order.append(worker.running or 0)
            _step(scheduler, worker)
        assert sorted(order) == list(range(11))


def test_one_worker_compiles_beside_the_guests_of_the_other() -> None:
    """Until no test without guests is left, also beside a batch that runs alone."""
    batches = [
        Batch(None, False, [0, 1]),
        Batch(None, False, [2]),
        Batch(PAIR, True, [3, 4]),
        Batch(PAIR, False, [5, 6]),
        Batch(LOOPBACK, False, [7]),
    ]
    scheduler, workers = _begin(batches)
    assert [worker.running for worker in workers] == [0, 3]
    _finish(scheduler, workers)
    assert workers[0].done[:3] == [0, 1, 2]
    assert workers[1].done[:2] == [3, 4]


def test_a_worker_without_work_ends_at_once() -> None:
    scheduler, workers = _begin([Batch(PAIR, False, [0, 1])])
    assert workers[1].shutting_down and not workers[1].queue
    _finish(scheduler, workers)
    assert workers[0].done == [0, 1]


def test_what_a_dead_worker_left_is_run() -> None:
    """All but the test that it died of, by a worker that replaces it or by another one."""
    scheduler, workers = _begin([Batch(PAIR, False, [0, 1, 2]), Batch(LOOPBACK, False, [3, 4])])
    _step(scheduler, workers[0])
    assert scheduler.remove_node(workers[0]) == "test1"
    fresh = Worker()
    scheduler.add_node(fresh)
    scheduler.add_node_collection(fresh, [f"test{index}" for index in range(5)])
    scheduler.schedule()
    _finish(scheduler, [workers[1], fresh])
    assert sorted(workers[0].done + workers[1].done + fresh.done) == [0, 2, 3, 4]


def test_a_run_without_tests_ends() -> None:
    scheduler, workers = _begin([])
    assert scheduler.tests_finished
    assert all(worker.shutting_down for worker in workers)


def test_one_worker_has_two_machines_and_the_other_one() -> None:
    batches = [
        Batch(PAIR, False, [0, 1]),
        Batch(("two_links", "stock"), False, [2, 3]),
        Batch(LOOPBACK, False, [4, 5]),
    ]
    _, workers = _begin(batches)
    assert [worker.running for worker in workers] == [0, 4]


@pytest.mark.parametrize(
    ("file", "policy"),
    [
        ("static/test_build.py", os.SCHED_IDLE),
        ("host/test_proto.py", os.SCHED_IDLE),
        ("pair/test_demo.py", os.SCHED_OTHER),
        ("loopback/test_kernels.py", os.SCHED_OTHER),
    ],
)
def test_only_compilers_wait_for_guests(file: str, policy: int) -> None:
    """Whatever boots a guest gets its share, also without a fixture."""
    path = settings.TESTING / file
    assert path.exists(), file
    assert processor_policy(path) == policy
