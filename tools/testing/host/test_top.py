# SPDX-License-Identifier: GPL-2.0-only
"""`rnbdctl top` on a terminal, which it leaves as it was."""

import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnbdbench import cargo
from rnbdbench.settings import PATIENCE
from rnbdbench.settings import TREE

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
"""What switches a terminal to its alternate screen, and back."""


class Terminal:
    """A terminal with the program on it."""

    def __init__(self, *arguments: str | Path) -> None:
        """Starts the program."""
        self.ours, self.theirs = pty.openpty()
        termios.tcsetwinsize(self.theirs, (24, 120))
        self.before = termios.tcgetattr(self.theirs)
        self.output = b""
        self.program = subprocess.Popen(
            arguments,
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            env={"TERM": "xterm"},
            start_new_session=True,
        )

    def wait_for(self, text: bytes) -> None:
        """Reads until the program has printed this."""
        end = time.monotonic() + 10 * PATIENCE
        while text not in self.output:
            assert time.monotonic() < end, self.output
            if select.select([self.ours], [], [], 0.1)[0]:
                self.output += os.read(self.ours, 65536)

    def close(self) -> None:
        """Ends the program and removes the terminal."""
        self.program.kill()
        self.program.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal that shows a machine without drivers."""
    cargo.run(TREE / "tools/rnbdctl", "build", "--locked", "--quiet")
    made = Terminal(cargo.target() / "debug/rnbdctl", "--root", tmp_path, "top")
    yield made
    made.close()


@pytest.mark.parametrize("end", [b"q", b"\x03", signal.SIGTERM, signal.SIGINT])
def test_the_terminal_is_as_before(terminal: Terminal, end: bytes | signal.Signals) -> None:
    """Whether a key or a signal ends the program."""
    terminal.wait_for(ENTER)
    terminal.wait_for(b"DEVICE")
    assert termios.tcgetattr(terminal.theirs) != terminal.before
    if isinstance(end, bytes):
        os.write(terminal.ours, end)
    else:
        terminal.program.send_signal(end)
    terminal.wait_for(LEAVE)
    assert terminal.program.wait(10 * PATIENCE) == 0
    assert termios.tcgetattr(terminal.theirs) == terminal.before
