# SPDX-License-Identifier: GPL-2.0-only
"""A session with a key between two machines."""

from rnbdbench import fio
from rnbdbench import keys
from rnbdbench import rtrs
from rnbdbench.lab import Pair


def test_a_path_that_was_lost_proves_its_key_again(pair: Pair) -> None:
    """It takes the place of the lost one, which the server may still have."""
    guest = pair.initiator.guest
    disk = pair.target.ram_disk(16)
    pair.load()
    for machine in pair.guests:
        keys.add(machine, web=keys.WEB)
    assert pair.target.write_rules("clear", "allow key=web") is None
    device = pair.initiator.map(disk, key="web")
    (path,) = pair.initiator.transport().paths()
    verify = fio.begin_verify(guest, device.node)
    fio.wait_for_io(guest, device.name)

    pair.cable().pull()
    path.wait_for("disconnected", rtrs.LOSS + rtrs.MARGIN)
    pair.cable().plug()
    pair.cable().wait_connected(path, rtrs.RECONNECT + rtrs.MARGIN)
    fio.wait_for_io(guest, device.name)
    verify.end()
    assert pair.target.transport().read("key") == "web"
    assert device.unmap() is None
