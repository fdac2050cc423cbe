# SPDX-License-Identifier: GPL-2.0-only
"""Time as a guest has it, for what must last."""

from rnbdbench.guest import Guest


class Clock:
    """Runs from when it is made."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._start = self._now()

    def _now(self) -> float:
        return float(self._guest.read("/proc/uptime").split()[0])

    def seconds(self) -> float:
        """How long it has run."""
        return self._now() - self._start

    def wait(self, seconds: float) -> None:
        """Waits until it has run for so long, counted from its start."""
        self._guest.wait_until(
            lambda: self.seconds() >= seconds,
            f"{seconds:.0f} s of the guest's time",
            3 * seconds + 30,
        )
