# SPDX-License-Identifier: GPL-2.0-only
"""Links, folders and parameters; the files are in test_sysfs_files.py."""

from rnbdbench import drivers
from rnbdbench import network
from rnbdbench import rnbd
from rnbdbench.lab import Pair


def test_link_of_a_mapped_device(loopback: Pair) -> None:
    """devices/ has a link to the block device, named after both."""
    guest = loopback.initiator.guest
    disk = loopback.target.ram_disk(16)
    loopback.load()
    assert guest.names(rnbd.DEVICES) == []
    device = loopback.initiator.map(disk, session="blya")
    assert guest.names(rnbd.DEVICES) == ["!dev!ram0@blya"]
    link = guest.real(f"{rnbd.DEVICES}/!dev!ram0@blya")
    assert link == guest.real(f"/sys/block/{device.name}")
    assert device.unmap() is None
    assert guest.names(rnbd.DEVICES) == []


def test_control_folder_is_where_the_manual_says(loopback: Pair) -> None:
    """The path of the mission's command line exists, besides that of the class."""
    loopback.initiator.load()
    loopback.initiator.guest.run("test -w /sys/devices/virtual/rnbd-client/ctl/map_device")
    loopback.initiator.guest.run(f"test -w {rnbd.MAP_DEVICE}")


def test_files_of_an_exported_device(loopback: Pair) -> None:
    """The server shows which device is open, by whom and how."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    loopback.load()
    assert loopback.target.exports() == []
    device = loopback.initiator.map(disk, session="blya", access_mode="ro")
    folder = f"{rnbd.SERVER_DEVICES}/ram0"
    assert loopback.target.exports() == ["ram0"]
    assert guest.real(f"{folder}/block_dev") == guest.real("/sys/block/ram0")
    assert guest.names(f"{folder}/sessions") == ["blya"]
    assert guest.read(f"{folder}/sessions/blya/access_mode") == "ro"
    assert guest.read(f"{folder}/sessions/blya/read_only") == "1"
    assert guest.read(f"{folder}/sessions/blya/mapping_path") == disk
    assert device.unmap() is None
    loopback.target.guest.wait_until(lambda: loopback.target.exports() == [], "the close")


def test_module_parameters_are_readable(loopback: Pair) -> None:
    """Tools read the defaults below /sys/module."""
    guest = loopback.target.guest
    # Not with the few buffers that sessions have on the sanitizing kernel.
    drivers.unload(guest)
    guest.run("modprobe rnbd_server")
    expected = {
        "rnbd_server/parameters/port_nr": "1234",
        "rnbd_server/parameters/dev_search_path": "/",
        "rnbd_server/parameters/refuse_in_use": "N",
        "rnbd_server/parameters/realtime_io": "N",
        "rtrs/parameters/max_chunk_size": "131072",
        "rtrs/parameters/sess_queue_depth": "512",
        "rtrs/parameters/always_invalidate": "Y",
        "rtrs/parameters/max_paths": "1024",
        "rtrs/parameters/max_paths_per_peer": "256",
        "rtrs/parameters/max_sessions_per_peer": "128",
        "rtrs/parameters/max_connections_per_path": "4096",
        "rtrs/parameters/max_connections_per_peer": "16384",
        "rtrs/parameters/max_memory": "0",
        "rtrs/parameters/max_memory_per_peer": "0",
    }
    found = {name: guest.read(f"/sys/module/{name}") for name in expected}
    assert found == expected


def test_server_listens_on_another_port(loopback: Pair) -> None:
    """port_nr on one side, dest_port on the other."""
    disk = loopback.target.ram_disk(16)
    loopback.load(port_nr=4321)
    device = loopback.initiator.map(disk, dest_port=4321)
    assert device.read("rnbd/state") == "open"
    assert device.unmap() is None


def test_device_path_is_relative_to_the_search_path(loopback: Pair) -> None:
    """dev_search_path goes before what the client asks for."""
    loopback.target.ram_disk(16)
    loopback.load(dev_search_path="/dev")
    device = loopback.initiator.map("ram0")
    assert device.read("rnbd/mapping_path") == "ram0"
    assert device.unmap() is None


def test_session_name_is_part_of_the_search_path(loopback: Pair) -> None:
    """%SESSNAME% gives each client a folder of its own."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    guest.run(f"mkdir -p /run/exports/blya && ln -s {disk} /run/exports/blya/disk")
    loopback.load(dev_search_path="/run/exports/%SESSNAME%")
    line = f"sessname=other path={network.TARGET.path()} device_path=disk"
    assert loopback.initiator.request(line) == "ENOENT"
    guest.run("rm /run/exports/blya/disk && mknod /run/exports/blya/disk b 1 0")
    device = loopback.initiator.map("disk", session="blya")
    assert device.read("rnbd/state") == "open"
    assert device.unmap() is None
