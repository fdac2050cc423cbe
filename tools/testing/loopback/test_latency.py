# SPDX-License-Identifier: GPL-2.0-only
"""Latency histograms in debugfs: they count every request, and only while they are on."""

from rnbdbench import disks
from rnbdbench import drivers
from rnbdbench import fio
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device

CLIENT = "/sys/kernel/debug/rnbd_client/{}"
SERVER = "/sys/kernel/debug/rnbd_server/{}@bench"
RAM = SERVER.format("ram0")

COLUMNS = ["{}_read", "{}_write", "{}_other"]
ROWS = 24

DELAY_MS = 3000
"""The time that a slow disk takes for a write."""


def _table(guest: Guest, file: str, stages: list[str]) -> dict[str, list[int]]:
    """The columns of a histogram by their names."""
    switch, head, *rows = guest.read(file).splitlines()
    assert switch in ("counting on", "counting off")
    names = [column.format(stage) for stage in stages for column in COLUMNS]
    assert head.split() == ["ns_below", *names]
    assert len(rows) == ROWS
    cells = [row.split() for row in rows]
    assert [row[0] for row in cells] == [str(1024 << n) for n in range(ROWS - 1)] + ["inf"]
    return {name: [int(row[place]) for row in cells] for place, name in enumerate(names, 1)}


def _sums(guest: Guest, file: str, stages: list[str]) -> dict[str, int]:
    return {name: sum(column) for name, column in _table(guest, file, stages).items()}


def test_histograms_count_every_request_of_their_time(loopback: Pair, device: Device) -> None:
    """On both sides, by stage and kind; not before they are on, nor after."""
    guest = loopback.initiator.guest
    client = CLIENT.format(device.name)
    files = {client: ["wait", "remote"], RAM: ["wait", "disk"]}

    fio.read_blocks(guest, device.node, 16)
    for file in files:
        assert guest.read(file) == "counting off"
        assert guest.write(file, "perhaps") == "EINVAL"
        assert guest.write(file, "on") is None
    fio.read_blocks(guest, device.node, 100)
    guest.run(f"dd if=/dev/zero of={device.node} bs=4k count=20 oflag=direct status=none")
    for file, stages in files.items():
        assert guest.write(file, "off") is None
        sums = _sums(guest, file, stages)
        for stage in stages:
            # The block layer looks for partitions after a write.
            assert sums[f"{stage}_read"] >= 100, f"{file}: {sums}"
            assert sums[f"{stage}_write"] == 20, f"{file}: {sums}"
        first, second = stages
        assert sums[f"{first}_read"] == sums[f"{second}_read"], f"{file}: {sums}"
        assert sum(_table(guest, file, stages)[f"{second}_write"][:1]) == 0, "in no time at all"

    before = {file: guest.read(file) for file in files}
    fio.read_blocks(guest, device.node, 16)
    assert before == {file: guest.read(file) for file in files}, "counted while off"
    for file, stages in files.items():
        assert guest.write(file, "1") is None
        assert sum(_sums(guest, file, stages).values()) == 0, "left over from before"

    assert device.unmap() is None
    for file in files:
        assert not guest.exists(file), f"{file} is still there"


def test_a_slow_disk_shows(loopback: Pair) -> None:
    """Writes that take three seconds each: no error, right data, and counted as what they took."""
    guest = loopback.initiator.guest
    below = loopback.target.null_disk(size=16)
    slow = disks.slow_to_write(guest, "rnbdtest", below, DELAY_MS)
    device = loopback.map(slow)
    (export,) = loopback.target.exports()
    client = CLIENT.format(device.name)
    files = {client: ["wait", "remote"], SERVER.format(export): ["wait", "disk"]}
    for file in files:
        assert guest.write(file, "on") is None

    # One after the other.
    guest.run(
        f"dd if=<(yes slow) of={device.node} bs=16k count=2 iflag=fullblock oflag=direct"
        " status=none"
    )
    copies = [
        guest.output(f"dd if={node} bs=16k count=2 iflag=direct status=none | sha256sum")
        for node in (device.node, below)
    ]
    assert set(copies) == {guest.output("yes slow | head -c 32k | sha256sum")}

    # The largest bucket that ends before the delay.
    short = next(row for row in range(ROWS) if 1024 << row + 1 > DELAY_MS * 10**6)
    for file, (wait, work) in files.items():
        assert guest.write(file, "off") is None
        table = _table(guest, file, [wait, work])
        shown = f"{file}: {table}"
        assert sum(table[f"{work}_write"][: short + 1]) == 0, shown
        assert sum(table[f"{work}_write"][short + 1 :]) == 2, shown
        # The other stages are not slow.
        assert sum(table[f"{wait}_write"][: short + 1]) == 2, shown
        assert sum(table[f"{work}_read"][: short + 1]) >= 2, shown
    assert device.read("rnbd/state") == "open"
    assert device.unmap() is None


def test_an_open_file_keeps_only_the_module(loopback: Pair, device: Device) -> None:
    """Its device can be unmapped; it is empty then, and the module stays until it is closed."""
    guest = loopback.initiator.guest
    client = CLIENT.format(device.name)
    holder = guest.begin(
        f"exec 3<{client} 4<'{RAM}'; touch /run/open;"
        " until [ -e /run/go ]; do sleep 0.1; done; cat <&3; cat <&4; rm /run/open /run/go"
    )
    guest.wait_until(lambda: guest.exists("/run/open"), "the files")
    assert device.unmap() is None
    guest.run("rmmod rnbd_client rnbd_server", timeout=60)
    assert guest.run("rmmod rtrs", check=False).code != 0
    guest.run("touch /run/go")
    said = holder.wait()
    assert (said.stdout, said.stderr.count("error")) == ("", 2), said
    assert guest.output("lsmod | grep -c ^rnbd || true") == "0"
    drivers.unload(guest)
