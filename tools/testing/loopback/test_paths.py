# SPDX-License-Identifier: GPL-2.0-only
"""Paths of a session in one guest: what sysfs shows of them, and what becomes of I/O."""

import pytest

from rnbdbench import dmesg
from rnbdbench import fio
from rnbdbench import network
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device

IPV4 = f"{network.INITIATOR.path()}@{network.TARGET.path()}"
IPV6 = f"{network.INITIATOR.path(6)}@{network.TARGET.path(6)}"

MODES = {
    "hca_name": "444",
    "hca_port": "444",
    "src_addr": "444",
    "dst_addr": "444",
    "state": "444",
    "cur_latency": "444",
    "reconnect": "644",
    "disconnect": "644",
    "remove_path": "644",
    "stats/cpu_migration_from": "644",
    "stats/cpu_migration_to": "644",
    "stats/reconnects": "644",
    "stats/rdma": "644",
    "stats/polled": "644",
    "stats/reset_all": "644",
}
"""The files of a path."""

SAYS = {
    "hca_name": network.rdma_name(0),
    "hca_port": "1",
    "src_addr": network.INITIATOR.path(),
    "dst_addr": network.TARGET.path(),
    "state": "connected",
    "reconnect": "Usage: echo 1 > reconnect",
    "disconnect": "Usage: echo 1 > disconnect",
    "remove_path": "Usage: echo 1 > remove_path",
    "stats/reconnects": "0 0",
    "stats/polled": "0",
    "stats/reset_all": "echo 1 to reset all statistics",
}

SESSION_SAYS = {
    "max_reconnect_attempts": "-1",
    "mpath_policy": "min-inflight (MI: 1)",
    "fast_io_fail_tmo": "120",
    "add_path": "Usage: echo [<source addr>@]<destination addr> > add_path\n\n"
    "*addr ::= [ ip:<ipv4|ipv6> | gid:<gid> ]",
}


def _read_block(guest: Guest, device: Device) -> int:
    return guest.run(
        f"dd if={device.node} of=/dev/null bs=4k count=1 iflag=direct status=none", check=False
    ).code


def test_files_of_a_session_and_its_path(loopback: Pair) -> None:
    """Names, modes and contents are those of the C driver; all goes with the mapping."""
    guest = loopback.initiator.guest
    device = loopback.map(paths=[IPV4])
    session = loopback.initiator.transport()
    assert session.path_names() == [IPV4]
    (path,) = session.paths()
    found = guest.output(f"cd '{path.folder}' && find . -type f -exec stat -c '%n %a' {{}} +")
    modes = dict(line.removeprefix("./").split() for line in found.splitlines())
    assert modes == MODES
    for name, text in SAYS.items():
        assert path.read(name) == text, name
    for name, text in SESSION_SAYS.items():
        assert session.read(name) == text, name
        mode = guest.output(f"stat -c %a {session.folder}/{name}")
        assert mode == "644", name
    assert device.unmap() is None
    assert guest.names("/sys/class/rtrs-client") == []


def test_bad_writes_are_refused(loopback: Pair) -> None:
    """EINVAL, one line that names the file, and the path stays as it is."""
    guest = loopback.initiator.guest
    device = loopback.map(paths=[IPV4])
    session = loopback.initiator.transport()
    (path,) = session.paths()
    for name, mode in MODES.items():
        if mode == "644":
            assert path.write(name, "0") == "EINVAL", name
    for name in SESSION_SAYS:
        assert session.write(name, "nonsense") == "EINVAL", name
        assert name in dmesg.last(guest)
    for name, text in SESSION_SAYS.items():
        assert session.read(name) == text, name
    assert path.state() == "connected"
    assert _read_block(guest, device) == 0


def test_io_goes_on_over_the_other_path(loopback: Pair) -> None:
    """One of two is disconnected, connected, removed and added while data are verified."""
    guest = loopback.initiator.guest
    device = loopback.map(paths=[IPV4, IPV6])
    session = loopback.initiator.transport()
    assert session.set_policy("round-robin") is None
    kept, other = session.path(IPV4), session.path(IPV6)
    verify = fio.begin_verify(guest, device.node)
    other.wait_for_traffic(0)

    assert other.disconnect() is None
    assert other.state() == "disconnected"
    kept.wait_for_traffic(0)
    other.force_connection()
    other.wait_for_traffic(0)
    # Connects again a path that is up.
    assert other.reconnect() is None
    other.wait_for_traffic(0)
    assert other.reconnects() == (2, 0)

    assert other.remove() is None
    assert session.path_names() == [IPV4]
    kept.wait_for_traffic(0)
    guest.wait_until(lambda: session.add_path(IPV6) is None, "the path to be added")
    assert session.add_path(IPV6) == "EEXIST"
    other.wait_for_traffic(0)
    verify.end()
    assert device.unmap() is None


@pytest.mark.kernels("stock", "sanitize")
def test_io_waits_for_a_path_but_not_without_end(loopback: Pair) -> None:
    """fast_io_fail_tmo: I/O fails after that time, and works again once a path is up."""
    guest = loopback.initiator.guest
    device = loopback.map(paths=[IPV4])
    session = loopback.initiator.transport()
    (path,) = session.paths()
    read = f"dd if={device.node} of=/dev/null bs=4k count=1 iflag=direct status=none"
    assert session.write("fast_io_fail_tmo", "off") is None
    assert session.read("fast_io_fail_tmo") == "off"

    assert path.disconnect() is None
    assert device.read("rnbd/state") == "closed"
    waiting = guest.begin(read)
    guest.wait_until(
        lambda: guest.read(f"/sys/block/{device.name}/inflight").split()[0] != "0",
        "the request to be accepted",
    )
    assert waiting.running
    assert session.write("fast_io_fail_tmo", "1") is None
    assert waiting.wait().code != 0
    assert _read_block(guest, device) != 0, "I/O is to fail at once now"

    path.force_connection()
    assert device.read("rnbd/state") == "open"
    assert _read_block(guest, device) == 0
    assert path.disconnect() is None
    assert waiting_io_fails_by_force(guest, device, read)


def waiting_io_fails_by_force(guest: Guest, device: Device, read: str) -> bool:
    """Unmaps by force while a request waits for a path."""
    waiting = guest.begin(read)
    assert device.unmap("force") is None
    return waiting.wait().code != 0 and not device.exists()
