# SPDX-License-Identifier: GPL-2.0-only
"""The console file of a guest, while the guest writes to it."""

from pathlib import Path

from rnbdbench.console import Console


def test_a_line_is_not_read_before_it_is_whole(tmp_path: Path) -> None:
    """A test that waits for the first words of a line may look for its last ones."""
    console = Console(tmp_path / "guest.console")
    console.path.write_bytes(b"rnbd_client: mapped\r\nrtrs: bench: giving up after 1 r")
    assert console.since() == "rnbd_client: mapped\n"
    with console.path.open("ab") as file:
        file.write(b"econnect attempts\r\n")
    assert console.since() == "rnbd_client: mapped\nrtrs: bench: giving up after 1 reconnect attempts\n"


def test_a_mark_is_where_the_console_ended(tmp_path: Path) -> None:
    console = Console(tmp_path / "guest.console")
    console.path.write_bytes(b"before\r\n")
    mark = console.mark()
    assert console.since(mark) == ""
    with console.path.open("ab") as file:
        file.write(b"after\r\n")
    assert console.since(mark) == "after\n"
