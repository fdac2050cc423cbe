# SPDX-License-Identifier: GPL-2.0-only
"""Two machines that call their session by the same name."""

from rnbdbench import network
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Initiator


def test_the_second_machine_learns_why_it_is_refused(pair: Pair) -> None:
    """By an error of its own and a line on its side; another name works."""
    disk = pair.target.ram_disk(16)
    device = pair.map(disk)
    second = Initiator(pair.target.guest)
    second.load()
    options = f"path={network.TARGET.path()} device_path={disk}"
    mark = second.guest.console.mark()
    assert second.request(f"sessname=bench {options}") == "ENOTUNIQ"
    log = second.guest.printed_since(mark)
    assert "the server has a session of this name with another machine" in log
    assert log.count("the name of its session is in use") > 1, "it may be about to go"
    assert second.devices() == []

    other = second.map(disk, session="other", access_mode="migration")
    assert other.unmap() is None
    assert device.begin_read().wait().code == 0
    assert device.unmap() is None
