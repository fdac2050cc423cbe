# SPDX-License-Identifier: GPL-2.0-only
"""What the server's administrator decides, and what clients may not."""

import pytest

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
    loopback.target.load()
    loopback.initiator.load()
    device = loopback.initiator.map(disk)
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
    loopback.target.load()
    loopback.initiator.load()
    first = loopback.initiator.map(disk, session="first", access_mode="ro")
    second = loopback.initiator.map(disk, session="second", access_mode="ro")
    assert guest.write(_force_close("first"), "1") is None
    assert guest.output(f"ls {rnbd.SERVER_DEVICES}/ram0/sessions") == "second"
    read = "dd of=/dev/null bs=4k count=1 iflag=direct status=none"
    guest.run(f"{read} if={second.node}")
    assert guest.run(f"{read} if={first.node}", check=False).code != 0
    assert first.unmap("force") is None
    assert second.unmap() is None
    assert loopback.target.exports() == []


def test_one_disk_by_two_paths_is_refused(loopback: Pair) -> None:
    """A session has a device once, by whatever path it is found."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    guest.run(f"ln -sf {disk} /dev/alias")
    loopback.target.load()
    loopback.initiator.load()
    device = loopback.initiator.map(disk, access_mode="ro")
    line = f"sessname=bench path={network.TARGET.path()} device_path=/dev/alias access_mode=ro"
    assert loopback.initiator.request(line) == "EEXIST"
    assert device.unmap() is None


@pytest.mark.parametrize(
    ("path", "error"),
    [("inside", None), ("outside", "EXDEV"), ("../ram0", "EINVAL"), ("sub/..ram0", None)],
)
def test_paths_stay_inside_of_the_search_path(
    loopback: Pair, path: str, error: str | None
) -> None:
    """Neither `..` nor a symbolic link leads out of it."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    guest.run(
        "mkdir -p /dev/exports/sub && cd /dev/exports && mknod -m 600 sub/..ram0 b 1 0"
        f" && ln -s sub/..ram0 inside && ln -s {disk} outside"
    )
    try:
        loopback.target.load(dev_search_path="/dev/exports")
        loopback.initiator.load()
        line = f"sessname=bench path={network.TARGET.path()} device_path={path}"
        assert loopback.initiator.request(line) == error
        if error is None:
            assert loopback.initiator.find(path).unmap() is None
    finally:
        guest.run("rm -r /dev/exports")


@pytest.mark.parametrize(
    "parameter", ["port_nr=0", "dev_search_path=dev", "dev_search_path=/dev/../etc"]
)
def test_senseless_parameters_are_refused(loopback: Pair, parameter: str) -> None:
    """The module does not load, and says which parameter is to blame."""
    guest = loopback.target.guest
    assert guest.run(f"modprobe rnbd_server {parameter}", check=False).code != 0
    assert parameter.split("=")[0] in guest.output("dmesg | tail -n 5")
