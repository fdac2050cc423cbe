# SPDX-License-Identifier: GPL-2.0-only
"""The evaluation of counts of QEMU's plugin by `make bench OPTIONS=--profile`."""

import json

import pytest

from speed import counting
from speed import jobs
from speed import kinds
from speed import profile
from speed.symbols import USER
from speed.symbols import Symbols
from speed.symbols import readable

KALLSYMS = """\
ffffffff81000000 T _stext
ffffffff81000100 t enqueue_task
ffffffff81000200 T memcpy
ffffffff82000000 D jiffies
ffffffffc0000000 t _RNvMs_NtNtCsbLMp_4rtrs6client4linkNtB4_4Link4post\t[rtrs]
ffffffffc0000080 t .Ltmp7\t[rtrs]
ffffffffc0001000 t rxe_cq_post\t[rdma_rxe]
"""

SYMBOLS = Symbols(KALLSYMS.splitlines())

READ = jobs.JOBS[0]


def test_address_belongs_to_the_function_before_it() -> None:
    assert SYMBOLS.find(0xFFFFFFFF81000110) == ("enqueue_task", "", 0xFFFFFFFF81000100)
    name, module, _ = SYMBOLS.find(0xFFFFFFFFC0000090)
    assert (readable(name), module) == ("rtrs::client::link::Link::post", "rtrs")


def test_low_addresses_are_those_of_programs() -> None:
    assert SYMBOLS.find(0x7F0000001000)[1] == USER


@pytest.mark.parametrize(
    ("mangled", "words"),
    [
        ("submit_bio", "submit_bio"),
        (
            "_RNvMs1_NtNtCscFIhUOo6mRu_4rtrs4rdma2qpINtB5_8QpSharedNtNtNtB9_6client4link4ConnE12chained_doneB9_",
            "rtrs::rdma::qp::QpShared::client::link::Conn::chained_done",
        ),
    ],
)
def test_names_of_rust_are_readable(mangled: str, words: str) -> None:
    assert readable(mangled) == words


def test_counts_are_read_as_the_plugin_writes_them() -> None:
    counts = counting.parse(["ffffffffc0001000 7 1 12\n"])
    assert counts == {counting.Block(0xFFFFFFFFC0001000, 7, 1): 12}


def test_instructions_count_for_their_parts() -> None:
    counts = counting.parse(
        [
            "ffffffff81000100 5 1 40",  # The entry of a wake-up: 4 of them an I/O …
            "ffffffff81000110 10 0 20",  # … half of which get further.
            "ffffffff81000200 30 0 10",
            "ffffffffc0000000 8 2 10",
            "ffffffffc0001000 6 0 30",
            "7f0000001000 9 0 10",
        ]
    )
    found = profile.attribute(counts, SYMBOLS, 10, {})
    assert found.parts["scheduling, interrupts, locks"] == 5 * 4 + 10 * 2
    assert found.parts["copying, checksums"] == 30
    assert found.parts["rtrs, client and server"] == 8
    assert found.parts["soft-RoCE"] == 18
    assert found.parts["fio"] == 9
    assert found.total == 40 + 30 + 8 + 18 + 9
    assert found.functions["rtrs:rtrs::client::link::Link::post"] == 8
    assert found.events["wake-ups"] == 4
    assert found.events["completions"] == 3
    assert sum(found.locked.values()) == 4 + 2


DISASSEMBLY = """\
0000000000000040 <_RNvMs_NtNtCsbLMp_4rtrs6client4linkNtB4_4Link4post>:
  40:\tpush   %rbp
  41:\tmov    %rdi,0x8(%rsp)
  46:\tlock incl 0x20(%rdi)
  4a:\ttest   %eax,%eax
  4c:\tmov    (%rdi),%rax
  4f:\tadd    $0x1,%eax
  52:\tjmp    57 <_RNvMs_NtNtCsbLMp_4rtrs6client4linkNtB4_4Link4post+0x17>
\t\t\t53: R_X86_64_PLT32\t__x86_return_thunk-0x4
"""


def test_instructions_of_the_modules_are_told_apart_by_kind() -> None:
    code = {"rtrs": kinds.parse(DISASSEMBLY.splitlines())}
    counts = counting.parse(["ffffffffc0000000 3 1 10", "ffffffffc000000a 4 0 20"])
    found = profile.attribute(counts, SYMBOLS, 10, code)
    assert found.kinds == {
        "calls: call, return, frame": 1 + 2,
        "copies to and from the stack": 1,
        "locked": 1,
        "checks: compare, branch": 2,
        "other loads and stores": 2,
        kinds.OTHER: 2,
    }
    assert sum(found.kinds.values()) == found.own


def test_start_and_end_of_fio_cancel_out() -> None:
    start = counting.parse(["ffffffff81000100 5 0 7"])
    few = counting.parse(["ffffffff81000100 5 0 17"])
    many = counting.parse(["ffffffff81000100 5 0 47", "ffffffff81000200 1 0 2"])
    once = profile.difference(few, start)
    more = profile.difference(many, few)
    assert profile.difference(more, once) == counting.parse(
        ["ffffffff81000100 5 0 20", "ffffffff81000200 1 0 2"]
    )


def test_report_has_a_column_for_each_contender() -> None:
    counts = counting.parse(["ffffffffc0000000 8 2 10"])
    found = {"ours": profile.attribute(counts, SYMBOLS, 10, {}), "C": profile.Profile()}
    text = profile.markdown("Where", [READ], {READ.key: found})
    assert "| rtrs, client and server | 8 | 0 |" in text
    assert "| locked instructions | 2 | 0 |" in text
    assert "Per I/O: ours / C" in text
    assert "| 8 / 0 | 0.00 / 0.00 |" in text
    assert "8.0   1.00  rtrs:rtrs::client::link::Link::post" in text
    assert json.loads(profile.as_json({READ.key: found}))[READ.key]["ours"]["functions"]
