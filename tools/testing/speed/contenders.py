# SPDX-License-Identifier: GPL-2.0-only
"""What is measured: ways from fio to one and the same RAM disk."""

from collections.abc import Callable
from dataclasses import dataclass

from rnbdbench import network
from rnbdbench import rnbd
from rnbdbench.guest import Guest
from speed import nvme

DISK_MEGABYTES = 128


@dataclass(frozen=True)
class Contender:
    """One way."""

    key: str
    """A word for it."""
    title: str
    drivers: str
    """Which RNBD modules its guest has."""
    attach: Callable[[Guest, str], str]
    """Makes a way to a device in a guest; returns the file of the device there."""
    cheap: bool = False
    """Whether it passes no network."""


def _direct(_guest: Guest, device: str) -> str:
    return device


def _rnbd(always_invalidate: bool) -> Callable[[Guest, str], str]:
    def attach(guest: Guest, device: str) -> str:
        network.loop_back(guest)
        rnbd.Target(guest).load(always_invalidate=always_invalidate)
        initiator = rnbd.Initiator(guest)
        initiator.load()
        return initiator.map(device).node

    return attach


def _nvme(guest: Guest, device: str) -> str:
    network.loop_back(guest)
    nvme.serve(guest, device)
    return nvme.connect(guest)


CONTENDERS = [
    Contender("ram0", "ram0 itself", "rust", _direct, cheap=True),
    Contender("nvme", "nvme-rdma + nvmet", "rust", _nvme),
    Contender("c", "C, always_invalidate=Y", "c", _rnbd(True)),
    Contender("c-n", "C, always_invalidate=N", "c", _rnbd(False)),
    Contender("ours", "ours, always_invalidate=Y", "rust", _rnbd(True)),
    Contender("ours-n", "ours, always_invalidate=N", "rust", _rnbd(False)),
]
"""All of them, in the order of the table."""


def chosen(words: list[str]) -> list[Contender]:
    """Those with these keys; all when there is none.  `KeyError` for what is no key."""
    known = {contender.key: contender for contender in CONTENDERS}
    wanted = {known[word].key for word in words}
    return [contender for contender in CONTENDERS if not wanted or contender.key in wanted]


def prepare(guest: Guest, contender: Contender) -> str:
    """Makes the disk, full, and the way to it; returns the device file to measure."""
    disk = rnbd.Target(guest).ram_disk(DISK_MEGABYTES)
    # A RAM disk takes its pages when they are first written.
    blocks = f"bs=1M count={DISK_MEGABYTES}"
    guest.run(f"dd if=/dev/zero of={disk} {blocks} oflag=direct status=none", timeout=120)
    node = contender.attach(guest, disk)
    # Requests are to go straight to the driver, whatever the default is.
    scheduler = f"/sys/block/{node.removeprefix('/dev/')}/queue/scheduler"
    guest.run(f"if [ -e {scheduler} ]; then echo none > {scheduler}; fi")
    return node
