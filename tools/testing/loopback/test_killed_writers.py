# SPDX-License-Identifier: GPL-2.0-only
"""Writers of sysfs files that wait for a server: killed, they end at once.

Other tests kill those of `map_device` and `unmap_device`, too, next to what they wait for.
"""

from rnbdbench import network
from rnbdbench import rnbd
from rnbdbench.clock import Clock
from rnbdbench.commands import Job
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device
from rnbdbench.rnbd import MAP_DEVICE
from rnbdbench.rtrs import TransportPath
from rnbdbench.stalling import StallingDisk
from rnbdbench.stalling import wait_for_kernel

ELSEWHERE = "10.50.100.99"
"""An address that the guest has at times. Without it, packets to it are lost."""

PATHS = [f"{network.INITIATOR.path(ip)}@{network.TARGET.path(ip)}" for ip in (4, 6)]

AT_ONCE = 10.0
"""Seconds for what does not wait for a server, which would take 30."""


def _begin_write(guest: Guest, file: str, text: str, module: str) -> Job:
    """Starts a writer, and waits until it waits in a module."""
    guest.run("rm -f /run/writer")
    writer = guest.begin(f"echo $$ > /run/writer; exec dd of='{file}' status=none <<<'{text}'")
    wait_for_kernel(guest, f"[{module}]", f"the writer of {file} to wait", "$(</run/writer)")
    return writer


def _kill(guest: Guest, writer: Job) -> None:
    """Kills a writer that waits."""
    assert writer.running, writer.wait()
    clock = Clock(guest)
    writer.cancel()
    assert writer.wait().code != 0
    assert clock.seconds() < AT_ONCE


def _address(guest: Guest, order: str) -> None:
    guest.run(f"ip address {order} {ELSEWHERE}/24 dev {network.card_name()}")


def _map_elsewhere(bench: Pair) -> tuple[Device, TransportPath]:
    """Maps a disk, and takes its server away."""
    guest = bench.initiator.guest
    _address(guest, "add")
    device = bench.map(path=f"ip:{ELSEWHERE}")
    (path,) = bench.initiator.transport().paths()
    assert path.disconnect() is None
    _address(guest, "delete")
    return device, path


def _reconnects(guest: Guest, device: Device, path: TransportPath) -> None:
    """The path and its disk work once the server is there again."""
    assert path.state() == "disconnected"
    _address(guest, "add")
    path.force_connection()
    assert device.read("rnbd/state") == "open"
    assert device.begin_read().wait().code == 0
    assert device.unmap() is None
    _address(guest, "delete")


def test_a_writer_of_add_path(loopback: Pair) -> None:
    """The path that is not there yet never comes; the session has the other one."""
    guest = loopback.initiator.guest
    device = loopback.map()
    session = loopback.initiator.transport()
    (path,) = session.paths()
    writer = _begin_write(guest, f"{session.folder}/add_path", f"ip:{ELSEWHERE}", "rtrs")
    _kill(guest, writer)
    assert session.path_names() == [path.name]
    assert path.state() == "connected"
    assert device.begin_read().wait().code == 0
    assert device.unmap() is None


def test_writers_of_map_device_one_behind_another(loopback: Pair) -> None:
    """The device of the first one is open, but does not respond; the second one has to wait."""
    guest = loopback.initiator.guest
    below = StallingDisk.make(guest, loopback.target.ram_disk(16, count=3))
    device = loopback.map("/dev/ram1")
    below.stop()
    line = "sessname=bench device_path="
    first = _begin_write(guest, MAP_DEVICE, line + below.node, "rtrs")
    guest.wait_until(lambda: below.name in loopback.target.exports(), "the device to be open")
    second = _begin_write(guest, MAP_DEVICE, f"{line}/dev/ram2", "rtrs")
    _kill(guest, first)
    _kill(guest, second)
    assert loopback.initiator.devices() == [device]

    below.go_on()
    guest.wait_until(
        lambda: loopback.target.exports() == ["ram1"], "the target to close what is not mapped", 60
    )
    # The client may not have received the response yet.
    guest.wait_until(
        lambda: loopback.initiator.request(line + below.node) is None, "the device to be mapped"
    )
    again = loopback.initiator.find(below.node)
    assert again.begin_read().wait().code == 0
    assert [again.unmap(), device.unmap()] == [None, None]


def test_a_writer_of_reconnect(loopback: Pair) -> None:
    """As after an attempt that has failed, the path is connected again later."""
    guest = loopback.initiator.guest
    device, path = _map_elsewhere(loopback)
    writer = _begin_write(guest, f"{path.folder}/reconnect", "1", "rtrs")
    _kill(guest, writer)
    _reconnects(guest, device, path)


def test_a_writer_of_reconnect_behind_another(loopback: Pair) -> None:
    """It waits for the attempt of the first one, for as long as that waits for the server."""
    guest = loopback.initiator.guest
    device, path = _map_elsewhere(loopback)
    first = _begin_write(guest, f"{path.folder}/reconnect", "1", "rtrs")
    second = _begin_write(guest, f"{path.folder}/reconnect", "1", "rtrs")
    _kill(guest, second)
    _kill(guest, first)
    _reconnects(guest, device, path)


def test_writers_that_wait_for_devices_to_be_opened(loopback: Pair) -> None:
    """By a path that came back first: `reconnect` of the next one, and `remove_path` of that."""
    guest = loopback.initiator.guest
    below = StallingDisk.make(guest, loopback.target.ram_disk(16))
    stalling = below.with_partitions()
    device = loopback.map(stalling, paths=PATHS)
    session = loopback.initiator.transport()
    first, second = session.paths()
    for path in (first, second):
        assert path.disconnect() is None
    guest.wait_until(lambda: loopback.target.transports() == [], "the target to close the session")

    partitions = below.keep_from_being_opened(stalling)
    opening = _begin_write(guest, f"{first.folder}/reconnect", "1", "rtrs")
    wait_for_kernel(guest, "[rnbd_server]", "the target to open the device")
    reconnect = guest.begin(f"exec dd of='{second.folder}/reconnect' status=none <<<1")
    second.wait_for("connected", 30)
    remove = _begin_write(guest, f"{second.folder}/remove_path", "1", "rtrs")
    assert second.state() == "disconnected"
    _kill(guest, remove)
    _kill(guest, reconnect)
    assert second.remove() is None
    assert session.path_names() == [first.name]
    _kill(guest, opening)

    below.go_on()
    assert partitions.wait().code == 0
    first.force_connection()
    assert device.read("rnbd/state") == "open"
    assert device.begin_read().wait().code == 0
    assert device.unmap() is None


def test_disconnect_does_not_wait_for_the_server(loopback: Pair) -> None:
    """So that its writer need not be killed: it ends an attempt to connect, and its writer."""
    guest = loopback.initiator.guest
    device, path = _map_elsewhere(loopback)
    writer = _begin_write(guest, f"{path.folder}/reconnect", "1", "rtrs")
    clock = Clock(guest)
    assert path.disconnect() is None
    assert writer.wait().code != 0
    assert clock.seconds() < AT_ONCE
    _reconnects(guest, device, path)


def test_writers_of_remap_device(loopback: Pair) -> None:
    """One that waits for the server to open the device, and one that waits for its turn."""
    guest = loopback.initiator.guest
    below = StallingDisk.make(guest, loopback.target.ram_disk(16))
    stalling = below.with_partitions()
    device = loopback.map(stalling)
    (export,) = loopback.target.exports()
    close = f"{rnbd.SERVER_DEVICES}/{export}/sessions/bench/force_close"
    assert guest.write(close, "1") is None
    device.wait_for_state("closed")

    partitions = below.keep_from_being_opened(stalling)
    remap = f"/sys/block/{device.name}/rnbd/remap_device"
    first = _begin_write(guest, remap, "1", "rnbd_client")
    wait_for_kernel(guest, "[rnbd_server]", "the target to open the device")
    second = _begin_write(guest, remap, "1", "rnbd_client")
    _kill(guest, second)
    _kill(guest, first)
    assert device.read("rnbd/state") == "closed"

    below.go_on()
    assert partitions.wait().code == 0
    assert guest.write(remap, "1") is None
    assert device.read("rnbd/state") == "open"
    assert device.begin_read().wait().code == 0
    assert device.unmap() is None
