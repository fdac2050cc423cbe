# SPDX-License-Identifier: GPL-2.0-only
"""Shell commands in a guest, and their results."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnbdbench.guest import Guest


@dataclass(frozen=True)
class Result:
    """Exit code and output of a command."""

    command: str
    code: int
    stdout: str
    stderr: str


class CommandFailed(AssertionError):
    """A command in a guest failed."""

    def __init__(self, guest: str, result: Result) -> None:
        super().__init__(
            f"{guest}# {result.command}\nended with code {result.code}\n"
            f"{result.stdout}{result.stderr}"
        )
        self.result = result


class Job:
    """A command that runs in a guest while the test goes on."""

    def __init__(self, guest: "Guest", command: str, number: int) -> None:
        self._guest = guest
        self._command = command
        self._number = number
        self._start = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether the command has not ended yet."""
        return self._guest.channel.pending(self._number)

    def wait(self, timeout: float = 60.0) -> Result:
        """Waits for the end of the command and returns its result, even if it failed."""
        reply = self._guest.channel.reply(self._number, timeout * self._guest.patience)
        self._guest.note(self._start, self._command)
        return Result(self._command, reply["code"], reply["stdout"], reply["stderr"])

    def check(self, timeout: float = 60.0) -> Result:
        """Waits for the end of the command, which must succeed, and returns its result."""
        result = self.wait(timeout)
        if result.code != 0:
            raise CommandFailed(self._guest.name, result)
        return result

    def cancel(self) -> None:
        """Kills the command and its child processes."""
        self._guest.channel.ask({"do": "cancel", "target": self._number}, 30.0)
