# SPDX-License-Identifier: GPL-2.0-only
"""The bench: searching kernel logs."""

import pytest

from rnbdbench import dmesg

LOG = """\
[    9.500000] rnbd_client: map_device: option device_path is missing
[   12.250000] rtrs: bench: rnbd_client: lost
rnbd_client: without a time
[   13.000000] rnbd_server: listening on port 1234
"""


def test_lines_are_those_of_their_module() -> None:
    assert dmesg.said_by(LOG, "rnbd_client") == [
        "map_device: option device_path is missing",
        "without a time",
    ]
    assert dmesg.said_by(LOG, "rtrs") == ["bench: rnbd_client: lost"]
    assert dmesg.said_by(LOG, "rnbd") == []


@pytest.mark.parametrize("line", ["option path: none", "path", "'path' given twice", "no path"])
def test_a_word_is_found(line: str) -> None:
    assert dmesg.names(line, "path")


@pytest.mark.parametrize("line", ["device_path", "paths", "/dev/path", "path/1", ""])
def test_a_part_of_a_word_is_not_the_word(line: str) -> None:
    assert not dmesg.names(line, "path")


def test_names_of_devices_are_words() -> None:
    assert dmesg.names("option device_path: /dev/../dev/ram0 on session bench", "/dev/../dev/ram0")
    assert not dmesg.names("option device_path: /dev/ram01", "/dev/ram0")


def test_when_something_was_said() -> None:
    assert dmesg.seconds(LOG, "bench: rnbd_client: lost") == 12.25
    for text in ("never", "rnbd_"):
        with pytest.raises(AssertionError):
            dmesg.seconds(LOG, text)


SHORT = """\
[   87.63] python3: vmalloc error: size 8576, align 0x1000, vm_struct allocation failed
[   87.64] CPU: 0 UID: 0 PID: 259 Comm: python3
[   87.65] Call Trace:
[   87.66]  warn_alloc+0x185/0x1a0
"""


def test_a_failed_vmalloc_is_a_complaint_unless_it_was_asked_for() -> None:
    assert dmesg.complaints(SHORT)
    assert not dmesg.complaints(dmesg.without_failed_vmalloc(SHORT))


def test_another_complaint_after_a_failed_vmalloc_stays_one() -> None:
    other = SHORT + "[   88.01] BUG: KASAN: slab-use-after-free\n[   88.02] Call Trace:\n"
    assert "slab-use-after-free" in dmesg.complaints(dmesg.without_failed_vmalloc(other))
