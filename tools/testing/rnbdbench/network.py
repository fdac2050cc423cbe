# SPDX-License-Identifier: GPL-2.0-only
"""The network of the bench: addresses, virtual cables, soft-RoCE."""

from dataclasses import dataclass
from pathlib import Path

from rnbdbench.guest import Guest

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


def _prepare(guest: Guest, addresses: list[Address]) -> None:
    commands = [f"ip link set {CARD} mtu {MTU} up"]
    for address in addresses:
        commands.append(f"ip address add {address.v4}/24 dev {CARD}")
        commands.append(f"ip address add {address.v6}/64 dev {CARD} nodad")
    commands.append("modprobe rdma_rxe")
    commands.append(f"rdma link add {RDMA_LINK} type rxe netdev {CARD}")
    guest.run(" && ".join(commands), timeout=120)
    guest.wait_until(
        lambda: "ACTIVE" in guest.output(f"rdma link show {RDMA_LINK}/1"), "the RDMA link"
    )


def connect(guest: Guest, address: Address) -> None:
    """Sets up the network of a guest that has a cable."""
    guest.run("modprobe -q virtio_net", check=False)  # It may be built in.
    guest.wait_until(
        lambda: guest.run(f"test -e /sys/class/net/{CARD}", check=False).code == 0,
        "the network card",
    )
    _prepare(guest, [address])


def join(initiator: Guest, target: Guest) -> None:
    """Sets up the network of two guests with a cable between them."""
    connect(initiator, INITIATOR)
    connect(target, TARGET)
    for address in (TARGET.v4, TARGET.v6):
        initiator.run(f"busybox ping -c 1 -W 20 {address}")


def loop_back(guest: Guest) -> None:
    """Sets up the network of a guest that is both initiator and target."""
    guest.run(f"modprobe -q dummy numdummies=0; ip link add {CARD} type dummy")
    _prepare(guest, [INITIATOR, TARGET])
