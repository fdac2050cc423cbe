# SPDX-License-Identifier: GPL-2.0-only
"""Export rules: which clients may open which devices, and attempts to evade that."""

from dataclasses import dataclass

import pytest

from rnbdbench import blktrace
from rnbdbench import dmesg
from rnbdbench import drivers
from rnbdbench import network
from rnbdbench import rnbd
from rnbdbench import tracing
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device

IPV4 = f"{network.INITIATOR.path()}@{network.TARGET.path()}"
IPV6 = f"{network.INITIATOR.path(6)}@{network.TARGET.path(6)}"
ELSEWHERE = f"{network.TARGET.path()}@{network.TARGET.path()}"
"""A path that comes from another address than the initiator's."""


KPROBES = f"{tracing.TRACING}/kprobe_events"

FEW_BUFFERS = {"sess_queue_depth": 16}
"""Makes connecting a session, which these tests do again and again, cheap."""


def _load(bench: Pair, **parameters: str) -> Guest:
    bench.target.ram_disk(16, count=3)
    bench.load(transport=FEW_BUFFERS, **parameters)
    return bench.target.guest


def _map(
    bench: Pair, device: str, mode: str = "rw", session: str = "bench", path: str = ""
) -> str | None:
    """Maps a device and unmaps it again; returns the error of mapping it."""
    path = path or SESSIONS.get(session, IPV4)
    line = f"sessname={session} path={path} device_path={device} access_mode={mode}"
    error = bench.initiator.request(line)
    if error is None:
        assert bench.initiator.find(device, session).unmap() is None
    return error


def _lines_since(guest: Guest, mark: int, word: str) -> list[str]:
    log = guest.printed_since(mark)
    return [line for line in log.splitlines() if "rnbd_server" in line and word in line]


def _reads(device: Device) -> bool:
    command = f"dd if={device.node} of=/dev/null bs=4k count=1 iflag=direct status=none"
    return device.guest.run(command, check=False).code == 0


def test_everything_is_exported_by_default(loopback: Pair) -> None:
    """As with the C driver; one line in dmesg says so, and the file how to change it."""
    guest = loopback.target.guest
    drivers.unload(guest)
    mark = guest.console.mark()
    _load(loopback)
    assert len(_lines_since(guest, mark, "every client may open every block device")) == 1
    assert guest.read("/sys/module/rnbd_server/parameters/export_default") == "allow"
    assert guest.output(f"stat -c %a {rnbd.EXPORT_RULES}") == "644"
    usage = loopback.target.read_rules()
    assert "allow|deny [session=" in usage
    assert _map(loopback, "/dev/ram1") is None
    # What is read can be written, which changes nothing.
    assert loopback.target.write_rules(usage) is None
    assert loopback.target.read_rules() == usage


RULES = [
    "deny session=mallory*",
    f"allow from={network.INITIATOR.v4} device=/dev/ram0",
    f"allow session=web? from=192.0.2.0/24,{network.INITIATOR.v6}/64 device=/dev/ram* ro",
    "deny from=10.0.0.0/8",
]


@dataclass(frozen=True)
class Case:
    """An attempt to open a device."""

    error: str | None
    by: str
    """The reason in the log, if it is refused."""
    device: str
    mode: str = "rw"
    session: str = "bench"


SESSIONS = {
    "bench": IPV4,
    "mallory2": IPV4,
    "elsewhere": ELSEWHERE,
    "bench6": IPV6,
    "web1": IPV6,
}
"""The path of each session."""

NOTHING = "as no rule allows it anything"

# Ten of these are denied, which is as many as are logged within 5 s.
CASES = [
    Case(None, "", "/dev/ram0"),
    Case(None, "", "/dev/ram0", mode="ro"),
    Case("ENOENT", "by rule 4 'deny from=10.0.0.0/8'", "/dev/ram1"),
    Case("ENOENT", NOTHING, "/dev/ram0", session="mallory2"),
    Case("ENOENT", NOTHING, "/dev/ram0", session="elsewhere"),
    Case("ENOENT", NOTHING, "/dev/ram0", session="bench6"),
    Case(None, "", "/dev/ram0", mode="ro", session="web1"),
    Case(None, "", "/dev/ram1", mode="ro", session="web1"),
    Case("EACCES", "by rule 3 'allow session=web?", "/dev/ram1", session="web1"),
    Case("EACCES", "by rule 3", "/dev/ram1", mode="migration", session="web1"),
    Case("ENOENT", "as no rule allows it", "/dev/null", mode="ro", session="web1"),
    # A client must not learn which of these exist.
    Case("ENOENT", "by rule 4", "/dev/nothing"),
    Case("ENOENT", "by rule 4", "/etc/passwd"),
    Case("ENOENT", "by rule 4", "/etc/passwd/x"),
    # That such paths are refused is no secret.
    Case("EINVAL", "EINVAL", "/dev/../dev/ram1"),
]


def test_rules_decide(loopback: Pair) -> None:
    """By session, address, device and mode; one line in the target's log names them."""
    guest = _load(loopback)
    # Keeps sessions connected, and tests that open devices stay open.
    keepers = [
        loopback.initiator.map("/dev/ram2", session=session, path=path, access_mode="ro")
        for session, path in SESSIONS.items()
    ]
    assert loopback.target.write_rules("clear", "# Access rules.", "", *RULES) is None
    assert loopback.target.read_rules() == "\n".join(["clear", *RULES])
    wrong = []
    for case in CASES:
        mark = guest.console.mark()
        error = _map(loopback, case.device, case.mode, case.session)
        if error != case.error:
            wrong.append(f"{case}: {error}")
        if error is None:
            continue
        lines = _lines_since(guest, mark, f"'{case.device}' as {case.mode}")
        address = SESSIONS[case.session].partition("@")[0] if error != "EINVAL" else ""
        if len(lines) != 1 or not all(
            word in lines[0] for word in (f"{case.session}: ", address, case.by)
        ):
            wrong.append(f"{case}: said at the target: {lines}")
    assert not wrong, "\n".join(wrong)
    for device in keepers:
        assert device.unmap() is None
    assert loopback.target.exports() == []


def test_no_alias_evades_a_rule(loopback: Pair) -> None:
    """Symbolic links and other nodes are the device, both in requests and in rules."""
    guest = _load(loopback)
    keeper = loopback.initiator.map("/dev/ram2", path=IPV4)
    guest.run("mkdir -p /dev/vg && ln -s ../ram0 /dev/vg/web && mknod /dev/node b 1 0")
    names = ["/dev/ram0", "/dev/vg/web", "/dev/node", "dev//./ram0"]
    try:
        for denied in ("/dev/ram0", "/dev/ram?", "/dev/vg/web", "/dev/node"):
            assert loopback.target.write_rules("clear", f"deny device={denied}", "allow") is None
            errors = {name: _map(loopback, name) for name in names}
            if denied == "/dev/ram?":
                assert _map(loopback, "/dev/ram1") == "ENOENT"
            else:
                assert _map(loopback, "/dev/ram1") is None
            assert errors == dict.fromkeys(names, "ENOENT"), f"deny device={denied}"
        # A rule allows one device, by any name; or the devices of a directory.
        assert loopback.target.write_rules("clear", "allow device=/dev/vg/web") is None
        assert {name: _map(loopback, name) for name in names} == dict.fromkeys(names)
        assert _map(loopback, "/dev/ram1") == "ENOENT"
        assert loopback.target.write_rules("clear", "allow device=/dev/vg/*") is None
        assert _map(loopback, "/dev/vg/web") is None
        assert _map(loopback, "/dev/ram0") == "ENOENT"
        # A character device of the same number is another thing.
        guest.run("mknod /dev/vg/char c 1 1")
        assert loopback.target.write_rules("clear", "allow device=/dev/vg/char") is None
        assert _map(loopback, "/dev/ram1") == "ENOENT"
    finally:
        guest.run("rm -r /dev/vg /dev/node")
    assert keeper.unmap() is None


def test_a_rule_about_a_missing_link_fails_closed(loopback: Pair) -> None:
    """While a denied link is not there, as before udev has made it, it may mean any device."""
    guest = _load(loopback)
    keeper = loopback.initiator.map("/dev/ram2", path=IPV4)
    guest.run("mkdir -p /dev/vg && ln -s ../ram0 /dev/vg/secret")
    try:
        rule = "deny device=/dev/vg/secret"
        assert loopback.target.write_rules("clear", rule, "allow") is None
        assert [_map(loopback, disk) for disk in ("/dev/ram0", "/dev/ram1")] == ["ENOENT", None]
        guest.run("rm /dev/vg/secret")
        mark = guest.console.mark()
        assert _map(loopback, "/dev/ram0") == "ENOENT"
        said = f"by rule 1 '{rule}', as that path leads to no device"
        assert len(_lines_since(guest, mark, said)) == 1
        assert _map(loopback, "/dev/ram1") == "ENOENT"
        guest.run("ln -s ../ram0 /dev/vg/secret")
        assert _map(loopback, "/dev/ram1") is None
    finally:
        guest.run("rm -r /dev/vg")
    assert keeper.unmap() is None


@pytest.mark.kernels("stock")
def test_a_denied_device_is_not_opened(loopback: Pair) -> None:
    """Its driver does not notice: it need not spin up, and can be removed meanwhile."""
    guest = _load(loopback)
    keeper = loopback.initiator.map("/dev/ram2", path=IPV4)
    rules = ("deny device=/dev/ram1", "allow device=/dev/ram0 ro")
    assert loopback.target.write_rules("clear", *rules) is None
    guest.run(f"{tracing.MOUNT}; echo p:opened bdev_file_open_by_path > {KPROBES}")
    try:
        opened = {}
        for device, mode in [("ram1", "ro"), ("ram0", "rw"), ("ram0", "ro")]:
            with blktrace.lines(guest, "kprobes/opened", "common_pid > 0") as found:
                error = _map(loopback, f"/dev/{device}", mode)
            opened[device, mode] = error, len(found)
    finally:
        guest.run(f"echo > {KPROBES}")
    assert opened == {
        ("ram1", "ro"): ("ENOENT", 0),
        ("ram0", "rw"): ("EACCES", 0),
        ("ram0", "ro"): (None, 1),
    }
    assert keeper.unmap() is None


REFUSED = {
    "alow": "'alow' is none of allow, deny, clear, default",
    "clear all": "unknown word 'all'",
    "allow user=root": "unknown word 'user=root'",
    "allow rw": "unknown word 'rw'",
    "deny ro": "ro goes with allow only",
    "allow ro ro": "ro given twice",
    "allow session=a session=b": "session given twice",
    "allow session=": "session is empty",
    "allow session=a/b": "session 'a/b'",
    "allow from=": "from '' is not an address",
    "allow from=10.0.0.0/33": "from '10.0.0.0/33' has a bad number of bits",
    "allow from=10.50.100.65,host": "from 'host' is not an address",
    "allow device=": "device is empty",
    "allow device=ram0": "device 'ram0' is not an absolute path",
    "allow device=/dev/../etc": "device '/dev/../etc' is not an absolute path",
    f"allow device=/{'d' * 255}": "device is empty or longer than 255 bytes",
    "allow\x01": "has control characters",
}
"""Malformed lines, and the reason in the log."""


def test_malformed_rules_change_nothing(loopback: Pair) -> None:
    """EINVAL, one line in dmesg with the number of the line and the reason."""
    guest = _load(loopback)
    assert loopback.target.write_rules("clear", "allow device=/dev/ram0") is None
    rules = loopback.target.read_rules()
    wrong = []
    for line, says in REFUSED.items():
        mark = guest.console.mark()
        # Right lines around it do not count either.
        error = loopback.target.write_rules("clear", "allow", line, "allow")
        lines = _lines_since(guest, mark, "export_rules")
        if error != "EINVAL" or len(lines) != 1 or f"line 3: {says}" not in lines[0]:
            wrong.append(f"{line!r:.40}: {error}, {lines}")
        if loopback.target.read_rules() != rules:
            wrong.append(f"{line!r:.40}: changed the rules")
    assert not wrong, "\n".join(wrong)
    mark = guest.console.mark()
    # One write that sysfs would cut off, and one too many.
    for long in (["allow device=/dev/disk"] * 400, ["allow"] * 670):
        assert loopback.target.write_rules(*long) == "E2BIG"
    assert len(_lines_since(guest, mark, "more than 4000 bytes")) == 2
    assert loopback.target.write_rules(*["deny session=x"] * 250) is None
    assert loopback.target.write_rules(*["deny session=x"] * 20) == "E2BIG"
    assert len(loopback.target.read_rules().splitlines()) == 252
    # As many as there is room for can be written as they are read.
    assert loopback.target.write_rules(*["deny session=x"] * 14, "deny session=xy") is None
    rules = loopback.target.read_rules()
    assert len(rules) > 4000
    assert loopback.target.write_rules(*rules.splitlines()) is None
    assert loopback.target.read_rules() == rules
    assert _map(loopback, "/dev/ram0") is None


def test_a_machine_can_come_up_closed(loopback: Pair) -> None:
    """export_default=deny: no device can be opened without rules."""
    guest = loopback.target.guest
    drivers.unload(guest)
    assert guest.run("modprobe rnbd_server export_default=no", check=False).code != 0
    assert "export_default=no refused" in dmesg.last(guest, 5)
    mark = guest.console.mark()
    _load(loopback, export_default="deny")
    assert len(_lines_since(guest, mark, "no client may open anything")) == 1
    assert _map(loopback, "/dev/ram0") == "EACCES"
    # Line by line, as shells do; each is a write of its own.
    for line in ("deny device=/dev/ram1", "allow"):
        assert loopback.target.write_rules(line) is None
    assert _map(loopback, "/dev/ram0") is None
    assert _map(loopback, "/dev/ram1") == "ENOENT"
    assert loopback.target.write_rules("default") is None
    assert _map(loopback, "/dev/ram0") == "EACCES"


def test_an_address_that_no_rule_allows_anything_cannot_connect(loopback: Pair) -> None:
    """It is refused before it gets anything; one line in the log says why."""
    guest = _load(loopback)
    rules = ("deny session=x", f"allow from={network.INITIATOR.v4} device=/dev/ram0 ro")
    assert loopback.target.write_rules("clear", *rules) is None
    mark = guest.console.mark()
    assert _map(loopback, "/dev/ram0", "ro", path=IPV6) == "EACCES"
    said = f"connection from {network.INITIATOR.path(6)} refused as no rule allows it anything"
    assert len(_lines_since(guest, mark, said)) == 1
    assert "rtrs: " not in "".join(
        line for line in guest.printed_since(mark).splitlines() if "closing" in line
    ), "there was a path"
    assert _map(loopback, "/dev/ram0", "ro", path=IPV4) is None
    # A path of a session from there is one more connection.
    device = loopback.initiator.map("/dev/ram0", path=IPV4, access_mode="ro")
    assert loopback.initiator.transport().add_path(IPV6) == "EACCES"
    assert _reads(device)
    assert device.unmap() is None


def test_a_name_is_kept_for_the_addresses_of_its_rule(loopback: Pair) -> None:
    """A client elsewhere that uses it cannot keep its owner out."""
    guest = _load(loopback)
    owner = f"allow session=web* from={network.INITIATOR.v4} device=/dev/ram0"
    other = f"allow from={network.INITIATOR.v6} device=/dev/ram1"
    assert loopback.target.write_rules("clear", owner, other) is None
    mark = guest.console.mark()
    assert _map(loopback, "/dev/ram1", session="web7", path=IPV6) is not None
    said = f"web7: the name of this session is refused to {network.INITIATOR.path(6)} by rule 1"
    assert len(_lines_since(guest, mark, said)) == 1
    assert loopback.target.transports() == []
    assert _map(loopback, "/dev/ram1", session="mine", path=IPV6) is None
    assert _map(loopback, "/dev/ram0", session="web7", path=IPV4) is None


def test_rules_apply_when_a_device_is_opened(loopback: Pair) -> None:
    """An open device stays open, until the session is lost.

    To the client, one that the rules hide is one that is missing: I/O waits for it for as
    long as for a path, and it is back once the rules allow it again.
    """
    guest = _load(loopback)
    device = loopback.initiator.map("/dev/ram0", path=IPV4)
    assert loopback.initiator.transport().write("fast_io_fail_tmo", "4") is None
    assert loopback.target.write_rules("clear", "allow device=/dev/ram1") is None
    assert _reads(device)
    assert _map(loopback, "/dev/ram0", session="other") == "ENOENT"
    (path,) = loopback.initiator.transport().paths()
    assert path.disconnect() is None
    path.force_connection()
    device.wait_for_state("closed")
    assert not _reads(device)
    assert loopback.target.write_rules("default") is None
    device.wait_for_state("open")
    assert _reads(device)
    assert device.unmap() is None
    # The administrator closes an open device.
    device = loopback.initiator.map("/dev/ram0", path=IPV4)
    assert loopback.target.write_rules("clear") is None
    force_close = f"{rnbd.SERVER_DEVICES}/ram0/sessions/bench/force_close"
    assert guest.write(force_close, "1") is None
    assert not _reads(device)
    assert device.unmap("force") is None
    assert _map(loopback, "/dev/ram0") == "EACCES"


def test_every_path_of_a_session_has_to_be_allowed(loopback: Pair) -> None:
    """A path from another address does not give access to the devices of a session."""
    guest = _load(loopback)
    rule = f"allow from={network.INITIATOR.v4} device=/dev/ram0"
    elsewhere = f"allow from={network.INITIATOR.v6} device=/dev/ram2"
    assert loopback.target.write_rules("clear", rule, elsewhere) is None
    device = loopback.initiator.map("/dev/ram0", path=IPV4)
    session = loopback.initiator.transport()
    mark = guest.console.mark()
    assert session.add_path(IPV6) is not None
    lines = _lines_since(guest, mark, f"'/dev/ram0' as rw denied to {network.INITIATOR.path(6)}")
    assert len(lines) == 1, lines
    assert loopback.target.transport().path_names() == [IPV4]
    assert _reads(device)
    assert device.unmap() is None
    # The other order: both paths are there before the device.
    line = f"sessname=bench path={IPV4} path={IPV6} device_path=/dev/ram0"
    assert loopback.initiator.request(line) == "ENOENT"
    assert loopback.initiator.devices() == []
    rule = f"allow from={network.INITIATOR.v6} device=/dev/ram*"
    assert loopback.target.write_rules(rule) is None
    device = loopback.initiator.map("/dev/ram0", paths=[IPV4, IPV6])
    assert loopback.target.transport().path_names() == sorted([IPV4, IPV6])
    assert _reads(device)
    assert device.unmap() is None
