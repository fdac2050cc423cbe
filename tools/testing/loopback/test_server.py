# SPDX-License-Identifier: GPL-2.0-only
"""What the server's administrator decides, and what clients may not."""

import pytest

from rnbdbench import dmesg
from rnbdbench import drivers
from rnbdbench import fio
from rnbdbench import network
from rnbdbench import rnbd
from rnbdbench.lab import Pair


def _force_close(session: str = "bench", disk: str = "ram0") -> str:
    return f"{rnbd.SERVER_DEVICES}/{disk}/sessions/{session}/force_close"


def test_force_close_takes_the_device_away_during_io(loopback: Pair) -> None:
    """I/O in flight ends, the device is free at once, and can be mapped again."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(64)
    device = loopback.map(disk)
    load = fio.begin_load(guest, device.node)
    fio.wait_for_io(guest, device.name)
    assert guest.write(_force_close(), "0") == "EINVAL"
    assert guest.write(_force_close(), "1") is None
    assert loopback.target.exports() == []
    assert load.wait(60).code != 0
    assert device.unmap("force") is None
    device = loopback.initiator.map(disk)
    fio.verify(guest, device.node, block="64k", size="4m")
    assert device.unmap() is None


def test_force_close_leaves_other_sessions_alone(loopback: Pair) -> None:
    """Two sessions read one disk; only one of them loses it."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    first = loopback.map(disk, session="first", access_mode="ro")
    second = loopback.initiator.map(disk, session="second", access_mode="ro")
    assert guest.write(_force_close("first"), "1") is None
    assert guest.names(f"{rnbd.SERVER_DEVICES}/ram0/sessions") == ["second"]
    read = "dd of=/dev/null bs=4k count=1 iflag=direct status=none"
    guest.run(f"{read} if={second.node}")
    assert guest.run(f"{read} if={first.node}", check=False).code != 0
    assert first.unmap("force") is None
    assert second.unmap() is None
    assert loopback.target.exports() == []


def test_one_disk_by_two_paths_is_refused(loopback: Pair) -> None:
    """A session opens a device only once, by any path."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    guest.run(f"ln -sf {disk} /dev/alias")
    device = loopback.map(disk, access_mode="ro")
    line = f"sessname=bench path={network.TARGET.path()} device_path=/dev/alias access_mode=ro"
    assert loopback.initiator.request(line) == "EEXIST"
    assert device.unmap() is None


def test_paths_stay_inside_of_the_search_path(loopback: Pair) -> None:
    """Neither `..` nor a symbolic link leads out of it, but for a link that root made."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    guest.run(
        "mkdir -p /dev/exports/sub && cd /dev/exports && mknod -m 600 sub/..ram0 b 1 0"
        f" && ln -s sub/..ram0 inside && ln -s {disk} outside && ln -s ../ram0 relative"
        f" && ln -s {disk} sub/outside && ln -s sub folder && ln -s /dev all && ln -s /tmp tmp"
        f" && ln -sf {disk} /tmp/planted"
    )
    roots = ("inside", "outside", "relative", "sub/..ram0", "sub/outside", "folder/outside", "all/ram0")
    try:
        loopback.load(dev_search_path="/dev/exports")

        def check(errors: dict[str, str | None]) -> None:
            wrong = []
            for path, error in errors.items():
                line = f"sessname=bench path={network.TARGET.path()} device_path={path}"
                got = loopback.initiator.request(line)
                if got is None:
                    assert loopback.initiator.find(path).unmap() is None
                if got != error:
                    wrong.append(f"{path}: {got}, not {error}")
            assert not wrong, "\n".join(wrong)

        check(
            dict.fromkeys(roots)
            | {"../ram0": "EINVAL", "all/../ram0": "EINVAL", "nothing": "ENOENT"}
        )
        # Whoever can write to a directory on the way could have made the link.
        guest.run("chmod 1777 /tmp /dev/exports/sub")
        inside: dict[str, str | None] = {"sub/..ram0": None, "outside": None}
        check(inside | dict.fromkeys(("sub/outside", "folder/outside", "tmp/planted"), "EXDEV"))
        guest.run("chmod 755 /dev/exports/sub && chown 1:0 /dev/exports")
        check({"inside": None} | dict.fromkeys(("outside", "relative", "all/ram0"), "EXDEV"))
    finally:
        guest.run("rm -r /dev/exports")


@pytest.mark.parametrize(
    "parameter", ["port_nr=0", "dev_search_path=dev", "dev_search_path=/dev/../etc"]
)
def test_senseless_parameters_are_refused(loopback: Pair, parameter: str) -> None:
    """The module does not load, and says which parameter is to blame."""
    guest = loopback.target.guest
    drivers.unload(guest)
    assert guest.run(f"modprobe rnbd_server {parameter}", check=False).code != 0
    assert parameter.split("=")[0] in dmesg.last(guest, 5)


def test_the_log_says_which_module_has_the_options_of_the_transport(loopback: Pair) -> None:
    """A line of modprobe.d for the C driver's rtrs_server has no effect on rtrs."""
    guest = loopback.target.guest
    drivers.unload(guest)
    mark = guest.console.mark()
    loopback.load(transport={"sess_queue_depth": 64})
    said = guest.printed_since(mark)
    line = "sess_queue_depth=64 always_invalidate=Y (options of rtrs, not of rtrs_server)"
    assert line in said, said


CONTRADICTIONS = {
    # An immediate has 28 bits for both.
    "sess_queue_depth=65535 max_chunk_size=131072": "sess_queue_depth",
    "sess_queue_depth=0": "sess_queue_depth",
    "max_chunk_size=4096": "max_chunk_size",
    "max_chunk_size=12288": "max_chunk_size",
    "max_paths=0": "max_paths",
    "max_paths=8": "max_paths_per_peer",
    "max_paths_per_peer=8": "max_sessions_per_peer",
    "max_connections_per_path=1": "max_connections_per_path",
    "max_connections_per_peer=1": "max_connections_per_peer",
}
"""Parameters of the transport, and the one that is to blame."""


def test_contradictory_parameters_are_refused(loopback: Pair) -> None:
    """The transport does not load, and the last line in the log says why."""
    guest = loopback.target.guest
    drivers.unload(guest)
    for parameters, blamed in CONTRADICTIONS.items():
        assert guest.run(f"modprobe rtrs {parameters}", check=False).code != 0, parameters
        last = dmesg.last(guest)
        assert f"rtrs: parameter {blamed}=" in last or f"rtrs: parameters {blamed}=" in last, last
        assert "refused" in last, last


@pytest.mark.parametrize(
    ("parameters", "blamed"),
    [
        ({"max_paths": 1, "max_paths_per_peer": 1, "max_sessions_per_peer": 1}, "max_paths"),
        ({"max_paths_per_peer": 1, "max_sessions_per_peer": 1}, "max_paths_per_peer"),
        ({"max_sessions_per_peer": 1}, "max_sessions_per_peer"),
    ],
    ids=["paths", "paths-of-a-peer", "sessions-of-a-peer"],
)
def test_clients_get_no_more_than_the_parameters_say(
    loopback: Pair, parameters: dict[str, int], blamed: str
) -> None:
    """A second session is one too many; it fits once the first is gone."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    first = loopback.map(disk, session="first", access_mode="ro", transport=parameters)
    line = f"sessname=second path={network.TARGET.path()} device_path={disk} access_mode=ro"
    assert loopback.initiator.request(line) == "ENOSPC"
    assert guest.output(f"dmesg | grep -c 'more than {blamed}=1 '") == "1"
    guest.run(f"dd of=/dev/null bs=4k count=1 iflag=direct status=none if={first.node}")
    assert first.unmap() is None
    guest.wait_until(lambda: loopback.initiator.request(line) is None, "room for another")
    assert loopback.initiator.find(disk, "second").unmap() is None


def _only_one_session_fits(
    loopback: Pair, disk: str, limit: dict[str, int], exceeded: str
) -> None:
    """A second session is refused, once with the limit in the log, until the first one is gone."""
    guest = loopback.target.guest
    first = loopback.map(disk, transport=limit, session="first", access_mode="ro")
    line = f"sessname=second path={network.TARGET.path()} device_path={disk} access_mode=ro"
    assert loopback.initiator.request(line) == "ENOSPC"
    told = guest.output(f"dmesg | grep -c 'more than {exceeded}'")
    assert told == "1", f"the server told the reason {told} times"
    assert first.unmap() is None
    guest.wait_until(lambda: loopback.initiator.request(line) is None, "room for another")
    assert loopback.initiator.find(disk, "second").unmap() is None


@pytest.mark.parametrize("parameter", ["max_memory", "max_memory_per_peer"])
def test_clients_get_no_more_memory_than_the_parameter_says(
    loopback: Pair, parameter: str
) -> None:
    """A path of 64 chunks takes 8 MiB for these and 1 to 3 for its queues, once it is up."""
    disk = loopback.target.ram_disk(16)
    limit = {"sess_queue_depth": 64, parameter: 16}
    _only_one_session_fits(loopback, disk, limit, f"{parameter}=16 MiB")


def test_a_path_that_comes_back_is_not_one_more(loopback: Pair) -> None:
    """What is left of its old connections does not count."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    one = {"max_paths": 1, "max_paths_per_peer": 1, "max_sessions_per_peer": 1}
    device = loopback.map(disk, transport=one)
    (path,) = loopback.initiator.transport().paths()
    mark = guest.console.mark()
    for _ in range(5):
        assert path.disconnect() is None
        path.force_connection()
    assert "more than" not in guest.printed_since(mark)
    fio.verify(guest, device.node, block="64k", size="1m")
    assert device.unmap() is None


def test_a_path_has_no_more_connections_than_the_parameter_says(loopback: Pair) -> None:
    """A client that wants one for each of its CPUs is told that this is too much."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    loopback.load(transport={"max_connections_per_path": 2})
    line = f"sessname=bench path={network.TARGET.path()} device_path={disk}"
    assert loopback.initiator.request(line) == "ENOSPC"
    assert guest.output("dmesg | grep -c 'more than max_connections_per_path=2 '") == "1"
    assert loopback.initiator.devices() == []


def test_a_peer_has_no_more_connections_than_the_parameter_says(loopback: Pair) -> None:
    """Those of all its sessions count; room that one gives back is another one's."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    connections = 1 + int(guest.output("nproc"))
    most = 2 * connections - 1
    limit = {"max_connections_per_peer": most}
    _only_one_session_fits(loopback, disk, limit, f"max_connections_per_peer={most} ")


def test_an_infiniband_address_needs_infiniband(loopback: Pair) -> None:
    """Over RoCE there is no way to a GID, and the user is told so."""
    disk = loopback.target.ram_disk(16)
    loopback.load()
    line = f"sessname=bench path=gid:fe80:0:0:0:5054:ff:fe50:42 device_path={disk}"
    assert loopback.initiator.request(line) in ("ENODEV", "EHOSTUNREACH")
    assert loopback.initiator.devices() == []
