# SPDX-License-Identifier: GPL-2.0-only
"""Memory that the kernel of a guest uses for itself."""

import re

from rnbdbench.guest import Guest

PAGE = 4
"""KiB in a page."""

STILL = 5
"""Readings none of which is below the one before them: nothing is being freed any more."""

SLACK = 64
"""KiB by which one reading differs from the next one at rest."""

NOT_ITS_OWN = ("MemFree", "Buffers", "Cached", "SReclaimable", "AnonPages")
"""Fields of /proc/meminfo: memory that is free, of files, or of programs."""


def _reading(guest: Guest) -> int:
    guest.run("echo 3 > /proc/sys/vm/drop_caches; cat /proc/sys/vm/stat_refresh")
    lines = guest.read("/proc/meminfo").splitlines()
    fields = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    # Free pages that a CPU keeps at hand, which are megabytes at times.
    kept = sum(int(count) for count in re.findall(r" count: +(\d+)", guest.read("/proc/zoneinfo")))
    return fields["MemTotal"] - sum(fields[name] for name in NOT_ITS_OWN) - kept * PAGE


def used(guest: Guest) -> int:
    """KiB that the kernel uses itself, once it has freed what it puts off.

    The stacks of programs that ended are freed by RCU and by workers, some
    megabytes for a hundred of them.
    """
    readings = [_reading(guest)]

    def still() -> bool:
        readings.append(_reading(guest))
        return len(readings) > STILL and min(readings[-STILL:]) > readings[-STILL - 1] - SLACK

    guest.wait_until(still, "the kernel to free what it puts off", 60)
    return readings[-1]
