# SPDX-License-Identifier: GPL-2.0-only
"""Waiting for conditions, with a limit of time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Timeout(AssertionError):
    """A condition did not become true in time."""


def wait_until(
    condition: Callable[[], T],
    what: str,
    timeout: float = 30.0,
    interval: float = 0.2,
) -> T:
    """Polls `condition` until it returns a true value, and returns that value.

    `what` completes the sentence "waited 30 s for …".
    """
    start = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() - start > timeout:
            raise Timeout(f"waited {timeout:.0f} s for {what}")
        time.sleep(interval)
