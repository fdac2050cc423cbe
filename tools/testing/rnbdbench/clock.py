# SPDX-License-Identifier: GPL-2.0-only
"""Measuring time by the clock of a guest."""

from rnbdbench.guest import Guest


class Clock:
    """A clock that starts when it is made."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._start = self._now()

    def _now(self) -> float:
        return float(self._guest.read("/proc/uptime").split()[0])

    def seconds(self) -> float:
        """Returns how long the clock has run."""
        return self._now() - self._start

    def wait(self, seconds: float) -> None:
        """Waits until the clock has run for `seconds`, counted from its start."""
        self._guest.wait_until(
            lambda: self.seconds() >= seconds,
            f"{seconds:.0f} s of the guest's time",
            3 * seconds + 30,
        )
