# SPDX-License-Identifier: GPL-2.0-only
"""The memory that the kernel of a guest uses for itself."""

import re

from rnbdbench.guest import Guest

PAGE = 4
"""KiB in a page."""

STILL = 5
"""Readings that must not be below the one before them: nothing is being freed any more."""

SLACK = 64
"""KiB by which successive readings of an idle kernel differ."""

NOT_ITS_OWN = ("MemFree", "Buffers", "Cached", "SReclaimable", "AnonPages")
"""Fields of /proc/meminfo that count free memory, and memory of files and programs."""


def _reading(guest: Guest) -> int:
    guest.run("echo 3 > /proc/sys/vm/drop_caches; cat /proc/sys/vm/stat_refresh")
    lines = guest.read("/proc/meminfo").splitlines()
    fields = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    # Free pages in the lists of each CPU, which can be megabytes.
    kept = sum(int(count) for count in re.findall(r" count: +(\d+)", guest.read("/proc/zoneinfo")))
    return fields["MemTotal"] - sum(fields[name] for name in NOT_ITS_OWN) - kept * PAGE


def used(guest: Guest) -> int:
    """Returns the KiB that the kernel uses itself, once deferred frees are done.

    RCU and workers free the stacks of programs that ended, some megabytes for a hundred
    programs.
    """
    readings = [_reading(guest)]

    def still() -> bool:
        readings.append(_reading(guest))
        return len(readings) > STILL and min(readings[-STILL:]) > readings[-STILL - 1] - SLACK

    guest.wait_until(still, "the kernel to finish deferred frees", 60)
    return readings[-1]
