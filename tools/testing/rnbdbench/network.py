# SPDX-License-Identifier: GPL-2.0-only
"""The network of the bench: addresses, virtual cables, soft-RoCE."""

from dataclasses import dataclass
from pathlib import Path

from rnbdbench.guest import CommandFailed
from rnbdbench.guest import Guest
from rnbdbench.guest import Job

MTU = 4200
"""Lets a RoCE packet carry 4096 bytes."""

CARD = "eth0"
RDMA_LINK = "rxe0"


@dataclass(frozen=True)
class Address:
    """The addresses of one machine on the network."""

    v4: str
    v6: str

    def path(self, version: int = 4) -> str:
        """The address as the `path=` option of map_device wants it."""
        return f"ip:{self.v4 if version == 4 else self.v6}"


INITIATOR = Address("10.50.100.65", "fd00:50:100::65")
TARGET = Address("10.50.100.66", "fd00:50:100::66")


class Cable:
    """A cable between two guests, each of which may come and go.

    It carries datagrams over Unix sockets: what is sent while the other end
    is off is lost, as with a real cable.
    """

    def __init__(self, folder: Path, number: int = 0) -> None:
        self._ends = [folder / f"cable{number}.{end}" for end in "ab"]
        self._number = number

    def card(self, end: int) -> list[str]:
        """QEMU options of the network card at one end (0 or 1)."""
        here, there = self._ends[end], self._ends[1 - end]
        number = self._number
        backend = (
            f"dgram,id=cable{number},"
            f"local.type=unix,local.path={here},remote.type=unix,remote.path={there}"
        )
        mac = f"52:54:00:50:{number:02x}:{65 + end:02x}"
        device = f"virtio-net-pci,id=card{number},netdev=cable{number},mac={mac},host_mtu={MTU}"
        return ["-netdev", backend, "-device", device]


def _begin(guest: Guest, addresses: list[Address]) -> Job:
    """Starts to set up the card, which a module may still have to make."""
    commands = [
        f"until [ -e /sys/class/net/{CARD} ]; do sleep 0.1; done",
        f"ip link set {CARD} mtu {MTU} up",
    ]
    for address in addresses:
        commands.append(f"ip address add {address.v4}/24 dev {CARD}")
        commands.append(f"ip address add {address.v6}/64 dev {CARD} nodad")
    commands.append("modprobe rdma_rxe")
    commands.append(f"rdma link add {RDMA_LINK} type rxe netdev {CARD}")
    # A driver that is built in has no module.
    return guest.begin(f"modprobe -q virtio_net; {' && '.join(commands)}")


def _finish(guest: Guest, job: Job) -> None:
    result = job.wait(120)
    if result.code != 0:
        raise CommandFailed(guest.name, result)
    guest.wait_until(
        lambda: "ACTIVE" in guest.output(f"rdma link show {RDMA_LINK}/1"), "the RDMA link"
    )


def connect(guest: Guest, address: Address) -> None:
    """Sets up the network of a guest that has a cable."""
    _finish(guest, _begin(guest, [address]))


def join(initiator: Guest, target: Guest) -> None:
    """Sets up the network of two guests with a cable between them, both at once."""
    jobs = [(initiator, _begin(initiator, [INITIATOR])), (target, _begin(target, [TARGET]))]
    for guest, job in jobs:
        _finish(guest, job)
    for address in (TARGET.v4, TARGET.v6):
        initiator.run(f"busybox ping -c 1 -W 20 {address}")


def loop_back(guest: Guest) -> None:
    """Sets up the network of a guest that is both initiator and target."""
    guest.run(f"modprobe -q dummy numdummies=0; ip link add {CARD} type dummy")
    _finish(guest, _begin(guest, [INITIATOR, TARGET]))
