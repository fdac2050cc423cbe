# SPDX-License-Identifier: GPL-2.0-only
"""The guests that are measured.

One counts: it has one processor, and takes one instruction a nanosecond.  The other one has
several processors, which run at the same time.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

from rnbdbench import dmesg
from rnbdbench.guest import Guest
from rnbdbench.specification import Specification


CPUS = 4
"""The processors of a guest that has several."""


def counting(name: str, drivers: str, options: Sequence[str] = ()) -> Specification:
    """Returns the guest that counts; `options` are more ones for QEMU."""
    return Specification(
        f"bench-{name}", "stock", drivers, cpus=1, counted=True, options=list(options)
    )


def parallel(name: str, drivers: str, options: Sequence[str] = ()) -> Specification:
    """Returns the guest with several processors."""
    return Specification(
        f"bench-{name}", "stock", drivers, cpus=CPUS, by_words=True, options=list(options)
    )


@contextmanager
def running(specification: Specification, logs: Path) -> Iterator[Guest]:
    """Provides a guest for a `with` block, which fails if the kernel reports a problem.

    A guest of its own for everything that is measured: what ran before leaves
    traces in caches and allocators.
    """
    guest = Guest(specification, logs)
    guest.start()
    try:
        guest.wait_ready()
        yield guest
        complaints = dmesg.complaints(guest.printed_since())
        assert not complaints, f"the kernel of {guest.name} complained:\n{complaints}"
    finally:
        guest.kill()
