# SPDX-License-Identifier: GPL-2.0-only
"""Mapping devices of a server that cannot be reached."""

from rnbdbench.clock import Clock
from rnbdbench.commands import Job
from rnbdbench.lab import Pair
from rnbdbench.rnbd import MAP_DEVICE

AWAY = "ip:10.50.100.99"
"""An address that no machine has."""

DEVICES = 8


def test_devices_of_a_server_that_is_away_fail_together(pair: Pair) -> None:
    """All writers get the result of the one that connects the session; a later one tries again."""
    guest = pair.initiator.guest
    pair.initiator.load()

    def begin(number: int) -> Job:
        line = f"sessname=bench path={AWAY} device_path=/dev/ram{number}"
        return guest.begin(f"echo '{line}' > {MAP_DEVICE}")

    clock = Clock(guest)
    assert begin(0).wait(120).code != 0
    alone = clock.seconds()
    clock = Clock(guest)
    jobs = [begin(number) for number in range(DEVICES)]
    results = [job.wait(240) for job in jobs]
    took = clock.seconds()
    assert all(result.code != 0 for result in results)
    assert took < 3 * alone, f"{DEVICES} took {took:.1f} s, one {alone:.1f} s"
    device = pair.map()
    assert device.unmap() is None
