# SPDX-License-Identifier: GPL-2.0-only
"""Mapping: what is refused, and how the user is told."""

from dataclasses import dataclass

import pytest

from rnbdbench import dmesg
from rnbdbench import drivers
from rnbdbench import network
from rnbdbench import rnbd
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device

PATH = f"path={network.TARGET.path()}"
NAME = "sessname=bench"
DISK = "device_path=/dev/ram0"


@dataclass(frozen=True)
class Bad:
    """A line that map_device must refuse."""

    what: str
    line: str
    error: str
    """Name of the errno that the write gives."""
    says: str
    """What the one line in dmesg must name."""


REFUSED = [
    Bad("nothing", "\n", "EINVAL", "sessname"),
    Bad("no-sessname", f"{PATH} {DISK}", "EINVAL", "sessname"),
    Bad("no-device-path", f"{NAME} {PATH}", "EINVAL", "device_path"),
    Bad("no-path-new-session", f"{NAME} {DISK}", "ENXIO", "path"),
    Bad("empty-sessname", f"sessname= {PATH} {DISK}", "EINVAL", "sessname"),
    Bad("empty-device-path", f"{NAME} {PATH} device_path=", "EINVAL", "device_path"),
    Bad("empty-path", f"{NAME} path= {DISK}", "EINVAL", "path"),
    Bad("long-sessname", f"sessname={'s' * 256} {PATH} {DISK}", "EINVAL", "sessname"),
    Bad("long-device-path", f"{NAME} {PATH} device_path=/{'d' * 255}", "EINVAL", "device_path"),
    Bad("unknown-option", f"{NAME} {PATH} {DISK} colour=red", "EINVAL", "colour"),
    Bad("word-without-value", f"{NAME} {PATH} {DISK} verbose", "EINVAL", "verbose"),
    Bad("unknown-family", f"{NAME} path=tcp:10.50.100.66 {DISK}", "EPROTONOSUPPORT", "path"),
    Bad("no-address", f"{NAME} path=ip:10.50.100.366 {DISK}", "EINVAL", "path"),
    Bad("no-source-address", f"{NAME} path=ip:x@ip:10.50.100.66 {DISK}", "EINVAL", "path"),
    Bad("bad-ipv6", f"{NAME} path=ip:fd00::1::2 {DISK}", "EINVAL", "path"),
    Bad("bad-gid", f"{NAME} path=gid:fe80 {DISK}", "EINVAL", "path"),
    Bad(
        "seven-paths",
        f"{NAME} {DISK} " + " ".join(f"path=ip:10.50.100.{n}" for n in range(66, 73)),
        "EINVAL",
        "path",
    ),
    Bad("port-too-large", f"{NAME} {PATH} {DISK} dest_port=65536", "EINVAL", "dest_port"),
    Bad("port-no-number", f"{NAME} {PATH} {DISK} dest_port=rnbd", "EINVAL", "dest_port"),
    Bad("port-twice", f"{NAME} {PATH} {DISK} dest_port=1 dest_port=2", "EINVAL", "dest_port"),
    Bad("port-negative", f"{NAME} {PATH} {DISK} dest_port=-1", "EINVAL", "dest_port"),
    Bad("access-mode", f"{NAME} {PATH} {DISK} access_mode=wo", "EINVAL", "access_mode"),
    Bad("poll-queues-low", f"{NAME} {PATH} {DISK} nr_poll_queues=-2", "EINVAL", "nr_poll_queues"),
    Bad("poll-queues-high", f"{NAME} {PATH} {DISK} nr_poll_queues=999", "EINVAL", "nr_poll_queues"),
    Bad("no-time", f"{NAME} {PATH} {DISK} fast_io_fail_tmo=-1", "EINVAL", "fast_io_fail_tmo"),
    Bad(
        "attempts-high",
        f"{NAME} {PATH} {DISK} max_reconnect_attempts=10000",
        "EINVAL",
        "max_reconnect_attempts",
    ),
    Bad("no-policy", f"{NAME} {PATH} {DISK} mp_policy=best", "EINVAL", "mp_policy"),
    Bad("no-timeout", f"{NAME} {PATH} {DISK} io_timeout=0", "EINVAL", "io_timeout"),
    Bad("poll-queues-word", f"{NAME} {PATH} {DISK} nr_poll_queues=all", "EINVAL", "nr_poll_queues"),
    Bad("no-such-device", f"{NAME} {PATH} device_path=/dev/nothing", "ENOENT", "/dev/nothing"),
    Bad("not-a-device", f"{NAME} {PATH} device_path=/etc/fstab", "ENOTBLK", "/etc/fstab"),
    Bad("outside", f"{NAME} {PATH} device_path=/dev/../dev/ram0", "EINVAL", "/dev/../dev/ram0"),
]
"""Each is refused by the option's own grammar or by the server."""


def _nothing_left(bench: Pair) -> None:
    assert bench.initiator.devices() == []
    assert bench.initiator.transports() == []
    assert bench.initiator.guest.names(rnbd.DEVICES) == []
    bench.target.guest.wait_until(lambda: bench.target.transports() == [], "the server's clean-up")
    assert bench.target.exports() == []


def _said(guest: Guest, mark: int) -> list[str]:
    """What the client said since then."""
    return dmesg.said_by(guest.printed_since(mark), "rnbd_client")


def test_bad_input_is_refused_with_a_reason(loopback: Pair) -> None:
    """The errno, one line in dmesg that names the option, nothing left behind."""
    guest = loopback.initiator.guest
    loopback.target.ram_disk(16)
    loopback.load()
    wrong = []
    for bad in REFUSED:
        mark = guest.console.mark()
        error = loopback.initiator.request(bad.line)
        said = _said(guest, mark)
        if error != bad.error or len(said) != 1 or not dmesg.names(said[0], bad.says):
            wanted = f"{bad.error} and one line that names {bad.says}"
            wrong.append(f"{bad.what}: {error} and {said}, not {wanted}")
        _nothing_left(loopback)
    assert not wrong, "\n".join(wrong)
    # The control file still works.
    assert loopback.initiator.map("/dev/ram0").unmap() is None


def test_mapping_twice_is_refused(loopback: Pair, device: Device) -> None:
    """The same device on the same session is there already; the first stays."""
    guest = loopback.initiator.guest
    mark = guest.console.mark()
    assert loopback.initiator.request(f"{NAME} {PATH} {DISK}") == "EEXIST"
    (line,) = _said(guest, mark)
    assert dmesg.names(line, "/dev/ram0"), line
    assert device.read("rnbd/state") == "open"
    assert loopback.initiator.devices() == [device]
    assert device.unmap() is None
    _nothing_left(loopback)


def test_another_server_is_refused_under_a_name_in_use(loopback: Pair) -> None:
    """A session is shared by those who mean it, not by those who only chose its name."""
    guest = loopback.initiator.guest
    loopback.target.ram_disk(16, count=2)
    first = loopback.map("/dev/ram0")
    other = "device_path=/dev/ram1"
    elsewhere = "path=ip:10.50.100.99"
    for line, option in (
        (f"{NAME} {elsewhere} {other}", "path"),
        (f"{NAME} path={network.TARGET.path(6)} {other}", "path"),
        (f"{NAME} path=ip:10.50.100.99@{network.TARGET.path()} {other}", "path"),
        (f"{NAME} {PATH} {other} dest_port=4321", "dest_port"),
        (f"{NAME} {other} dest_port=4321", "dest_port"),
    ):
        mark = guest.console.mark()
        assert loopback.initiator.request(line) == "ENOTUNIQ", line
        (said,) = _said(guest, mark)
        assert dmesg.names(said, option) and dmesg.names(said, "bench"), said
        assert loopback.initiator.devices() == [first]
    (shown,) = loopback.initiator.transport().paths()
    for path in (PATH, f"{PATH} {PATH}", f"path={shown.name}", f"{elsewhere} {PATH} dest_port=1234"):
        assert loopback.initiator.request(f"{NAME} {path} {other}") is None, path
        assert loopback.initiator.find("/dev/ram1").unmap() is None
    assert [path.name for path in loopback.initiator.transport().paths()] == [shown.name]
    assert first.unmap() is None
    _nothing_left(loopback)


def test_two_servers_race_for_a_name(loopback: Pair) -> None:
    """Of two writers at once, one has the name, and the other is refused or fails to connect."""
    guest = loopback.initiator.guest
    loopback.target.ram_disk(16, count=2)
    loopback.load()
    lines = (f"{NAME} {PATH} {DISK}", f"{NAME} path={network.TARGET.path(6)} device_path=/dev/ram1")
    writers = [guest.begin(f"echo {line} > {rnbd.MAP_DEVICE}") for line in lines]
    codes = [writer.wait(60).code for writer in writers]
    assert sorted(code == 0 for code in codes) == [False, True]
    (device,) = loopback.initiator.devices()
    assert device.read("rnbd/mapping_path") == f"/dev/ram{codes.index(0)}"
    (path,) = loopback.initiator.transport().paths()
    assert (network.TARGET.path(), network.TARGET.path(6))[codes.index(0)] in path.name
    assert device.unmap() is None
    _nothing_left(loopback)


SETTINGS = ("max_reconnect_attempts", "fast_io_fail_tmo", "mpath_policy")
"""Files of a session that options of map_device and parameters of the module set."""


def _settings(bench: Pair) -> list[str]:
    session = bench.initiator.transport()
    return [session.read(name).split()[0] for name in SETTINGS]


def test_settings_of_a_session(loopback: Pair) -> None:
    """Given when it is mapped, or by parameters of the module; its devices share them."""
    guest = loopback.initiator.guest
    loopback.target.ram_disk(16, count=2)
    asked = {"fast_io_fail_tmo": "off", "max_reconnect_attempts": 3, "mp_policy": "RR"}
    first = loopback.map("/dev/ram0", io_timeout=4000, **asked)
    assert _settings(loopback) == ["3", "off", "round-robin"]
    assert first.read("queue/io_timeout") == "4000"
    line = f"{NAME} device_path=/dev/ram1"
    for option in ("fast_io_fail_tmo=5", "max_reconnect_attempts=-1", "mp_policy=min-latency"):
        mark = guest.console.mark()
        assert loopback.initiator.request(f"{line} {option}") == "EINVAL", option
        (said,) = _said(guest, mark)
        assert dmesg.names(said, option.split("=")[0]) and dmesg.names(said, "bench"), said
    # Changed in sysfs, that is the value to agree with.
    assert loopback.initiator.transport().write("fast_io_fail_tmo", "5") is None
    second = loopback.initiator.map("/dev/ram1", path="", fast_io_fail_tmo=5, mp_policy=0)
    assert second.read("queue/io_timeout") == "30000"
    assert second.unmap() is None
    assert first.unmap() is None
    guest.run("rmmod rnbd_client")
    wrong = ("fast_io_fail_tmo=-1", "max_reconnect_attempts=10000", "mp_policy=best", "io_timeout=0")
    for parameter in wrong:
        assert guest.run(f"modprobe rnbd_client {parameter}", check=False).code != 0, parameter
        assert parameter.split("=")[0] in dmesg.last(guest, 5), parameter
    parameters = "fast_io_fail_tmo=7 max_reconnect_attempts=9 mp_policy=min-latency io_timeout=2000"
    drivers.load(guest, "rnbd_client", parameters)
    device = loopback.initiator.map("/dev/ram0", mp_policy="round-robin")
    assert _settings(loopback) == ["9", "7", "round-robin"]
    assert device.read("queue/io_timeout") == "2000"
    assert device.unmap() is None
    drivers.unload(guest)


@pytest.mark.parametrize("port", [1234, 4321], ids=["no-server", "wrong-port"])
def test_nobody_listens(loopback: Pair, port: int) -> None:
    """The connection is refused, and the user is told."""
    guest = loopback.initiator.guest
    drivers.unload(guest)
    if port != 1234:
        loopback.target.ram_disk(16)
        loopback.target.load()
    loopback.initiator.load()
    mark = guest.console.mark()
    error = loopback.initiator.request(f"{NAME} {PATH} {DISK} dest_port={port}")
    assert error in ("ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH")
    (line,) = _said(guest, mark)
    assert dmesg.names(line, "path") and dmesg.names(line, "bench"), line
    _nothing_left(loopback)


def test_another_network_namespace_is_refused(loopback: Pair) -> None:
    """The session would be connected from the initial one, where addresses mean others."""
    loopback.target.ram_disk(16)
    loopback.load()
    guest = loopback.initiator.guest
    mark = guest.console.mark()
    command = f"echo {NAME} {PATH} {DISK} > {rnbd.MAP_DEVICE}"
    refused = guest.run(f"busybox unshare -n sh -c '{command}'", check=False)
    assert refused.code != 0
    assert "not supported" in refused.stderr
    assert "nsenter --net=/proc/1/ns/net" in guest.printed_since(mark)
    _nothing_left(loopback)


def test_a_session_of_one_request_is_refused(loopback: Pair) -> None:
    """A server may offer a queue depth of 1, but control messages need a message id."""
    loopback.target.ram_disk(16)
    loopback.load(transport={"sess_queue_depth": 1})
    guest = loopback.initiator.guest
    mark = guest.console.mark()
    assert loopback.initiator.request(f"{NAME} {PATH} {DISK}") == "EPROTO"
    said = guest.printed_since(mark)
    assert "the path offers queue depth 1, but one message id is for control" in said, said
    _nothing_left(loopback)


def test_option_order_does_not_matter(loopback: Pair) -> None:
    """Also not that of dest_port, here in hexadecimal, and path."""
    loopback.target.ram_disk(16)
    loopback.load(port_nr=4321)
    line = f"access_mode=ro {DISK} {PATH} dest_port=0x10e1 {NAME}\n"
    assert loopback.initiator.request(line) is None
    assert loopback.initiator.find("/dev/ram0").unmap() is None


def test_several_devices_share_a_session(loopback: Pair) -> None:
    """The second needs no path; the session ends with the last."""
    loopback.target.ram_disk(16, count=3)
    first = loopback.map("/dev/ram0")
    others = [loopback.initiator.map(f"/dev/ram{n}", path="") for n in (1, 2)]
    assert [device.name for device in (first, *others)] == ["rnbd0", "rnbd1", "rnbd2"]
    assert loopback.initiator.sessions() == ["bench"]
    assert sorted(loopback.target.exports()) == ["ram0", "ram1", "ram2"]
    assert first.unmap() is None
    for device in others:
        assert device.read("rnbd/state") == "open"
        assert device.unmap() is None
    _nothing_left(loopback)


def test_a_name_of_255_bytes_is_kept_whole(loopback: Pair) -> None:
    """A session name as long as allowed, with a short device path."""
    loopback.target.ram_disk(16)
    loopback.load()
    # The link is called <device>@<session>, and a file name has 255 bytes.
    name = "n" * (255 - len("@!dev!ram0"))
    device = loopback.initiator.map("/dev/ram0", session=name)
    assert device.read("rnbd/session") == name
    assert loopback.target.sessions() == [name]
    assert device.unmap() is None
