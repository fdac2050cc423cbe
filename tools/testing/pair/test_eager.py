# SPDX-License-Identifier: GPL-2.0-only
"""Two machines of which only one wants requests to be messages."""

import pytest

from rnbdbench import fio
from rnbdbench.lab import Pair

pytestmark = pytest.mark.fabrics("rxe")


@pytest.mark.parametrize("side", ["initiator", "target"])
def test_requests_go_through_chunks_if_one_side_wants_that(pair: Pair, side: str) -> None:
    """The other side goes along."""
    disk = pair.target.ram_disk(16)
    loaded = pair.initiator if side == "initiator" else pair.target
    loaded.guest.run("modprobe rtrs eager_requests=0")
    pair.load()
    assert loaded.guest.read("/sys/module/rtrs/parameters/eager_requests") == "N"
    device = pair.initiator.map(disk)
    fio.verify(pair.initiator.guest, device.node, block="512-8k", size="2m")
    assert device.unmap() is None
