# SPDX-License-Identifier: GPL-2.0-only
"""Memory can run short while a path is connected again."""

import re

from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.tracing import MOUNT
from rnbdbench.tracing import TRACING

WAITS = re.compile(r"gfp_flags=\S*(GFP_KERNEL|GFP_USER|GFP_NOFS|GFP_HIGHUSER|__GFP_IO)")
EVENT = f"{TRACING}/events/kmem/mm_page_alloc"


def test_connecting_again_does_not_wait_for_io(loopback: Pair, device: Device) -> None:
    """Pages that it takes are not won by writing to the disk that waits for it."""
    guest = loopback.initiator.guest
    (path,) = loopback.initiator.transport().paths()
    assert path.disconnect() is None
    # The writer of the file connects the path, so this one task is looked at.
    trace = guest.output(
        f"{MOUNT};"
        f" echo $$ > {TRACING}/set_event_pid; echo 1 > {TRACING}/options/stacktrace;"
        f" : > {TRACING}/trace; echo 1 > {EVENT}/enable;"
        f" echo 1 > {path.folder}/reconnect; echo 0 > {EVENT}/enable;"
        f" cat {TRACING}/trace; : > {TRACING}/trace;"
        f" echo 0 > {TRACING}/options/stacktrace; : > {TRACING}/set_event_pid"
    )
    entries = re.split(r"(?=mm_page_alloc: )", trace)[1:]
    # Names of functions are mangled; those of other modules are called from these.
    ours = [entry for entry in entries if re.search(r"rtrs\d*client\d*path", entry)]
    # Connecting makes queue pairs and tables of requests.
    assert len(ours) >= 10, f"too few allocations were seen in:\n{trace[-3000:]}"
    waiting = [entry for entry in ours if WAITS.search(entry)]
    assert not waiting, f"{len(waiting)} of {len(ours)} may wait for I/O, such as\n{waiting[0]}"
    assert device.unmap() is None
