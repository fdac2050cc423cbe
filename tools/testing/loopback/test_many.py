# SPDX-License-Identifier: GPL-2.0-only
"""Many devices and many sessions at once."""

import pytest

from rnbdbench import fio
from rnbdbench import memory
from rnbdbench.guest import Guest
from rnbdbench.lab import Lab
from rnbdbench.lab import Pair

MAP = (
    "echo 'sessname={session} path=ip:10.50.100.66 device_path={disk}'"
    " > /sys/class/rnbd-client/ctl/map_device"
)
UNMAP_ALL = (
    "for file in /sys/block/rnbd*/rnbd/unmap_device; do"
    " echo normal > $file & pids+=\" $!\"; done; for pid in $pids; do wait $pid || exit 1; done"
)
DEVICES, SANITIZE_DEVICES = 100, 15
"""As many RAM disks as there can be; each session has five of them."""
DEPTH = 64
"""Of sessions: 64 chunks of 128 KiB are 8 MiB each."""
CLIENT_DEPTH = 2048
"""Message ids that a client uses at most."""
DEVICE_MOST = 128
"""KiB that a device may take on both sides together; see Documentation/bench.md."""
SESSION_MOST = DEPTH * 128 * 2
"""KiB that a session of five devices may take: as much again as its chunks."""


def _count(guest: Guest) -> int:
    """Returns how many devices to map."""
    return SANITIZE_DEVICES if guest.specification.kernel == "sanitize" else DEVICES


def _at_once(guest: Guest, commands: list[str]) -> None:
    """Runs commands side by side; fails if one of them does."""
    started = "\n".join(f"{{ {command}; }} & pids+=\" $!\"" for command in commands)
    guest.run(f"{started}\nfor pid in $pids; do wait $pid || exit 1; done", timeout=240)


def _warm_up(guest: Guest, count: int) -> None:
    """Runs as many processes as will map: what the kernel keeps of them is no device's."""
    _at_once(guest, ["sleep 2"] * count)


def _check_memory(lab: Lab, guest: Guest, what: str, used: float, most: int) -> None:
    """Notes what something takes; the sanitizing kernel takes more for all of it."""
    lab.note(f"memory for {what}: {used:.0f} KiB")
    if guest.specification.kernel == "stock":
        assert 0 < used < most, f"{what} takes {used:.0f} KiB, and may take {most}"


def _check_each(guest: Guest, pairs: dict[str, str]) -> None:
    """Writes to each disk through its device what no other one has, and compares."""
    script = "\n".join(
        f"printf '%-512s' {node} | dd of={node} bs=512 oflag=direct status=none"
        for node in pairs
    )
    guest.run(script, timeout=120)
    looks = "\n".join(f"head -c 512 {disk} | tr -d ' '; echo" for disk in pairs.values())
    guest.run("".join(f"blockdev --flushbufs {disk}\n" for disk in pairs.values()))
    assert guest.output(looks, timeout=120).split() == list(pairs)


def _is_empty(bench: Pair) -> bool:
    return bench.initiator.devices() == [] and bench.target.transports() == []


@pytest.mark.long
def test_many_devices_on_one_session(loopback: Pair, lab: Lab) -> None:
    """Mapped at once and unmapped at once; each is the one it should be."""
    guest = loopback.initiator.guest
    count = _count(guest)
    loopback.target.ram_disk(1, count)
    loopback.load(transport={"sess_queue_depth": DEPTH})
    disks = [f"/dev/ram{number}" for number in range(count)]
    # The session is made by the first one.
    loopback.initiator.map(disks[0])
    _warm_up(guest, count)
    before = memory.used(guest)
    _at_once(guest, [MAP.format(session="bench", disk=disk) for disk in disks[1:]])
    used = (memory.used(guest) - before) / (count - 1)
    what = f"a device, on both sides, in a session of {count}"
    _check_memory(lab, guest, what, used, DEVICE_MOST)
    found = {loopback.initiator.find(disk).node: disk for disk in disks}
    assert len(found) == count
    _check_each(guest, found)
    guest.run(UNMAP_ALL, timeout=240)
    guest.wait_until(lambda: _is_empty(loopback), "everything to be gone")


# Each path of the sanitizing kernel would take minutes.
@pytest.mark.kernels("stock")
def test_a_client_uses_a_part_of_a_deep_queue(loopback: Pair) -> None:
    """The server decides how deep it is, and the client what it can afford."""
    guest = loopback.initiator.guest
    disk = loopback.target.ram_disk(16)
    loopback.load(transport={"sess_queue_depth": 2 * CLIENT_DEPTH, "max_chunk_size": 8192})
    device = loopback.initiator.map(disk)
    assert f"queue depth {CLIENT_DEPTH}," in guest.output("dmesg | grep ': connected, '")
    fio.verify(guest, device.node, block="4k", size="4m", depth=64)
    assert device.unmap() is None


@pytest.mark.long
def test_many_sessions_of_five_devices(loopback: Pair, lab: Lab) -> None:
    """Made at once and unmade at once."""
    guest = loopback.initiator.guest
    count = _count(guest)
    loopback.target.ram_disk(1, count)
    loopback.load(transport={"sess_queue_depth": DEPTH})
    sessions = [f"many{number}" for number in range(count // 5)]
    _warm_up(guest, count)
    before = memory.used(guest)
    _at_once(
        guest,
        [
            MAP.format(session=session, disk=f"/dev/ram{place * 5 + number}")
            for place, session in enumerate(sessions)
            for number in range(5)
        ],
    )
    used = (memory.used(guest) - before) / len(sessions)
    what = f"a session of 5 devices, on both sides, with {DEPTH} chunks"
    _check_memory(lab, guest, what, used, SESSION_MOST)
    found = {
        loopback.initiator.find(f"/dev/ram{place * 5 + number}", session).node:
            f"/dev/ram{place * 5 + number}"
        for place, session in enumerate(sessions)
        for number in range(5)
    }
    assert len(found) == count
    assert sorted(loopback.target.transports()) == sorted(sessions)
    _check_each(guest, found)
    guest.run(UNMAP_ALL, timeout=240)
    guest.wait_until(lambda: _is_empty(loopback), "everything to be gone")
