# SPDX-License-Identifier: GPL-2.0-only
"""Keys: both sides prove them, on each path; who has none gets nothing that needs one."""

import pytest

from rnbdbench import fio
from rnbdbench import keys
from rnbdbench import network
from rnbdbench import peer
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device

ROGUE = b"the key of the rogues, 32 bytes.".hex()
"""The key of tools/testing/peer/auth.py."""

PATH = network.TARGET.path()
PATH_6 = f"{network.INITIATOR.path(6)}@{network.TARGET.path(6)}"

FEW_BUFFERS = {"sess_queue_depth": 16}

DEPTH = 12


def _read(device: Device) -> int:
    return device.guest.run(
        f"dd if={device.node} of=/dev/null bs=4k count=1 iflag=direct status=none", check=False
    ).code


@pytest.fixture(name="bench")
def _bench(loopback: Pair) -> Pair:
    """One guest with both sides, RAM disks and the key `web`."""
    loopback.target.ram_disk(16, count=2)
    loopback.load(transport=FEW_BUFFERS)
    keys.add(loopback.target.guest, web=keys.WEB)
    return loopback


def test_a_disk_is_mapped_with_a_key(bench: Pair) -> None:
    """Both sides show the key's name, data arrives, and the log has neither key nor warning."""
    guest = bench.target.guest
    mark = guest.console.mark()
    device = bench.initiator.map("/dev/ram0", key="web")
    assert bench.initiator.transport().read("key") == "web"
    assert bench.target.transport().read("key") == "web"
    fio.verify(guest, device.node)
    assert keys.WEB not in guest.printed_since(mark)
    # Without the option the session is used as it is.
    second = bench.initiator.map("/dev/ram1", path="")
    assert bench.initiator.request(
        f"sessname=bench path={PATH} device_path=/dev/ram9 key=other"
    ) == "ENOTUNIQ"
    assert second.unmap() is None
    assert device.unmap() is None


def test_a_session_without_a_key_stays_as_it_was(bench: Pair) -> None:
    device = bench.initiator.map("/dev/ram0")
    assert bench.initiator.transport().read("key") == "(none)"
    assert bench.target.transport().read("key") == "(none)"
    assert bench.initiator.request(
        f"sessname=bench path={PATH} device_path=/dev/ram1 key=web"
    ) == "ENOTUNIQ"
    assert device.unmap() is None


def test_a_key_that_the_machine_does_not_have(bench: Pair) -> None:
    """The log tells which one is missing; nothing is left. Once it is there it is used."""
    guest = bench.target.guest
    line = f"sessname=bench path={PATH} device_path=/dev/ram0 key=late"
    mark = guest.console.mark()
    assert bench.initiator.request(line) == "ENOKEY"
    assert "no valid key rnbd:late in the keyring .rnbd" in guest.printed_since(mark)
    assert bench.initiator.transports() == []
    keys.add(guest, late="00" * 15)
    mark = guest.console.mark()
    assert bench.initiator.request(line) == "EKEYREJECTED"
    assert "key rnbd:late has 15 bytes, not 16 to 64" in guest.printed_since(mark)
    keys.add(guest, late=keys.OTHER)
    assert bench.initiator.request(line) is None
    assert bench.initiator.find("/dev/ram0").unmap() is None
    assert bench.initiator.request(f"{line} key=web") == "EINVAL"
    assert bench.initiator.request(line.replace("late", "../late")) == "EINVAL"


def test_each_path_and_each_reconnect_proves_the_key(bench: Pair) -> None:
    """Two paths with the key; a new value is used from the next connect on."""
    guest = bench.target.guest
    device = bench.initiator.map("/dev/ram0", key="web")
    session = bench.initiator.transport()
    assert session.add_path(PATH_6) is None
    assert len(bench.target.transport().path_names()) == 2
    keys.add(guest, web=keys.OTHER)
    for path in session.paths():
        assert path.reconnect() is None
    assert _read(device) == 0
    # Without the key no path comes back, until the key does.
    keys.add(guest, web="")
    mark = guest.console.mark()
    first = session.paths()[0]
    assert first.reconnect() == "ENOKEY"
    assert "no valid key rnbd:web" in guest.printed_since(mark)
    assert _read(device) == 0, "the other path stays"
    keys.add(guest, web=keys.WEB)
    first.wait_for("connected", 60)
    assert bench.target.transport().read("key") == "web"
    assert device.unmap() is None


def test_rules_with_a_key_admit_its_holders_only(bench: Pair) -> None:
    """A device, and the name of a session, are refused to a client without the key."""
    guest = bench.target.guest
    keys.add(guest, other=keys.OTHER)
    assert bench.target.write_rules("clear", "allow key=a,b") == "EINVAL"
    rules = ("clear", "allow session=web key=web", "allow key=other device=/dev/ram1 ro")
    assert bench.target.write_rules(*rules) is None
    assert bench.target.read_rules().splitlines() == list(rules)

    def request(session: str, disk: str, words: str = "") -> tuple[str | None, str]:
        mark = guest.console.mark()
        line = f"sessname={session} path={PATH} device_path=/dev/{disk} {words}"
        error = bench.initiator.request(line)
        if error is None:
            assert bench.initiator.find(f"/dev/{disk}", session).unmap() is None
        return error, guest.printed_since(mark)

    assert request("web", "ram0", "key=web")[0] is None
    assert request("mine", "ram1", "key=other access_mode=ro")[0] is None
    assert request("mine", "ram1", "key=other")[0] == "EACCES"
    assert request("mine", "ram0", "key=other")[0] == "ENOENT"
    error, log = request("mine", "ram0")
    assert error == "ENOENT"
    assert "denied" in log
    for key in ("", "key=other"):
        error, log = request("web", "ram0", key)
        assert error in ("ECONNRESET", "EKEYREJECTED")
        assert "the name of this session is refused" in log
    # Another rule may still admit a client, and the log tells what a client lacks.
    rules = ("clear", "allow key=web device=/dev/ram0", "allow device=/dev/ram1")
    assert bench.target.write_rules(*rules) is None
    assert request("mine", "ram1")[0] is None
    error, log = request("mine", "ram0")
    assert error == "ENOENT"
    assert "without a key, as rule 1 'allow key=web device=/dev/ram0' asks for" in log


CLIENT = {
    "key": ("response 0", ""),
    "key-wrong": ("closed", "the client has not proven key rnbd:rogue"),
    "key-unknown": ("closed", "no valid key rnbd:nobody in the keyring .rnbd of this machine"),
    "key-too-short": ("closed", "key rnbd:short has 5 bytes"),
    "key-of-no-name": ("closed", "name of the key: malformed name"),
    "key-of-bad-name": ("closed", "name of the key: malformed name"),
    "proof-missing": ("closed", "INFO_REQ without a proof"),
    "proof-replayed": ("closed", "the client has not proven key rnbd:rogue"),
    "proof-reflected": ("closed", "the client has not proven key rnbd:rogue"),
    "proof-of-other-version": ("closed", "the client has not proven key rnbd:rogue"),
    "proof-of-other-flags": ("closed", "the client has not proven key rnbd:rogue"),
    "proof-of-other-accept": ("closed", "the client has not proven key rnbd:rogue"),
    "proof-of-other-connection": ("closed", "the client has not proven key rnbd:rogue"),
    "asked-once": ("refused 104", "connection 1 refused: ECONNRESET"),
    "intruder-without-proof": ("closed, the other 0", "has not proven key rnbd:rogue"),
    "intruder-with-other-key": ("closed, the other 0", "is not the one of the other paths"),
    "intruder-without-asking": ("closed, the other 0", "session name 'rogue' is in use"),
    "intruder-with-other-path": ("closed, the other 0", "session name 'rogue' is in use"),
}
"""What becomes of a client, and words of the server's log, by case."""


def test_a_rogue_client_proves_nothing(loopback: Pair) -> None:
    """Nor does it get in the way of the session whose ids it has seen."""
    guest = loopback.target.guest
    disk = loopback.target.ram_disk(16)
    loopback.load(transport={"sess_queue_depth": DEPTH})
    keys.add(guest, rogue=ROGUE, short=b"short".hex(), other=b"x".hex() * 32)
    found = peer.misbehave(guest, disk, CLIENT)
    wrong = peer.differences(CLIENT, found)
    assert not wrong, wrong
    guest.wait_until(lambda: loopback.target.transports() == [], "the sessions to be closed")


KEY = "key=rogue"
NOT_PROVEN = "the server has not proven the key"

SERVER = {
    "key": (None, "", KEY),
    "key-unasked": ("EPROTO", "authentication that was not asked for", ""),
    "key-not-agreed": ("ENOTSUP", "the server does not know authentication", KEY),
    "key-not-agreed-later": ("ENOTSUP", "the server does not know authentication", KEY),
    "key-refused": ("EKEYREJECTED", "its log has the reason", KEY),
    "key-wrong": ("EKEYREJECTED", NOT_PROVEN, KEY),
    "proof-missing": ("EKEYREJECTED", NOT_PROVEN, KEY),
    "proof-reflected": ("EKEYREJECTED", NOT_PROVEN, KEY),
    "proof-of-client": ("EKEYREJECTED", NOT_PROVEN, KEY),
    "proof-replayed": ("EKEYREJECTED", NOT_PROVEN, KEY),
    "proof-of-other-chunks": ("EKEYREJECTED", NOT_PROVEN, KEY),
}
"""What map_device gives, words of the client's log, and an option of map_device, by case."""


def test_a_rogue_server_proves_nothing(loopback: Pair) -> None:
    """The client uses none of its memory, and leaves nothing behind."""
    guest = loopback.initiator.guest
    loopback.load(transport=FEW_BUFFERS)
    keys.add(guest, rogue=ROGUE)
    expected = {name: (error, words) for name, (error, words, _) in SERVER.items()}
    found: dict[str, tuple[str | None, str]] = {}
    with peer.rogue_server(guest, SERVER):
        for name, (_, _, option) in SERVER.items():
            mark = guest.console.mark()
            came = loopback.initiator.request(
                f"sessname={name} path={PATH} device_path={name}"
                f" dest_port={peer.ROGUE_PORT} {option}"
            )
            if came is None:
                assert loopback.initiator.find(name, name).unmap("force") is None
            found[name] = came, guest.printed_since(mark)
    wrong = peer.differences(expected, found)
    assert not wrong, wrong
    assert loopback.initiator.transports() == []
