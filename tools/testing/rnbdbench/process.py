# SPDX-License-Identifier: GPL-2.0-only
"""Processes that do not outlive the bench."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)
_bench = os.getpid()


def _die_with_the_bench() -> None:
    """Runs in the child before it executes the program."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The bench may have ended before the line above.
    if os.getppid() != _bench:
        os._exit(1)


def spawn(command: Sequence[str], log: Path, descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
    """Starts a process that the kernel kills when the bench ends, for any reason.

    Call this from the main thread: to the kernel, the end of the calling thread is the end
    of the parent.  The child has a session of its own, so that ctrl-C interrupts only the
    bench, which then ends the child in order.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=descriptors,
            start_new_session=True,
            preexec_fn=_die_with_the_bench,
        )
