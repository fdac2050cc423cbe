# SPDX-License-Identifier: GPL-2.0-only
"""Memory that is not there, at any point of what an operator does.

One allocation fails, then a later one, and so on until there are no more; each time what
was begun is given up or done, and can be done again.  kmemleak and KASAN look at
what is left.
"""

import json
import shlex

import pytest

from rnbdbench import fio
from rnbdbench import image
from rnbdbench import network
from rnbdbench import rnbd
from rnbdbench import rtrs
from rnbdbench.lab import Lab
from rnbdbench.lab import Pair

SESSION = f"{rtrs.CLIENT_SESSIONS}/bench"
SECOND = f"ip:{network.TARGET.v6}"
SECOND_PATH = f"{SESSION}/paths/*{SECOND}"
FIRST_PATH = f"{SESSION}/paths/*{network.TARGET.path()}"

MAP = [rnbd.MAP_DEVICE, f"sessname=bench path={network.TARGET.path()} device_path=/dev/ram0"]
MAP_NOTHING = [MAP[0], MAP[1].replace("/dev/ram0", "/dev/none")]
UNMAP = ["/sys/block/rnbd*/rnbd/unmap_device", "normal"]
ADD = [f"{SESSION}/add_path", SECOND]
REMOVE = [f"{SECOND_PATH}/remove_path", "1"]
DISCONNECT = [f"{FIRST_PATH}/disconnect", "1"]
RECONNECT = [f"{FIRST_PATH}/reconnect", "1"]

ORDERS = {
    # Not of a disk that is there: when one cannot be added, the block layer frees it while
    # a part of it waits for its release, which DEBUG_KOBJECT_RELEASE puts off.
    "connect": {"prepare": [], "do": MAP_NOTHING, "undo": []},
    "unmap": {"prepare": [MAP], "do": UNMAP, "undo": [UNMAP]},
    "add-path": {"prepare": [], "do": ADD, "undo": [REMOVE]},
    "remove-path": {"prepare": [ADD], "do": REMOVE, "undo": [REMOVE]},
    "disconnect": {"prepare": [], "do": DISCONNECT, "undo": [RECONNECT]},
    "reconnect": {"prepare": [DISCONNECT], "do": RECONNECT, "undo": [RECONNECT]},
}
"""What is done, and what before and after, as fail_nth.py takes it."""

NO_DISK = {"connect", "unmap"}
"""Those that begin without a disk; others need one."""

MOST = 60
"""Allocations that fail: a round with one takes some seconds."""

LONGEST = 1200.0
"""Seconds that all of them may take."""


@pytest.mark.long
@pytest.mark.kernels("sanitize")
@pytest.mark.parametrize("what", ORDERS)
def test_any_allocation_may_fail(loopback: Pair, lab: Lab, what: str) -> None:
    """Nothing breaks, and afterwards a disk works."""
    guest = loopback.initiator.guest
    disk = loopback.target.ram_disk(16)
    loopback.load(transport={"sess_queue_depth": 4})
    device = None if what in NO_DISK else loopback.initiator.map(disk)
    lab.let_memory_fail()
    orders = {"most": MOST, **ORDERS[what]}
    command = f"{image.program('fail_nth.py')} {shlex.quote(json.dumps(orders))}"

    found = json.loads(guest.output(command, timeout=LONGEST))

    lab.note(f"{what}: {found}")
    assert found["failed"] > 0, "nothing could fail"
    assert found["undisturbed"] == ("ENOENT" if what == "connect" else "none"), found
    assert set(found["errors"]) <= {found["undisturbed"], "ENOMEM"}, found
    device = device or loopback.initiator.map(disk)
    fio.verify(guest, device.node, block="64k", size="1m")
    assert device.unmap() is None
