# SPDX-License-Identifier: GPL-2.0-only
"""The guest that counts: one processor, one instruction a nanosecond."""

from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

from rnbdbench import dmesg
from rnbdbench.guest import Guest
from rnbdbench.specification import Specification


@contextmanager
def counting(
    name: str, drivers: str, logs: Path, options: Sequence[str] = ()
) -> Iterator[Guest]:
    """Provides a guest for a `with` block, which fails if the kernel reports a problem.

    A guest of its own for everything that is measured: what ran before leaves
    traces in caches and allocators.  `options` are more ones for QEMU.
    """
    specification = Specification(
        f"bench-{name}", "stock", drivers, cpus=1, counted=True, options=list(options)
    )
    guest = Guest(specification, logs)
    guest.start()
    try:
        guest.wait_ready()
        yield guest
        guest.sync_console()
        complaints = dmesg.complaints(guest.console.since())
        assert not complaints, f"the kernel of {guest.name} complained:\n{complaints}"
    finally:
        guest.kill()
