# SPDX-License-Identifier: GPL-2.0-only
"""The counting of cache lines that change hands, by `make bench OPTIONS=--sharing`."""

import ctypes
import json
from pathlib import Path

import pytest

from rnbdbench import cache
from speed import parallel
from speed import sharing
from speed import sharing_report
from speed.sharing import BY_READS
from speed.sharing import BY_WRITES
from speed.symbols import DATA
from speed.symbols import Symbols

LOCK, LOAD, STORE = (0xFFFFFFFF81000100 + number for number in range(3))
"""Instructions: one that reads and writes, one that reads, one that writes."""

LINE = 0x12340
DIRECT = 0xFFFF888000000000


class Model:
    """The plugin, without QEMU."""

    def __init__(self, folder: Path) -> None:
        """Starts with caches that are empty."""
        self._library = ctypes.CDLL(
            str(cache.shared_object(sharing.Watcher.source, "-fvisibility=hidden"))
        )
        self._library.sharing_site.restype = ctypes.c_void_p
        self._library.sharing_site.argtypes = [ctypes.c_uint64]
        self._library.sharing_access.argtypes = [
            *(ctypes.c_uint, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64),
            *(ctypes.c_uint, ctypes.c_bool),
        ]
        self._counts = folder / "counts"
        assert self._library.sharing_start()

    def _access(self, cpu: int, instruction: int, address: int, size: int, store: bool) -> None:
        site = self._library.sharing_site(instruction)
        self._library.sharing_access(cpu, site, address, DIRECT + address, size, store)

    def read(self, cpu: int, address: int = LINE, size: int = 8) -> None:
        """Reads."""
        self._access(cpu, LOAD, address, size, False)

    def write(self, cpu: int, address: int = LINE, size: int = 8) -> None:
        """Writes."""
        self._access(cpu, STORE, address, size, True)

    def locked(self, cpu: int, address: int = LINE) -> None:
        """Adds to a number, say: QEMU reports a read and a write."""
        self._access(cpu, LOCK, address, 4, False)
        self._access(cpu, LOCK, address, 4, True)

    @property
    def reading(self) -> sharing.Reading:
        """What the plugin writes to its file."""
        assert self._library.sharing_write(str(self._counts).encode())
        return sharing.parse(self._counts.read_text(encoding="ascii").splitlines())

    def transfers(self, instruction: int | None = None) -> int:
        """Returns the transfers that an instruction has caused, or all."""
        return sum(
            times
            for (address, _), times in self.reading.sites.items()
            if instruction in (None, address)
        )


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Caches that are empty."""
    return Model(tmp_path)


def test_first_access_is_free(model: Model) -> None:
    model.read(0)
    model.write(1, LINE + 64)
    model.locked(2, LINE + 128)
    assert model.transfers() == 0


def test_processor_alone_transfers_nothing(model: Model) -> None:
    for access in [model.read, model.write, model.locked] * 3:
        access(3)
    assert model.transfers() == 0


def test_each_reader_of_a_written_line_takes_one_transfer(model: Model) -> None:
    model.write(0)
    for cpu in (1, 2, 1, 2, 0):
        model.read(cpu)
    assert model.reading.sites[LOAD, BY_READS] == model.transfers() == 2


def test_write_takes_the_line_from_all_readers_at_once(model: Model) -> None:
    for cpu in range(16):
        model.read(cpu)
    assert model.transfers() == 15
    model.write(15)
    assert model.reading.sites[STORE, BY_WRITES] == model.transfers(STORE) == 1
    model.write(15)
    assert model.transfers(STORE) == 1
    model.read(0)
    assert model.transfers(LOAD) == 16


def test_writers_in_turn_transfer_each_time(model: Model) -> None:
    for cpu in (0, 1, 0, 1, 1):
        model.write(cpu)
    assert model.transfers() == 3


@pytest.mark.parametrize("shared", [False, True], ids=["written", "shared"])
def test_locked_instruction_counts_once(model: Model, shared: bool) -> None:
    """Whether its read misses, or its write finds that others read the line."""
    model.write(0)
    if shared:
        model.read(1)
    before = model.transfers()
    model.locked(1)
    assert model.transfers() - before == model.transfers(LOCK) == 1
    model.locked(1)
    assert model.transfers(LOCK) == 1
    model.locked(0)
    assert model.transfers(LOCK) == 2


def test_read_and_write_by_two_instructions_count_twice(model: Model) -> None:
    model.write(0)
    model.read(1)
    model.write(1)
    assert model.transfers() == 1 + 1


def test_line_is_64_bytes(model: Model) -> None:
    model.write(0, LINE)
    model.write(1, LINE + 63, 1)
    assert model.transfers() == 1
    model.write(1, LINE + 64)
    assert model.transfers() == 1
    # Eight bytes, half of them in each of two lines that processor 1 has.
    model.write(0, LINE + 60)
    assert model.transfers() == 3


def test_lines_that_change_hands_often_tell_by_whom(model: Model) -> None:
    for _ in range(100):
        model.locked(0)
        model.write(1, LINE + 8)
    model.write(0, LINE + 64)
    model.write(1, LINE + 64)
    lines = model.reading.lines
    assert {line for line, _, _ in lines} == {LINE // 64}
    # The first ones only make it a line to look at.
    assert lines[LINE // 64, STORE, BY_WRITES] == 100 - 16
    assert lines[LINE // 64, LOCK, BY_READS] == 99 - 16
    assert model.reading.addresses == {LINE // 64: DIRECT + LINE}


KALLSYMS = """\
ffffffff81000000 T _stext
ffffffff81000100 t enqueue_task
ffffffff81000200 T memcpy
ffffffff81000300 t __clear_pages_unrolled
ffffffff82000000 D jiffies
ffffffffc0000000 t _RNvMs_NtNtCsbLMp_4rtrs6client4linkNtB4_4Link4post\t[rtrs]
ffffffffc0001000 t rxe_cq_post\t[rdma_rxe]
""".splitlines()

FIRST = """\
at ffffffff81000104 5 0
at ffffffffc0000010 0 7
""".splitlines()

SECOND = """\
at ffffffff81000104 15 0
at ffffffff81000204 640 0
at ffffffff81000304 0 500
at ffffffffc0000010 0 17
at ffffffffc0000020 20 0
at ffffffffc0001002 0 10
line ffff888000012340 48d ffffffffc0000020 20 0
line ffff888000012340 48d ffffffffc0000010 0 10
line ffffffff82000000 900 ffffffff81000104 10 0
line ffffffff82009000 902 ffffffff81000108 5 0
line ffff888000099940 901 ffffffff81000204 90 0
""".splitlines()


def attributed() -> sharing.Sharing:
    """Returns the transfers of 10 requests between two readings."""
    counts = sharing.difference(sharing.parse(SECOND), sharing.parse(FIRST))
    return sharing.attribute(counts, Symbols(KALLSYMS), Symbols(KALLSYMS, DATA), 10)


def test_transfers_count_for_functions_and_parts() -> None:
    """But not for the pages of a program that starts."""
    found = attributed()
    post = "rtrs:rtrs::client::link::Link::post"
    assert (found.reads[post], found.writes[post], found.functions[post]) == (2, 1, 3)
    assert found.sites[f"{post}+0x10"] == 1
    assert found.groups == {
        "in the modules": 3,
        "in soft-RoCE and network": 1,
        "in copies": 64,
        "elsewhere": 1,
    }
    assert found.total == 3 + 1 + 64 + 1


def test_lines_have_a_name_if_they_are_variables() -> None:
    """Those of copied data are left out."""
    first, second, third = attributed().lines
    assert (first.place, first.transfers) == ("ffff888000012340", 3)
    assert first.functions == {"rtrs:rtrs::client::link::Link::post": 3}
    assert list(first.sites) == [
        "rtrs:rtrs::client::link::Link::post+0x20 by reads",
        "rtrs:rtrs::client::link::Link::post+0x10 by writes",
    ]
    assert (second.place, second.functions) == (":jiffies+0x0", {":enqueue_task": 1})
    # Too far behind jiffies to be a part of it.
    assert third.place == "ffffffff82009000"
    assert (first.own, second.own) == (3, 0)


def test_report_has_contenders_side_by_side_and_every_run() -> None:
    job = parallel.JOBS[0]
    runs = [{job.key: {"ours": attributed(), "C": sharing.Sharing()}} for _ in range(2)]
    runs[1][job.key]["ours"].parts["rnbd_client"] += 1
    text = sharing_report.markdown("Lines", [job], runs)
    assert "| 4k randread, 1 job | 70 / 0 | 3.5 / 0.0 | 1.0 / 0.0 | 64.0 / 0.0 |" in text
    assert "| 4k randread, 1 job | 69, 70 | 3.0, 4.0 | 0, 0 | 0.0, 0.0 |" in text
    assert "| `rtrs:rtrs::client::link::Link::post` | 3.00 | 2.00 | 1.00 |" in text
    assert "| `:jiffies+0x0`: `:enqueue_task` 1.00 | 1.00 |" in text
    first, _ = json.loads(sharing_report.as_json(runs))
    assert first[job.key]["ours"]["all"] == 69


def test_contender_that_failed_has_a_dash() -> None:
    job = parallel.JOBS[0]
    runs = [{job.key: {"ours": attributed()}, parallel.JOBS[1].key: {}}]
    text = sharing_report.markdown("Lines", parallel.JOBS[:2], runs)
    assert "| 4k randread, 4 jobs | – |" in text


@pytest.mark.parametrize("job", parallel.JOBS, ids=lambda job: job.key)
def test_jobs_share_the_requests_evenly(job: parallel.ParallelJob) -> None:
    nodes = [f"/dev/rnbd{number}" for number in range(parallel.DEVICES)]
    for requests in (sharing.FEW, sharing.MANY):
        words = job.command(nodes, requests).split()
        (size,) = [int(word[10:-1]) // 4 for word in words if word.startswith("--io_size=")]
        assert size * job.processes * job.devices == requests
        assert len([word for word in words if word.startswith("--filename=")]) == job.devices
