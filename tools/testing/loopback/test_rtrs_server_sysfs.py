# SPDX-License-Identifier: GPL-2.0-only
"""What the target's transport shows of its sessions, and takes from the administrator."""

import pytest

from rnbdbench import fio
from rnbdbench import network
from rnbdbench import rnbd
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device

CLASS = "/sys/class/rtrs-server"

MODES = {
    "hca_name": "444",
    "hca_port": "444",
    "src_addr": "444",
    "dst_addr": "444",
    "disconnect": "644",
    "stats/rdma": "644",
    "stats/reset_all": "644",
}
"""The files of a path."""

USAGE = {
    "disconnect": "Usage: echo 1 > disconnect",
    "stats/reset_all": "echo 1 to reset all statistics",
}

IO_MESSAGE = 32
"""Bytes of a request beside its data."""


def _names(guest: Guest, folder: str) -> list[str]:
    return guest.output(f"ls {folder} 2>/dev/null || true").split()


def _path(guest: Guest, session: str = "bench") -> str:
    """The folder of a session's only path."""
    folder = f"{CLASS}/{session}/paths"
    names = _names(guest, folder)
    assert len(names) == 1, names
    return f"{folder}/{names[0]}"


def _rdma(guest: Guest, path: str) -> list[int]:
    return [int(word) for word in guest.output(f"cat {path}/stats/rdma").split()]


def _map(bench: Pair, session: str = "bench", **options: str | int) -> Device:
    disk = bench.target.ram_disk(16)
    bench.target.load()
    bench.initiator.load()
    return bench.initiator.map(disk, session=session, **options)


def _keep_client_away(bench: Pair, session: str) -> None:
    """Lets the client take the loss of its path for final."""
    assert bench.initiator.transport(session).set_max_reconnect_attempts("0") is None


def _wait_until_gone(guest: Guest) -> None:
    guest.wait_until(lambda: _names(guest, CLASS) == [], "the end of the session")


def test_files_of_a_path(loopback: Pair) -> None:
    """All are there with the right modes, and nothing else."""
    guest = loopback.target.guest
    _map(loopback, session="blya")
    assert _names(guest, CLASS) == ["blya"]
    path = _path(guest, "blya")
    found = guest.output(f"cd {path} && find . -type f -exec stat -c '%n %a' {{}} +")
    modes = dict(line.removeprefix("./").split() for line in found.splitlines())
    assert modes == MODES


def test_what_the_files_of_a_path_say(loopback: Pair) -> None:
    """Device and addresses, as the client names them."""
    guest = loopback.target.guest
    client, server = network.INITIATOR.path(), network.TARGET.path()
    _map(loopback, path=f"{client}@{server}")
    path = _path(guest)
    assert path.rsplit("/", 1)[-1] == f"{client}@{server}"
    assert guest.output(f"cat {path}/src_addr") == client
    assert guest.output(f"cat {path}/dst_addr") == server
    assert guest.output(f"cat {path}/hca_name") == network.rdma_name(0)
    assert guest.output(f"cat {path}/hca_port") == "1"
    for name, text in USAGE.items():
        assert guest.output(f"cat {path}/{name}") == text


def test_ipv6_path(loopback: Pair) -> None:
    """Addresses are written short, without port and brackets."""
    guest = loopback.target.guest
    client, server = network.INITIATOR.path(6), network.TARGET.path(6)
    _map(loopback, path=f"{client}@{server}")
    assert _names(guest, f"{CLASS}/bench/paths") == [f"{client}@{server}"]


@pytest.mark.parametrize("name", ["disconnect", "stats/rdma", "stats/reset_all"])
def test_other_words_are_refused(loopback: Pair, name: str) -> None:
    """EINVAL and a line that names the file, and nothing changes."""
    guest = loopback.target.guest
    device = _map(loopback)
    path = _path(guest)
    guest.run(f"dd if={device.node} of=/dev/null bs=4k count=1 iflag=direct status=none")
    before = _rdma(guest, path)
    for word in ("0", "2", "11", "1 ", "yes", ""):
        # sysfs is not asked about an empty write.
        expected = "EINVAL" if word else None
        assert guest.write(f"{path}/{name}", word) == expected
    assert f"{name.rsplit('/', 1)[-1]}: invalid value 'yes'" in guest.output("dmesg | tail -n 20")
    assert _rdma(guest, path) == before
    guest.run(f"dd if={device.node} of=/dev/null bs=4k count=1 iflag=direct status=none")


def test_disconnect_ends_the_session(loopback: Pair) -> None:
    """During I/O; the session's folder goes, and the name can be used again."""
    guest = loopback.target.guest
    device = _map(loopback)
    _keep_client_away(loopback, "bench")
    load = fio.begin_load(guest, device.node)
    fio.wait_for_io(guest, device.name)
    path = _path(guest)
    assert guest.write(f"{path}/disconnect", "1") is None
    _wait_until_gone(guest)
    assert loopback.target.exports() == []
    assert device.unmap("force") is None
    assert load.wait(60).code != 0
    device = loopback.initiator.map("/dev/ram0")
    assert _names(guest, CLASS) == ["bench"]
    assert device.unmap() is None
    _wait_until_gone(guest)


def test_disconnect_leaves_other_sessions_alone(loopback: Pair) -> None:
    """Two sessions, one of which loses its path."""
    guest = loopback.target.guest
    first = _map(loopback, session="first", access_mode="ro")
    second = loopback.initiator.map("/dev/ram0", session="second", access_mode="ro")
    assert _names(guest, CLASS) == ["first", "second"]
    _keep_client_away(loopback, "first")
    assert guest.write(f"{_path(guest, 'first')}/disconnect", "1") is None
    guest.wait_until(lambda: _names(guest, CLASS) == ["second"], "the end of the session")
    guest.run(f"dd if={second.node} of=/dev/null bs=4k count=1 iflag=direct status=none")
    assert first.unmap("force") is None
    assert second.unmap() is None
    _wait_until_gone(guest)


def test_counters_agree_with_the_io_done(loopback: Pair) -> None:
    """Reads and writes, each with its number and its bytes."""
    guest = loopback.target.guest
    device = _map(loopback)
    path = _path(guest)
    read = f"dd if={device.node} of=/dev/null bs=4k count=16 iflag=direct status=none"
    write = f"dd if=/dev/zero of={device.node} bs=8k count=9 oflag=direct conv=notrunc status=none"
    assert guest.write(f"{path}/stats/reset_all", "1") is None
    assert _rdma(guest, path) == [0, 0, 0, 0]
    guest.run(read)
    reads = [16, 16 * (4096 + IO_MESSAGE)]
    assert _rdma(guest, path) == [*reads, 0, 0]
    guest.run(write)
    assert _rdma(guest, path) == [*reads, 9, 9 * (8192 + IO_MESSAGE)]
    assert guest.write(f"{path}/stats/rdma", "1") is None
    assert _rdma(guest, path) == [0, 0, 0, 0]
    guest.run(read)
    assert _rdma(guest, path) == [*reads, 0, 0]


def test_pinned_memory_is_that_of_the_chunks(loopback: Pair) -> None:
    """One path has as many chunks as requests can be in flight."""
    guest = loopback.target.guest
    _map(loopback)
    parameters = "/sys/module/rtrs/parameters"
    depth = int(guest.output(f"cat {parameters}/sess_queue_depth"))
    chunk = int(guest.output(f"cat {parameters}/max_chunk_size"))
    file = f"{CLASS}/bench/pinned_memory"
    assert guest.output(f"stat -c %a {file}") == "444"
    assert guest.output(f"cat {file}") == str(depth * chunk)


def test_everything_goes_with_the_mapping(loopback: Pair) -> None:
    """The folder of a session goes with it, and the class with the module."""
    guest = loopback.target.guest
    device = _map(loopback)
    for _ in range(3):
        assert _names(guest, CLASS) == ["bench"]
        assert device.unmap() is None
        # No wait: the name is free when the client is let in again.
        device = loopback.initiator.map("/dev/ram0")
    assert device.unmap() is None
    _wait_until_gone(guest)
    rnbd.unload(guest)
    assert guest.run(f"test -e {CLASS}", check=False).code != 0


def test_unload_with_the_files_in_use(loopback: Pair) -> None:
    """Readers of the files do not keep the modules from going, nor harm them."""
    guest = loopback.target.guest
    device = _map(loopback)
    reader = guest.begin(
        f"while :; do cd {CLASS} && cat */pinned_memory */paths/*/* */paths/*/stats/*"
        " >/dev/null 2>&1; cd /; done"
    )
    try:
        for _ in range(5):
            assert device.unmap() is None
            device = loopback.initiator.map("/dev/ram0")
        assert device.unmap() is None
        rnbd.unload(guest)
    finally:
        reader.cancel()
        reader.wait()
