# SPDX-License-Identifier: GPL-2.0-only
"""The network of the bench: addresses, virtual cables, soft-RoCE."""

import re
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rnbdbench.channel import GuestGone
from rnbdbench.commands import Job
from rnbdbench.guest import Guest
from rnbdbench.rtrs import TransportPath

MTU = 4200
"""Lets a RoCE packet carry 4096 bytes."""


def card_name(number: int = 0) -> str:
    """A guest's name for a network card."""
    return f"eth{number}"


DRIVERS = {"rxe": "rdma_rxe", "siw": "siw"}
"""Modules of the RDMA devices in software, by the type of link."""


def rdma_name(number: int = 0) -> str:
    """A guest's name for the RDMA device on a network card."""
    return f"rdma{number}"


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

INITIATORS = (INITIATOR, Address("10.50.101.65", "fd00:50:101::65"))
"""The initiator's addresses on each cable, which is a subnet of its own."""

TARGETS = (TARGET, Address("10.50.101.66", "fd00:50:101::66"))
"""The target's addresses on each cable."""


def path(cable: int = 0, version: int = 4) -> str:
    """The path over a cable, as `path=` takes it and as sysfs calls it."""
    return f"{INITIATORS[cable].path(version)}@{TARGETS[cable].path(version)}"


NO_IPV6 = "ipv6.disable=1"
"""The parameter of a kernel that has IPv6, and is not to use it."""


class Cable:
    """A cable between two guests, each of which may come and go.

    It carries datagrams over Unix sockets: a packet that is sent while the other end is
    off is lost, as with a real cable.
    """

    def __init__(self, folder: Path, number: int = 0) -> None:
        self._ends = [folder / f"cable{number}.{end}" for end in "ab"]
        self._number = number

    def card(self, end: int, kernel: str) -> list[str]:
        """QEMU options of the network card at one end (0 or 1), for `kernel`."""
        here, there = self._ends[end], self._ends[1 - end]
        number = self._number
        backend = (
            f"dgram,id=cable{number},"
            f"local.type=unix,local.path={here},remote.type=unix,remote.path={there}"
        )
        mac = f"52:54:00:50:{number:02x}:{65 + end:02x}"
        device = f"virtio-net-pci,id=card{number},netdev=cable{number},mac={mac},host_mtu={MTU}"
        if kernel == "sanitize":
            # Without merged buffers virtio_net does not take them from a page pool, which
            # warns when they are freed with interrupts off, as rxe frees what has arrived
            # for a queue pair in error (drain_req_pkts).
            device += ",mrg_rxbuf=off"
        return ["-netdev", backend, "-device", device]


@dataclass(frozen=True)
class Plugs:
    """Both plugs of a cable, to be pulled and plugged in while the guests run."""

    guests: list[Guest]
    number: int

    def pull(self) -> None:
        """Pulls the cable out of both guests; both lose the carrier."""
        self._link(False)

    def plug(self) -> None:
        """Plugs the cable in at both ends."""
        self._link(True)

    def wait_connected(self, path: TransportPath, timeout: float) -> None:
        """Waits until a path over the cable, which is plugged in again, is connected."""

        def connected() -> bool:
            if path.state() == "connected":
                return True
            for guest in self.guests:
                _replace_if_broken(guest, self.number)
            return False

        path.guest.wait_until(connected, f"path {path.name} to be connected", timeout)

    def _link(self, up: bool) -> None:
        for guest in self.guests:
            # One that was booted again has its cables plugged in.
            if guest.alive:
                guest.link(up, self.number)


def _begin(guest: Guest, cards: Sequence[Sequence[Address]]) -> Job:
    """Starts setting up network cards, once their driver has found them.

    `cards` has the addresses of each card.
    """
    commands = []
    for number, addresses in enumerate(cards):
        card = card_name(number)
        commands.append(f"until [ -e /sys/class/net/{card} ]; do sleep 0.1; done")
        commands.append(f"ip link set {card} mtu {MTU} up")
        for address in addresses:
            commands.append(f"ip address add {address.v4}/24 dev {card}")
            if not lacks_ipv6(guest):
                commands.append(f"ip address add {address.v6}/64 dev {card} nodad")
    commands.append(f"modprobe {_driver(guest)}")
    commands += [_add_rdma(guest, number) for number in range(len(cards))]
    # A driver that is built in has no module.
    return guest.begin(f"modprobe -q virtio_net; {' && '.join(commands)}")


def lacks_ipv6(guest: Guest) -> bool:
    """Returns whether the kernel of a guest was told to do without IPv6."""
    return NO_IPV6 in guest.specification.parameters


def _driver(guest: Guest) -> str:
    return DRIVERS[guest.specification.fabric]


def _add_rdma(guest: Guest, number: int) -> str:
    kind = guest.specification.fabric
    return f"rdma link add {rdma_name(number)} type {kind} netdev {card_name(number)}"


def remove_rdma(guest: Guest, number: int = 0) -> None:
    """Removes the RDMA device of a network card, even if it is in use."""
    guest.run(f"rdma link delete {rdma_name(number)}", timeout=60)


def unload_rdma(guest: Guest) -> None:
    """Unloads the driver of all RDMA devices, even if they are in use."""
    guest.run(f"rmmod {_driver(guest)}", timeout=60)


def add_rdma(guest: Guest, number: int = 0) -> None:
    """Adds an RDMA device to a network card that has none."""
    guest.run(f"modprobe {_driver(guest)} && {_add_rdma(guest, number)}", timeout=60)
    _wait_active(guest, number)


def _replace_if_broken(guest: Guest, number: int) -> None:
    """Replaces an RDMA device that cannot connect any more.

    If soft-RoCE cannot hand a packet to the network card, it moves the queue pair to the
    error state, even the one for management (GSI), and never back (rxe_requester,
    rxe_qp_error).  The card refuses packets for a moment after its cable was pulled or
    plugged in.  Only an operator can repair that, who detects it as this function does;
    see Documentation/fabrics.md.
    """
    queues = guest.output(f"rdma resource show qp link {rdma_name(number)}/1")
    if "type GSI state ERR" not in queues:
        return
    name = rdma_name(number)
    guest.write("/dev/kmsg", f"rnbdbench: {name} has a broken GSI queue pair: replacing it\n")
    remove_rdma(guest, number)
    add_rdma(guest, number)


def _wait_active(guest: Guest, number: int) -> None:
    name = rdma_name(number)
    guest.wait_until(lambda: "ACTIVE" in guest.output(f"rdma link show {name}/1"), name)


def _finish(guest: Guest, job: Job, cards: int) -> None:
    job.check(120)
    for number in range(cards):
        _wait_active(guest, number)


def connect(guest: Guest, *addresses: Address) -> None:
    """Sets up the network of a guest that has a cable for each of the addresses.

    Like `join`, it resolves the addresses of the neighbours before any connection: if
    ib_core (addr.c) learns of one at the very moment at which it defers its next look, it
    does not look again before the timeout of 30 s, when the C client has given up.
    """
    _finish(guest, _begin(guest, [[address] for address in addresses]), len(addresses))
    opposite = dict(zip(INITIATORS + TARGETS, TARGETS + INITIATORS, strict=True))
    for address in addresses:
        _meet(guest, opposite[address])


def _meet(guest: Guest, neighbour: Address) -> None:
    """Resolves the addresses of a neighbour."""
    for address in (neighbour.v4, *([] if lacks_ipv6(guest) else [neighbour.v6])):
        guest.run(f"busybox ping -c 1 -W 20 {address}")


def join(initiator: Guest, target: Guest, cables: int = 1) -> None:
    """Sets up the network of two guests with cables between them, in parallel."""
    ends = [(initiator, INITIATORS[:cables]), (target, TARGETS[:cables])]
    jobs = [
        (guest, _begin(guest, [[address] for address in addresses])) for guest, addresses in ends
    ]
    for guest, job in jobs:
        _finish(guest, job, cables)
    for there in TARGETS[:cables]:
        _meet(initiator, there)


def loop_back(guest: Guest) -> None:
    """Sets up the network of a guest that is both initiator and target."""
    guest.run(f"modprobe -q dummy numdummies=0; ip link add {card_name()} type dummy")
    _finish(guest, _begin(guest, [[INITIATOR, TARGET]]), 1)


def wait_for_carrier(guest: Guest, card: int, up: bool) -> None:
    """Waits until a guest has noticed that a cable was pulled or plugged in."""
    file = f"/sys/class/net/{card_name(card)}/carrier"
    guest.wait_until(lambda: guest.read(file) == str(int(up)), file)


@contextmanager
def _discipline(guest: Guest, card: int, words: str) -> Iterator[None]:
    """Adds a queueing discipline to a card of a guest, for the duration of a `with` block."""
    qdisc = f"tc qdisc %s dev {card_name(card)} root"
    guest.run(f"{qdisc % 'add'} {words}")
    yield
    # After a failure the guest is not used again.
    guest.run(qdisc % "delete")


@contextmanager
def delay(guest: Guest, card: int, milliseconds: int) -> Iterator[None]:
    """Delays packets that a guest sends by a card, for the duration of a `with` block."""
    guest.run("modprobe sch_netem")
    # By default it drops packets once 1000 are queued.
    with _discipline(guest, card, f"netem delay {milliseconds}ms limit 100000"):
        yield


@contextmanager
def refusal(guest: Guest, card: int = 0) -> Iterator[None]:
    """Makes a card refuse the packets that a guest sends, for the duration of a `with` block.

    A card does the same for a moment after its cable was pulled.
    """
    with _discipline(guest, card, "bfifo limit 1"):
        yield


def refused(guest: Guest, card: int = 0) -> int:
    """Returns how many packets of an RDMA device its card has refused."""
    return int(guest.read(f"/sys/class/infiniband/rdma{card}/ports/1/hw_counters/send_err"))


def counters(guest: Guest) -> str:
    """Returns the counters of a guest's RDMA devices in one line, for reports.

    A packet that soft-RoCE misses may be among those that a card has dropped.
    """
    if not guest.alive:
        return "switched off"
    files = "infiniband/*/ports/1/hw_counters/* net/*/statistics/*_dropped net/*/statistics/*_errors"
    try:
        lines = guest.output(f"cd /sys/class && grep -sv '^0$' {files} || true").splitlines()
    except (AssertionError, GuestGone) as error:
        return str(error)
    return " ".join(
        re.sub("^(infiniband|net)/|(ports/1/hw_counters|statistics)/", "", line) for line in lines
    )


def plug_all(guests: list[Guest]) -> None:
    """Plugs in all cables that were pulled."""
    pulled = [(guest, card) for guest in guests for card in sorted(guest.pulled)]
    for guest, card in pulled:
        guest.link(True, card)
    for guest, card in pulled:
        _wait_active(guest, card)
