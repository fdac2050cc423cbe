# SPDX-License-Identifier: GPL-2.0-only
"""RAID1 over two targets, of which one goes and comes back."""

import pytest

from rnbdbench import disks
from rnbdbench import fio
from rnbdbench import network
from rnbdbench import rtrs
from rnbdbench.guest import Guest
from rnbdbench.lab import Lab
from rnbdbench.lab import Pair
from rnbdbench.marks import REMOVES_DISKS
from rnbdbench.rnbd import Target

MD = "/sys/block/md0/md"


def _md(guest: Guest, file: str) -> str:
    return guest.read(f"{MD}/{file}")


def _sum(guest: Guest, disk: str) -> str:
    guest.run(f"blockdev --flushbufs {disk}")
    return guest.output(f"sha256sum < {disk}", timeout=120)


@REMOVES_DISKS
@pytest.mark.long
def test_a_mirror_survives_the_loss_of_a_target(pair: Pair, lab: Lab) -> None:
    """No I/O fails; the target that was booted again is filled, and both are equal."""
    guest = pair.initiator.guest
    here = Target(guest)
    for target in (here, pair.target):
        target.ram_disk(16)
        target.load()
    pair.initiator.load()
    near = pair.initiator.map("/dev/ram0", session="near", path=network.INITIATOR.path())
    far = pair.initiator.map("/dev/ram0", session="far")
    session = pair.initiator.transport("far")
    # Otherwise the array waits for a lost target rather than doing without it.
    assert session.write("fast_io_fail_tmo", "1") is None
    (path,) = session.paths()
    array = disks.mirror(guest, near.node, far.node)
    load = fio.begin_verify(guest, array)
    fio.wait_for_io(guest, far.name)

    pair.target.guest.kill()
    guest.wait_until(
        lambda: _md(guest, "degraded") == "1", "the array to go on", rtrs.LOSS + rtrs.MARGIN
    )
    assert load.running
    fio.wait_for_io(guest, near.name)

    fresh = lab.replace(pair.target.guest)
    network.connect(fresh, network.TARGET)
    target = Target(fresh)
    target.ram_disk(16)
    target.load()
    path.wait_for("connected", rtrs.BACK)
    far.wait_for_state("open")
    guest.run(
        f"echo remove > {MD}/dev-{far.name}/state && stat -L -c %Hr:%Lr {far.node} > {MD}/new_dev"
    )
    guest.wait_until(
        lambda: _md(guest, "degraded") == "0" and _md(guest, "sync_action") == "idle",
        "the array to be whole",
        120,
    )
    load.end()
    guest.run(f"echo clear > {MD}/array_state")
    assert _sum(guest, "/dev/ram0") == _sum(fresh, "/dev/ram0")
    assert near.unmap() is None
    assert far.unmap() is None
