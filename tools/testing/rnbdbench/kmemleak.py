# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's leak detector."""

import time

from rnbdbench.guest import Guest

_FILE = "/sys/kernel/debug/kmemleak"

_MINIMUM_AGE = 6.0
"""Age in seconds of objects at a scan; kmemleak reports none that is younger than 5."""


class LeakCheck:
    """Reports the leaks in one guest since this object was made.

    A detector that does not work is an error: it would find no leaks.
    """

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        # Forget older leaks, and scan only on request.
        for order in ("scan=off", "clear"):
            error = guest.write(_FILE, order)
            assert error is None, f"kmemleak on {guest.name} refuses '{order}': {error}"

    def report(self) -> str:
        """Scans and returns the report, which is empty if nothing leaked.

        kmemleak does not report an object whose checksum changed since the last scan, hence
        two scans.  A suspect must also appear in a third one, as a pointer to it may have
        been in a register of a running CPU.
        """
        freed = self._uptime()
        self._guest.wait_until(
            lambda: self._uptime() > freed + _MINIMUM_AGE, "objects to be old enough to count"
        )
        for _ in range(2):
            self._scan()
        if not self._read():
            return ""
        self._scan()
        return self._read()

    def _uptime(self) -> float:
        return float(self._guest.read("/proc/uptime").split()[0])

    def _scan(self) -> None:
        start = time.monotonic()
        error = self._guest.write(_FILE, "scan", timeout=300)
        assert error is None, f"kmemleak scan: {error} after {time.monotonic() - start:.0f} s"

    def _read(self) -> str:
        return self._guest.read(_FILE)
