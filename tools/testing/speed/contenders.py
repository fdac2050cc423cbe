# SPDX-License-Identifier: GPL-2.0-only
"""The contenders: ways from fio to the same RAM disk."""

from collections.abc import Callable
from dataclasses import dataclass

from rnbdbench import network
from rnbdbench import rnbd
from rnbdbench.guest import Guest
from speed import nvme

DISK_MEGABYTES = 128


@dataclass(frozen=True)
class Contender:
    """One way from fio to the disk."""

    key: str
    """Its name on the command line."""
    title: str
    drivers: str
    """The RNBD modules of its guest."""
    attach: Callable[[Guest, list[str]], list[str]]
    """Makes the way to devices in a guest; returns the nodes of the resulting devices."""
    cheap: bool = False
    """Whether it does not use the network."""


def _direct(_guest: Guest, devices: list[str]) -> list[str]:
    return devices


def _rnbd(always_invalidate: bool) -> Callable[[Guest, list[str]], list[str]]:
    def attach(guest: Guest, devices: list[str]) -> list[str]:
        network.loop_back(guest)
        rnbd.Target(guest).load(always_invalidate=always_invalidate)
        initiator = rnbd.Initiator(guest)
        initiator.load()
        return [initiator.map(device).node for device in devices]

    return attach


def _nvme(guest: Guest, devices: list[str]) -> list[str]:
    network.loop_back(guest)
    nvme.serve(guest, devices)
    return nvme.connect(guest, len(devices))


CONTENDERS = [
    Contender("ram0", "ram0 itself", "rust", _direct, cheap=True),
    Contender("nvme", "nvme-rdma + nvmet", "rust", _nvme),
    Contender("c", "C, always_invalidate=Y", "c", _rnbd(True)),
    Contender("c-n", "C, always_invalidate=N", "c", _rnbd(False)),
    Contender("ours", "ours, always_invalidate=Y", "rust", _rnbd(True)),
    Contender("ours-n", "ours, always_invalidate=N", "rust", _rnbd(False)),
]
"""All contenders, in the order of the table."""


def chosen(words: list[str]) -> list[Contender]:
    """Returns the contenders with these keys, or all; raises `KeyError` for an unknown key."""
    known = {contender.key: contender for contender in CONTENDERS}
    wanted = {known[word].key for word in words}
    return [contender for contender in CONTENDERS if not wanted or contender.key in wanted]


def prepare(guest: Guest, contender: Contender, count: int = 1) -> list[str]:
    """Makes and fills disks, and the way to them; returns the device nodes to measure."""
    first = rnbd.Target(guest).ram_disk(DISK_MEGABYTES, count)
    disks = [f"{first.rstrip('0')}{number}" for number in range(count)]
    for disk in disks:
        # A RAM disk takes its pages when they are first written.
        blocks = f"bs=1M count={DISK_MEGABYTES}"
        guest.run(f"dd if=/dev/zero of={disk} {blocks} oflag=direct status=none", timeout=120)
    nodes = contender.attach(guest, disks)
    for node in nodes:
        # Requests must go straight to the driver, without a scheduler.
        scheduler = f"/sys/block/{node.removeprefix('/dev/')}/queue/scheduler"
        guest.run(f"if [ -e {scheduler} ]; then echo none > {scheduler}; fi")
    return nodes
