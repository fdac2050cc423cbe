# SPDX-License-Identifier: GPL-2.0-only
"""Every file of sysfs, against a table: there, with this mode, saying this, refusing that.

The C drivers must fit the same table, so that it says what tools may rely on; where ours
differ on purpose, the entry says so (`beyond`, or a comment).
"""

import re
from collections import Counter

import pytest

from rnbdbench import abi
from rnbdbench import network
from rnbdbench import rnbd
from rnbdbench import rtrs
from rnbdbench import sysfs
from rnbdbench.lab import Pair
from rnbdbench.sysfs import File
from rnbdbench.sysfs import Folder

SESSION = "blya"
PATH = f"{network.INITIATOR.path()}@{network.TARGET.path()}"
CLIENT = network.INITIATOR.path().replace(".", r"\.")
SERVER = network.TARGET.path().replace(".", r"\.")
DEVICE = rf"{network.rdma_name(0)}\n"

NOT_1 = {"0": "EINVAL", "2": "EINVAL", "11": "EINVAL", "1 ": "EINVAL", "yes": "EINVAL"}
NEW = f"sessname=other path={network.TARGET.path()} device_path=/dev/ram0"


def _order(name: str) -> File:
    """One that takes a 1, and says so."""
    return File(rf"Usage: echo 1 > {name}\n", "644", NOT_1)


def _counters(count: int, beyond: bool = False) -> File:
    """One with numbers that a 1 resets."""
    return File(rf"\d+( \d+){{{count - 1}}}\n", "644", NOT_1, beyond)


CONTROL: Folder = {
    # All options in one line, those that may be left out in brackets. The C driver begins
    # with dest_port, as it counts there for the paths behind it only, and has no interface and
    # fewer options.
    "map_device": File(
        r'Usage: echo "(\[dest_port=[^]]+\] )?sessname=<[^>]+> path=<\[[^@]+@\][^>]+>'
        r" \[path=<\[[^@]+@\][^>]+>( \.\.\.)?\] device_path=<[^>]+>( \[dest_port=<[^>]+>\])?"
        r" \[access_mode=<ro\|rw\|migration>\] \[nr_poll_queues=<[^>]+>\]"
        r'( \[\w+=<[^>]+>\])*" > map_device\n\n'
        r"addr ::= \[ ip:<ipv4> \| ip:<ipv6>(\[%<interface>\])? \| gid:<gid> \]\n",
        "644",
        {
            "nonsense": "EINVAL",
            f"sessname=other path={network.TARGET.path()}": "EINVAL",
            f"path={network.TARGET.path()} device_path=/dev/ram0": "EINVAL",
            f"{NEW} access_mode=w": "EINVAL",
            f"{NEW} dest_port=65536": "EINVAL",
            f"{NEW} nr_poll_queues=-2": "EINVAL",
            "sessname=other path=ip:nowhere device_path=/dev/ram0": "EINVAL",
            "sessname=other device_path=/dev/ram0": "ENXIO",
            f"sessname={SESSION} device_path=/dev/ram0": "EEXIST",
            f"sessname={SESSION} device_path=/dev/none": "ENOENT",
        },
    ),
}

DISK: Folder = {
    "unmap_device": File(
        r"Usage: echo <normal\|force> > unmap_device\n",
        "644",
        {"yes": "EINVAL", "Normal": "EINVAL", "normal force": "EINVAL", "1": "EINVAL"},
    ),
    "resize": File(
        r"Usage: echo <new size in sectors> > resize\n",
        "644",
        {"all": "EINVAL", "-1": "EINVAL", "1 2": "EINVAL", "18446744073709551616": "ERANGE"},
    ),
    "remap_device": File(
        r"Usage: echo <1> > remap_device\n",
        "644",
        {"0": "EINVAL", "yes": "EINVAL", "1": "EALREADY"},
    ),
    "mapping_path": File(r"/dev/ram0\n"),
    "state": File(r"open\n"),
    "session": File(rf"{SESSION}\n"),
    "access_mode": File(r"rw\n"),
    "nr_poll_queues": File(r"0\n"),
    "wwid": File(r"\n", beyond=True),
}

CLIENT_SESSION: Folder = {
    "max_reconnect_attempts": File(
        r"-1\n",
        "644",
        {"-2": "EINVAL", "10000": "EINVAL", "many": "EINVAL", "99999999999": "ERANGE"},
    ),
    # With the C drivers the bench sets another one than they begin with.
    "mpath_policy": File(
        r"(round-robin \(RR: 0\)|min-inflight \(MI: 1\))\n",
        "644",
        {"3": "EINVAL", "-1": "EINVAL", "fastest": "EINVAL", "99999999999": "EINVAL"},
    ),
    "add_path": File(
        r"Usage: echo \[<source addr>@\]<destination addr> > add_path\n\n"
        r"\*addr ::= \[ ip:<ipv4\|ipv6> \| gid:<gid> \]\n",
        "644",
        {"nowhere": "EINVAL", "ip:10.50.100": "EINVAL", "gid:": "EINVAL"},
    ),
    "key": File(r"\(none\)\n", beyond=True),
    "fast_io_fail_tmo": File(
        r"120\n",
        "644",
        {"-1": "EINVAL", "soon": "EINVAL", "99999999999": "ERANGE"},
        beyond=True,
    ),
}

CLIENT_PATH: Folder = {
    "hca_name": File(DEVICE),
    "hca_port": File(r"1\n"),
    "src_addr": File(rf"{CLIENT}\n"),
    "dst_addr": File(rf"{SERVER}\n"),
    "state": File(r"connected\n"),
    "reconnect": _order("reconnect"),
    "disconnect": _order("disconnect"),
    "remove_path": _order("remove_path"),
    "cur_latency": File(r"\d+ ns\n"),
}

# Guests have two processors.
MIGRATION = File(r"(\d+ ){2}\n", "644", NOT_1)
RESET = r"echo 1 to reset all statistics\n"

CLIENT_STATS: Folder = {
    "cpu_migration_from": MIGRATION,
    "cpu_migration_to": MIGRATION,
    "reconnects": File(r"0 0\n", "644", NOT_1),
    "rdma": _counters(6),
    "polled": _counters(1, beyond=True),
    "reset_all": File(RESET, "644", NOT_1),
}

SERVER_CONTROL: Folder = {
    "export_rules": File(
        r"(# .*\n)+default\n",
        "644",
        {"perhaps": "EINVAL", "allow ram0": "EINVAL", "deny from=here": "EINVAL"},
        beyond=True,
    ),
}

EXPORT: Folder = {
    "read_only": File(r"0\n"),
    "access_mode": File(r"rw\n"),
    "mapping_path": File(r"/dev/ram0\n"),
    "force_close": _order("force_close"),
}

SERVER_SESSION: Folder = {
    "key": File(r"\(none\)\n", beyond=True),
    "pinned_memory": File(r"\d+\n", beyond=True),
}

SERVER_PATH: Folder = {
    "hca_name": File(DEVICE),
    "hca_port": File(r"1\n"),
    "src_addr": File(rf"{CLIENT}\n"),
    "dst_addr": File(rf"{SERVER}\n"),
    "disconnect": _order("disconnect"),
}

SERVER_STATS: Folder = {
    "rdma": _counters(4),
    # In the documents of the C driver only.
    "reset_all": File(RESET, "644", NOT_1, beyond=True),
}

FOLDERS: dict[str, Folder] = {
    rnbd.CONTROL: CONTROL,
    "/sys/block/rnbd0/rnbd": DISK,
    f"{rtrs.CLIENT_SESSIONS}/{SESSION}": CLIENT_SESSION,
    f"{rtrs.CLIENT_SESSIONS}/{SESSION}/paths/{PATH}": CLIENT_PATH,
    f"{rtrs.CLIENT_SESSIONS}/{SESSION}/paths/{PATH}/stats": CLIENT_STATS,
    rnbd.SERVER_CONTROL: SERVER_CONTROL,
    f"{rnbd.SERVER_DEVICES}/ram0/sessions/{SESSION}": EXPORT,
    f"{rtrs.SERVER_SESSIONS}/{SESSION}": SERVER_SESSION,
    f"{rtrs.SERVER_SESSIONS}/{SESSION}/paths/{PATH}": SERVER_PATH,
    f"{rtrs.SERVER_SESSIONS}/{SESSION}/paths/{PATH}/stats": SERVER_STATS,
}

NAMES = {
    "<N>": "0",
    "<device>@<session>": f"!dev!ram0@{SESSION}",
    "<session>": SESSION,
    "<path>": PATH,
    "<device>": "ram0",
}
"""What stands in a path for the words of the documents."""


@pytest.fixture
def mapped(loopback: Pair) -> Pair:
    """A device is mapped, as all of the table expects it."""
    disk = loopback.target.ram_disk(16)
    loopback.load()
    assert loopback.initiator.map(disk, session=SESSION, path=PATH).name == "rnbd0"
    return loopback


def _wanted(bench: Pair) -> dict[str, Folder]:
    """The table, without what is not in the drivers that are under test."""
    ours = bench.target.guest.specification.drivers == "rust"
    return {
        folder: {name: file for name, file in files.items() if ours or not file.beyond}
        for folder, files in FOLDERS.items()
    }


@pytest.mark.drivers("rust-rust", "c-c")
def test_every_file_is_there_and_says_what_it_must(mapped: Pair) -> None:
    """Names, modes and contents; and there is no other file."""
    wanted = _wanted(mapped)
    found = sysfs.look(mapped.target.guest, list(wanted))
    assert sysfs.differences(wanted, found) == []


@pytest.mark.drivers("rust-rust", "c-c")
def test_bad_writes_are_refused(mapped: Pair) -> None:
    """With the right error, a line in the log that names the file, and no effect."""
    guest = mapped.target.guest
    wanted = _wanted(mapped)
    start = guest.console.mark()
    expected: Counter[str] = Counter()
    wrong = []
    for folder, files in wanted.items():
        for name, file in files.items():
            for text, error in file.refused.items():
                got = guest.write(f"{folder}/{name}", text)
                expected[name] += 1
                if got != error:
                    wrong.append(f"{folder}/{name}: {text!r} gives {got}, not {error}")
    assert wrong == []
    assert sysfs.differences(wanted, sysfs.look(guest, list(wanted))) == []
    # What is wrong is not always said by the C drivers.
    if guest.specification.drivers == "rust":
        said = guest.printed_since(start)
        lines = {name: len(re.findall(rf"\b{name}: ", said)) for name in expected}
        assert lines == dict(expected), said


def test_documents_and_sysfs_show_the_same(mapped: Pair) -> None:
    """Each file is documented, and each that is documented is there."""
    documented = set()
    for entry in abi.entries():
        path = entry.what
        for word, name in NAMES.items():
            path = path.replace(word, name)
        documented.add(path)
    found = sysfs.look(mapped.target.guest, list(FOLDERS))
    files = {f"{folder}/{name}" for folder in found for name in found[folder]}
    assert files - documented == set()
    links = documented - files
    assert links == {
        f"{rnbd.DEVICES}/!dev!ram0@{SESSION}",
        f"{rnbd.SERVER_DEVICES}/ram0/block_dev",
    }
    for link in links:
        mapped.target.guest.run(f"test -L '{link}'")
