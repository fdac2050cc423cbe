# SPDX-License-Identifier: GPL-2.0-only
"""A virtual machine that runs commands for a test."""

import errno
import itertools
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rnbdbench import settings
from rnbdbench.channel import Channel
from rnbdbench.channel import GuestGone
from rnbdbench.commands import CommandFailed
from rnbdbench.commands import Job
from rnbdbench.commands import Result
from rnbdbench.console import Console
from rnbdbench.process import spawn
from rnbdbench.qmp import Monitor
from rnbdbench.specification import Specification
from rnbdbench.waiting import Timeout
from rnbdbench.waiting import wait_until

BOOT_TIMEOUT = 180.0
"""Seconds until a guest must be up; emulation on a busy machine is slow."""

SILENCE_TIMEOUT = 45.0
"""Seconds until the kernel of a guest must have printed its first message."""

RESTARTS = 2
"""How often a guest that prints nothing at all is power-cycled."""

PATIENCE = 1.0
"""Factor for every limit of time."""

SANITIZE_PATIENCE = 3.0


class Guest:
    """One virtual machine: call `start`, then `wait_ready`, and `kill` at the end."""

    _count = itertools.count(1)

    def __init__(self, specification: Specification, folder: Path) -> None:
        self.specification = specification
        self.name = specification.name
        slow = specification.kernel == "sanitize"
        self.patience = (SANITIZE_PATIENCE if slow else PATIENCE) * settings.PATIENCE
        self.kernel = settings.kernel_files(specification.kernel)
        self.pulled: set[int] = set()
        """Network cards whose cable is out."""
        self.loaded: dict[str, str] = {}
        """RNBD modules that were loaded, with their parameters."""
        self.kept: set[str] = set()
        """The loaded modules that an earlier test left, see `drivers`."""
        stem = f"{self.name}-{next(self._count)}"
        self.console = Console(folder / f"{stem}.console")
        self._off = 0
        """The end of the console when the guest was powered on."""
        self._log = folder / f"{stem}.qemu"
        self._commands = folder / f"{stem}.commands"
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._monitor: Monitor | None = None

    @property
    def channel(self) -> Channel:
        """The connection to the agent of a running guest."""
        if self._channel is None:
            raise GuestGone(f"guest {self.name} does not run")
        return self._channel

    @property
    def alive(self) -> bool:
        """Whether the virtual machine runs."""
        return self._process is not None and self._process.poll() is None

    def _end(self) -> str:
        """Returns how the virtual machine has ended, for messages."""
        code = self._process.poll() if self._process else None
        return "QEMU runs" if code is None else f"QEMU's exit code is {code}"

    def start(self) -> None:
        """Powers the guest on and returns at once."""
        self._off = self.console.mark()
        agent, agent_end = socket.socketpair()
        monitor, monitor_end = socket.socketpair()
        with agent_end, monitor_end:
            descriptors = (agent_end.fileno(), monitor_end.fileno())
            command = self.specification.command(self.kernel, self.console.path, *descriptors)
            self._process = spawn(command, self._log, descriptors)
        self._channel = Channel(agent)
        self._monitor = Monitor(monitor)

    def _speaks(self) -> bool:
        """Waits for the first message of the guest; returns whether it came in time."""
        try:
            wait_until(
                lambda: not self.alive or self.console.mark() > self._off,
                "the first message",
                SILENCE_TIMEOUT * self.patience,
            )
        except Timeout:
            return False
        return self.console.mark() > self._off

    def wait_ready(self) -> None:
        """Waits until the guest takes commands.

        Now and then QEMU's emulation of two processors hangs, or ends without a word, before
        the kernel has printed anything, with or without our modules.  Such a guest is
        power-cycled; a hang or an end after the first message is a failure.
        """
        for _ in range(RESTARTS):
            if self._speaks():
                break
            state = "is silent" if self.alive else f"ended at once, {self._end()}"
            print(f"guest {self.name} {state}: power-cycling it", flush=True)
            self.kill()
            self.start()
        try:
            self.channel.reply(0, BOOT_TIMEOUT * self.patience)
        except (GuestGone, Timeout) as error:
            end = self._end()
            self.kill()
            raise RuntimeError(
                f"guest {self.name} did not boot: {error}; {end}\n"
                + self._log.read_text(encoding="utf-8", errors="replace")
                + self.console.since()[-4000:]
            ) from error

    def begin(self, command: str) -> Job:
        """Starts a shell command and returns at once."""
        number = self.channel.send({"do": "run", "command": command})
        return Job(self, command, number)

    def run(self, command: str, timeout: float = 60.0, check: bool = True) -> Result:
        """Runs a shell command to its end.

        With `check`, an exit code other than 0 raises `CommandFailed`.  After
        `timeout` seconds the command is killed and `Timeout` raised.
        """
        job = self.begin(command)
        try:
            result = job.wait(timeout)
        except Timeout:
            job.cancel()
            raise Timeout(f"{self.name}# {command}\ndid not end within {timeout:.0f} s") from None
        if check and result.code != 0:
            raise CommandFailed(self.name, result)
        return result

    def output(self, command: str, timeout: float = 60.0) -> str:
        """Runs a command and returns its output, without white space at the ends."""
        return self.run(command, timeout).stdout.strip()

    def write(self, path: str, text: str, timeout: float = 60.0) -> str | None:
        """Writes to a file and returns the name of the error, or None.

        >>> guest.write("/sys/class/rnbd-client/ctl/map_device", "nonsense")
        'EINVAL'
        """
        order = {"do": "write", "path": path, "text": text}
        number = self._ask(order, f"echo {text.strip()} > {path}", timeout)["errno"]
        return errno.errorcode.get(number, str(number)) if number else None

    def note(self, start: float, command: str) -> None:
        """Logs a command with the seconds that it took, which shows how a test spends its time."""
        with self._commands.open("a", encoding="utf-8") as file:
            print(f"{time.monotonic() - start:6.2f} {' '.join(command.split())}", file=file)

    def read(self, path: str) -> str:
        """Reads a file and returns its content, without white space at the ends.

        It starts no program, so it is much faster than `cat`.
        """
        reply = self._ask({"do": "read", "path": path}, f"cat {path}")
        if reply["errno"]:
            why = os.strerror(reply["errno"])
            raise CommandFailed(self.name, Result(f"cat {path}", 1, "", f"{why}\n"))
        text: str = reply["text"]
        return text.strip()

    def names(self, path: str) -> list[str]:
        """Returns the names in a directory; none if it does not exist."""
        names: list[str] = self._look(path)["names"]
        return names

    def exists(self, path: str) -> bool:
        """Returns whether `path` exists, following symbolic links."""
        return bool(self._look(path)["kind"])

    def is_block_device(self, path: str) -> bool:
        """Returns whether `path` is a block device."""
        return bool(self._look(path)["kind"] == "block")

    def real(self, path: str) -> str:
        """Resolves the symbolic links of a path, which must exist."""
        found = self._look(path)
        assert found["kind"], f"{self.name}: there is no {path}"
        real: str = found["real"]
        return real

    def _look(self, path: str) -> dict[str, Any]:
        return self._ask({"do": "look", "path": path}, f"ls {path}")

    def _ask(self, order: dict[str, Any], command: str, timeout: float = 60.0) -> dict[str, Any]:
        """Returns the agent's reply to an order, which is logged as the equivalent command."""
        start = time.monotonic()
        reply = self.channel.ask(order, timeout * self.patience)
        self.note(start, command)
        return reply

    def wait_until(
        self, condition: Callable[[], object], what: str, timeout: float = 30.0
    ) -> None:
        """Waits for a condition, longer if the kernel is a slow one."""
        wait_until(condition, f"{what} ({self.name})", timeout * self.patience)

    def link(self, up: bool, card: int = 0) -> None:
        """Plugs in or pulls the cable of a network card."""
        assert self._monitor is not None
        self._monitor.execute("set_link", name=f"card{card}", up=up)
        (self.pulled.discard if up else self.pulled.add)(card)

    def kill(self) -> None:
        """Powers the guest off, as a power cut would."""
        self.pulled.clear()
        self.loaded.clear()
        self.kept.clear()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    def sync_console(self) -> None:
        """Waits until the console file has all messages that the kernel has printed so far."""
        if not self.alive:
            return
        text = f"rnbdbench: mark {time.monotonic_ns()}"
        start = self.console.mark()
        self.write("/dev/kmsg", f"{text}\n")
        self.wait_until(lambda: text in self.console.since(start), "the console", 20)

    def printed_since(self, mark: int = 0) -> str:
        """Returns what the kernel has printed until now, from a mark of the console on."""
        self.sync_console()
        return self.console.since(mark)
