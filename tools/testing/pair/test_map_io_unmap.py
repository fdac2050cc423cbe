# SPDX-License-Identifier: GPL-2.0-only
"""A disk across two machines: map, write, read back, unmap, unload."""

import pytest

from rnbdbench import disks
from rnbdbench import fio
from rnbdbench import network
from rnbdbench.lab import Pair

pytestmark = pytest.mark.fabrics("rxe", "siw")

PAIRINGS = ("rust-rust", "rust-c", "c-rust")
"""Client and server: ours alone, and ours with the C drivers either way."""


@pytest.mark.drivers(*PAIRINGS)
@pytest.mark.parametrize(
    "always_invalidate",
    [pytest.param(True, id="invalidate"), pytest.param(False, id="keep", marks=pytest.mark.long)],
)
def test_what_was_written_is_read_back(pair: Pair, always_invalidate: bool) -> None:
    """Blocks of every size from 4k to 1M, checked by fio."""
    disk = pair.target.ram_disk()
    pair.load(always_invalidate=always_invalidate)
    device = pair.initiator.map(disk)
    fio.verify(pair.initiator.guest, device.node, block="4k-1m", size="24m")
    fio.verify(pair.initiator.guest, device.node, block="4k", size="2m")
    assert device.unmap() is None
    assert not device.exists()


@pytest.mark.parametrize("source", [False, True], ids=["no-source", "source"])
@pytest.mark.parametrize("version", [4, 6])
def test_both_address_families_work(pair: Pair, version: int, source: bool) -> None:
    """IPv4 and IPv6, with and without a source address."""
    _expect_io(pair, version, source)


@pytest.mark.long
@pytest.mark.drivers("rust-c", "c-rust")
@pytest.mark.parametrize("source", [False, True], ids=["no-source", "source"])
@pytest.mark.parametrize("version", [4, 6])
def test_both_address_families_work_with_c(pair: Pair, version: int, source: bool) -> None:
    """The same with the C driver on one side."""
    _expect_io(pair, version, source)


def _expect_io(pair: Pair, version: int, source: bool) -> None:
    disk = pair.target.ram_disk(16)
    pair.load()
    path = network.TARGET.path(version)
    if source:
        path = f"{network.INITIATOR.path(version)}@{path}"
    device = pair.initiator.map(disk, path=path)
    fio.verify(pair.initiator.guest, device.node, block="64k", size="4m")
    assert device.unmap() is None


@pytest.mark.kernels("stock")
@pytest.mark.fabrics("rxe")
@pytest.mark.drivers("rust-c")
def test_a_partial_block_at_the_end_is_left_out(pair: Pair) -> None:
    """The C server reports the whole size of a device, though its end cannot be used."""
    guest = pair.target.guest
    disk = disks.loop(guest, 16 * disks.MEGABYTE + 2048, options="--sector-size 4096")
    device = pair.map(disk)
    assert disks.sectors(pair.initiator.guest, device.node) == 16 * disks.MEGABYTE // 512
    fio.verify(pair.initiator.guest, device.node, block="64k", size="4m")
    assert device.unmap() is None


@pytest.mark.long
@pytest.mark.drivers("rust-rust", "rust-c")
def test_polled_io_works(pair: Pair) -> None:
    """The server accepts more connections than the client has CPUs."""
    device = pair.map(nr_poll_queues=2)
    fio.verify(pair.initiator.guest, device.node, block="4k-256k", size="8m", polled=True)
    (path,) = pair.initiator.transport().paths()
    assert path.polled() > 0
    assert device.unmap() is None
