# SPDX-License-Identifier: GPL-2.0-only
"""The other kernels of the table, tools/build/kernels, as far as they are prepared."""

from pathlib import Path

import pytest

from rnbdbench import dmesg
from rnbdbench import drivers
from rnbdbench import fio
from rnbdbench import loading
from rnbdbench import settings
from rnbdbench import table
from rnbdbench.lab import Pair

SIZE = 4 << 20


@pytest.mark.kernels(*table.names("core"))
def test_a_disk_is_mapped_and_has_the_data_at_both_ends(loopback: Pair) -> None:
    """And again, with the modules unloaded in between."""
    disk = loopback.target.ram_disk(16)
    guest = loopback.initiator.guest
    for _ in range(2):
        loopback.load()
        for _ in range(3):
            device = loopback.initiator.map(disk)
            guest.run(
                f"head -c {SIZE} /dev/urandom > /run/data.img"
                f" && dd if=/run/data.img of={device.node} bs=128k oflag=direct status=none"
                f" && cmp -n {SIZE} /run/data.img {disk}"
                f" && dd if={device.node} bs=64k count={SIZE >> 16} iflag=direct status=none"
                " | cmp - /run/data.img"
            )
            assert device.unmap() is None
        device = loopback.initiator.map(disk)
        fio.verify(guest, device.node, size="4m")
        assert device.unmap() is None
        drivers.unload(guest)


@pytest.mark.kernels(*table.names("load"))
def test_a_kernel_without_rdma_devices_refuses_to_map(bare_kernel: str, tmp_path: Path) -> None:
    """The modules load, name the error, and unload."""
    log = loading.load_and_unload(settings.kernel_files(bare_kernel), tmp_path)
    assert not dmesg.complaints(log), log
    assert "rnbdbench: loaded" in log, log
    assert "rnbdbench: mapped" not in log, log
    assert "rnbdbench: refused: " in log and "No such device" in log, log
    assert "rnbdbench: rmmod" not in log and "rnbdbench: unloaded" in log, log
