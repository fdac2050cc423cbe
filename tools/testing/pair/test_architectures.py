# SPDX-License-Identifier: GPL-2.0-only
"""An initiator and a target of different architectures, whose pages may differ in size."""

import pytest

from rnbdbench import direct
from rnbdbench import disks
from rnbdbench import fio
from rnbdbench import table
from rnbdbench.lab import Pair

ARM64 = [name for name in table.names("core") if table.find(name).architecture == "arm64"]
"""Those that are not prepared are left out."""

KIB = 1024
SIZE = 8 * disks.MEGABYTE


@pytest.mark.long
@pytest.mark.kernels(*(f"{name}+stock" for name in ARM64))
@pytest.mark.drivers("rust-rust", "rust-c")
def test_a_client_of_arm64_has_a_disk_of_amd64(pair: Pair) -> None:
    """The server is ours or the C driver."""
    _expect_the_same_data(pair)


@pytest.mark.long
@pytest.mark.kernels(*(f"stock+{name}" for name in ARM64))
@pytest.mark.drivers("rust-rust", "c-rust")
def test_a_client_of_amd64_has_a_disk_of_arm64(pair: Pair) -> None:
    """The client is ours or the C driver."""
    _expect_the_same_data(pair)


def _expect_the_same_data(pair: Pair) -> None:
    machines = [guest.output("uname -m") for guest in pair.guests]
    assert sorted(machines) == ["aarch64", "x86_64"]
    initiator, target = pair.initiator.guest, pair.target.guest
    disk = pair.target.ram_disk(64)
    device = pair.map(disk)
    assert disks.sectors(initiator, device.node) == disks.sectors(target, disk)

    written = initiator.output(
        f"head -c {SIZE} /dev/urandom > /run/data.img"
        f" && dd if=/run/data.img of={device.node} bs=1M oflag=direct status=none"
        " && sha256sum < /run/data.img"
    )
    assert target.output(f"head -c {SIZE} {disk} | sha256sum") == written
    changed = target.output(
        f"head -c {SIZE} /dev/urandom > /run/data.img"
        f" && dd if=/run/data.img of={disk} bs=1M oflag=direct status=none"
        " && sha256sum < /run/data.img"
    )
    assert changed != written
    read = f"dd if={device.node} bs=64k count={SIZE >> 16} iflag=direct status=none | sha256sum"
    assert initiator.output(read) == changed

    fio.verify(initiator, device.node, block="4k-1m", size="16m")
    fio.verify(initiator, device.node, block="4k", size="2m")
    # In pieces that begin and end within a page of either size.
    direct.write_and_read(initiator, device.node, 16, 4 * KIB, step=20 * KIB, skew=512)
    assert device.unmap() is None
