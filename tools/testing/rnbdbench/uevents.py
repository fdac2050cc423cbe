# SPDX-License-Identifier: GPL-2.0-only
"""Uevents of block devices, as a guest's kernel sends them."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from rnbdbench.guest import Guest

# Family 16 is AF_NETLINK, protocol 15 NETLINK_KOBJECT_UEVENT, group 1 the kernel's.
_LISTEN = (
    "import socket; s = socket.socket(16, socket.SOCK_DGRAM, 15); s.bind((0, 1));"
    " [print(*s.recv(8192).decode().split(chr(0)), flush=True) for _ in iter(int, 1)]"
)
_NUMBERS = itertools.count()


class Uevents:
    """The uevents that were recorded so far."""

    def __init__(self, guest: Guest, file: str) -> None:
        self._guest = guest
        self._file = file

    def of(self, disk: str) -> list[str]:
        """Returns the events of a disk: the action, and all variables behind it."""
        lines = self._guest.read(self._file).splitlines()
        return [line for line in lines if f"DEVNAME={disk} " in f"{line} "]

    def wait_for(self, disk: str, *words: str, timeout: float = 15.0) -> None:
        """Waits for an event of a disk with all of the words in it."""
        self._guest.wait_until(
            lambda: any(set(words) <= set(line.split()) for line in self.of(disk)),
            f"the uevent {' '.join(words)} of {disk}",
            timeout,
        )


@contextmanager
def recorded(guest: Guest) -> Iterator[Uevents]:
    """Records uevents for the duration of the block."""
    file = f"/run/uevents{next(_NUMBERS)}"
    guest.run(f"rm -f {file}")
    job = guest.begin(f'python3 -c "{_LISTEN}" > {file}')
    guest.wait_until(lambda: guest.exists(file), "the listener")
    try:
        # Until the socket is bound: an event of any device shows that it is.
        guest.wait_until(
            lambda: guest.run(
                f"echo change > /sys/class/mem/null/uevent; test -s {file}", check=False
            ).code
            == 0,
            "the listener to listen",
        )
        yield Uevents(guest, file)
    finally:
        job.cancel()
        job.wait()
