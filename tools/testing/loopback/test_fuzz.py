# SPDX-License-Identifier: GPL-2.0-only
"""Peers that send random messages: nothing in the kernel breaks, and others are not affected.

The programs in user space are tools/testing/peer/fuzz_client.py and fuzz_server.py. They run for
seconds, or for as long as `make soak` says.
"""

import pytest

from rnbdbench import fio
from rnbdbench import peer
from rnbdbench import settings
from rnbdbench.lab import Lab
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device

DEPTH = 24
"""Requests of a session: no power of two, so that there are ids without a chunk."""

MEGABYTES = 4
"""Of the honest client's disk, which it writes and checks as a whole, pass after pass."""

PAUSE = 50
"""Milliseconds between the requests of the honest client."""


RATES = {"stock": (5.0, 0.2), "sanitize": (1.0, 0.02)}
"""Messages and sessions a second, by kernel, without which a run is an empty one; a busy machine
has some ten times as many, an idle one fifty times."""

RESPONSES = {"response 0", "response 22"}
"""What each run of the client sees, however short."""

ENDS = ("done", "left", "closed", "no end", "refused", "response", "heartbeat", "acknowledged")
"""How the outcomes begin that are right: all others are those of a server that is not."""


def _begin_honest_load(bench: Pair, device: Device) -> fio.Verify:
    seconds = int(settings.FUZZ_SECONDS) + 1800
    guest = bench.initiator.guest
    return fio.begin_verify(guest, device.node, seconds, depth=2, block="4k-4k", pause=PAUSE)


def _check_that_it_ran(report: peer.Report, kernel: str) -> None:
    messages, sessions = RATES.get(kernel, RATES["stock"])
    assert report.messages >= messages * report.seconds, f"too few messages: {report}"
    assert report.up >= max(1, sessions * report.seconds), f"too few sessions: {report}"


@pytest.mark.parametrize(
    "always_invalidate",
    [pytest.param(True, id="new-keys"), pytest.param(False, id="same-keys", marks=pytest.mark.long)],
)
def test_a_fuzzing_client_harms_nobody(
    lab: Lab, loopback: Pair, always_invalidate: bool
) -> None:
    """What deserves a response gets one, its sessions end, and an honest one goes on."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    # No change of a bit makes the name of one disk that of the other.
    honest = loopback.target.null_disk(size=MEGABYTES)
    loopback.load(always_invalidate=always_invalidate, transport={"sess_queue_depth": DEPTH})
    device = loopback.initiator.map(honest)
    load = _begin_honest_load(loopback, device)

    report = peer.begin_fuzzing_client(guest, disk).report()

    lab.note(str(report))
    load.end()
    guest.wait_until(
        lambda: loopback.target.transports() == ["bench"], "the fuzzer's sessions to be closed"
    )
    guest.wait_until(
        lambda: loopback.target.sessions() == ["bench"], "the fuzzer's devices to be closed"
    )
    assert device.unmap() is None
    wrong = [name for name in report.outcomes if not name.startswith(ENDS)]
    assert not wrong, f"{wrong}: {report}"
    assert set(report.outcomes) >= RESPONSES, f"few kinds of outcomes: {report}"
    _check_that_it_ran(report, guest.kernel.name)


def test_fuzzing_servers_harm_nobody(lab: Lab, loopback: Pair) -> None:
    """Disks of such a server can be mapped, used and unmapped, or not; an honest one goes on."""
    guest = loopback.initiator.guest
    device = loopback.map(loopback.target.null_disk(size=MEGABYTES))
    load = _begin_honest_load(loopback, device)

    fuzzer = peer.begin_fuzzing_server(guest)
    mapped = peer.map_disks(guest, settings.FUZZ_SECONDS)
    report = fuzzer.report()

    lab.note(f"{report}; {mapped}")
    load.end()
    guest.wait_until(
        lambda: loopback.initiator.transports() == ["bench"], "the fuzzer's sessions to be closed"
    )
    assert loopback.initiator.devices() == [device]
    assert device.unmap() is None
    assert mapped.outcomes.get("stuck", 0) == 0, f"I/O hangs on disks that are gone: {mapped}"
    assert mapped.outcomes.get("map", 0) > 0, f"no disk was mapped: {mapped}"
    assert mapped.outcomes.get("read", 0) > 0, f"no disk was read: {mapped}"
    assert set(report.outcomes) > {"reply"}, f"no response was wrong: {report}"
    _check_that_it_ran(report, guest.kernel.name)
