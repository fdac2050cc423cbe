# SPDX-License-Identifier: GPL-2.0-only
"""A client that breaks the protocol in many ways, one after the other.

    rogue_client.py <address>,<address> <port> <seconds> <disk>,<slow disk>,<delay> <case>...

Each request of the slow disk takes at least `delay` seconds.

Says what became of each case, in a line of JSON: `refused <errno>` for a connection,
`closed` for a path, `response <errno>` for a request, or what it was if it was none of
these. A case begins with a line in the kernel's log that has its name.
"""

import dataclasses
import json
import struct
import sys
import time
from functools import partial

import auth
import eager
import kernel_log
import messages
import transport
import verbs

BURST, WINDOW = 10, 5.1
"""The most lines that a place in the server's code logs about a peer, in this many seconds."""

CASES = {}
"""The cases by name: functions of a `Target` and a session that return the outcome."""


class Target:
    """The server, at two addresses, and two of its disks: one takes `delay` for a request."""

    def __init__(self, addresses, port, seconds, disks):
        self.server, self.other_server = ((each, port) for each in addresses.split(","))
        self.seconds = float(seconds)
        disk, slow_disk, delay = disks.split(",")
        self.disk, self.slow_disk, self.delay = disk.encode(), slow_disk.encode(), float(delay)


def outcome(target, act):
    """Runs `act` with a new session; returns the outcome."""
    session = transport.Session(target.server, target.seconds)
    try:
        return act(target, session)
    except verbs.Refused as refused:
        return f"refused {-struct.unpack_from('<h', refused.private, 4)[0]}"
    except verbs.Ended:
        return "closed"
    except TimeoutError:
        return "silence"
    except transport.Odd as odd:
        return str(odd)
    finally:
        session.close()


def case(name, act):
    """Adds a case: `act` with a session that is not connected."""
    assert name not in CASES, name
    CASES[name] = act


def up_case(name, act):
    """Adds a case: `act` with a connected session."""

    def whole(target, session):
        session.bring_up(b"rogue")
        return act(target, session)

    case(name, whole)


def path_case(name, act):
    """Adds a case: `act` with a connected session; the server must end the path."""

    def whole(_, session):
        act(session)
        session.wait_for_end()

    up_case(name, whole)


def request_case(name, act):
    """Adds a case: `act` with a connected session and an open disk; it returns an error."""
    up_case(
        name,
        lambda target, session: f"response {act(session, opened(session, target.disk))}",
    )


def opened(session, disk, mode=messages.RW):
    """Opens a disk; returns its number."""
    error = session.ask(messages.open_device(disk, mode), room=messages.OPEN_RSP_SIZE)
    if error:
        raise transport.Odd(f"open failed: {error}")
    return messages.device_of(session.data(messages.OPEN_RSP_SIZE))


# Connections.


def connect(_, session, **fields):
    """Makes one connection, which the server must refuse."""
    session.connect(**fields)
    return "accepted"


def connect_twice(_, session, **fields):
    """Makes a second connection that contradicts the first."""
    session.connect()
    session.connect(**fields)
    return "accepted"


case("magic", partial(connect, magic=0x1234))
case("nothing", partial(connect, magic=0, version=0))
case("version", partial(connect, version=0x0300))
case("no-connections", partial(connect, count=0))
case("too-many-connections", partial(connect, count=4097))
case("connection-beyond", partial(connect, connection=2))
case("second-first", partial(connect, connection=1))
case("unknown-session", partial(connect, flags=0))
case("inline-immediates", partial(connect, flags=transport.FIRST | 1 << 7))
case("connection-again", partial(connect_twice, connection=0))
case("other-count", partial(connect_twice, count=3))


def crowd(target, session):
    """Begins paths until the server refuses one; then reconnects the path of its session."""
    session.bring_up(b"rogue")
    others = []
    try:
        while len(others) < 64:
            others.append(transport.Session(target.server, target.seconds))
            others[-1].connect()
        return "accepted"
    except verbs.Refused as refused:
        error = -struct.unpack_from("<h", refused.private, 4)[0]
        again = transport.Session(target.server, target.seconds)
        others.append(again)
        again.request = dataclasses.replace(session.request, reconnects=1, flags=0)
        again.connect()
        return f"refused {error} after {len(others) - 2}, its own path accepted"
    finally:
        for other in others:
            other.close()


case("crowd", crowd)


def begin_only(_, session):
    """Makes one connection of two, and waits for more than the 30 s that the next may take."""
    session.connect()
    kernel_log.tell("a path is begun")
    session.seconds = 40.0
    session.wait_for_end()


def begin_bit_by_bit(_, session):
    """Makes one connection of many after the other, each in time, but not all within 120 s."""
    session.request = transport.Request(count=16)
    session.seconds = 25.0
    start = time.monotonic()
    while time.monotonic() < start + 150:
        session.connect()
        try:
            session.wait_for_end()
        except TimeoutError:
            pass
        except verbs.Ended:
            took = time.monotonic() - start
            return "closed" if took > 115 else f"closed after {took:.0f} s"
    return f"{len(session.connections)} connections"


case("begun", begin_only)
case("begun-bit-by-bit", begin_bit_by_bit)


# Names.


def introduce(_, session, message):
    """Makes all connections, and sends a wrong first message."""
    session.connect_all()
    session.send(0, message)
    session.wait_for_end()


def introduce_early(_, session):
    """Sends INFO_REQ before the last connection is made."""
    session.connect()
    session.send(0, transport.info_req(b"rogue"))
    session.wait_for_end()


def request_early(_, session):
    """Sends a request instead of INFO_REQ."""
    session.connect_all()
    session.say(0, transport.immediate(transport.IO_REQ, 0))
    session.wait_for_end()


case("name-early", introduce_early)
case("request-for-name", request_early)
case("name-short", partial(introduce, message=transport.info_req(b"rogue")[:4]))
case("name-long", partial(introduce, message=transport.info_req(b"rogue") + bytes(64)))
case("name-of-other-type", partial(introduce, message=transport.info_req(b"rogue", kind=7)))
case("name-empty", partial(introduce, message=transport.info_req(b"")))
case("name-endless", partial(introduce, message=transport.info_req(b"x" * transport.NAME)))
case("name-with-slash", partial(introduce, message=transport.info_req(b"../rogue")))
case("name-in-use", partial(introduce, message=transport.info_req(b"bench")))


# Immediates.


def say_again(target, session):
    """Sends a slow request again before its response."""
    begin_slowly(session, opened(session, target.slow_disk))
    session.say(1, session.place(0, SLOW + messages.IO_SIZE))
    session.wait_for_end()


def say(number, kind, payload):
    """Sends an immediate."""
    return lambda session: session.say(number, transport.immediate(kind, payload))


SLOW = 240 * messages.SECTOR
"""Bytes of a READ of the slow disk."""


def begin_slowly(session, device, chunk=0):
    """Sends a READ, which the server executes for a while."""
    session.begin(messages.io(device, messages.OP_READ, size=SLOW), room=SLOW, chunk=chunk)


def write_with_old_key(_, session):
    """Writes to a chunk with the key that a request has used up."""
    old = dataclasses.replace(session.chunks[0])
    session.ask(messages.sess_info(), room=messages.SESS_INFO_SIZE)
    session.write(1, b"later", old.address, old.key)
    return f"response {session.ask(messages.sess_info(), room=messages.SESS_INFO_SIZE)}"


def write_in_service(target, session):
    """Overwrites a request that the server executes."""
    device = opened(session, target.slow_disk)
    there = dataclasses.replace(session.chunks[0])
    begin_slowly(session, device)
    session.begin(messages.sess_info(), room=messages.SESS_INFO_SIZE, chunk=1)
    # Whichever it is for: the server has begun both requests.
    first = session.response()
    session.write(1, b"\xff" * (messages.IO_SIZE + 64), there.address + SLOW, there.key)
    both = sorted([first, session.response()])
    session.ask(messages.sess_info(), room=messages.SESS_INFO_SIZE)
    return f"response {both}"


def on_two_paths(target, session, act):
    """Adds a path by the ids of a session, which are all that it takes without a key."""
    other = transport.Session(target.other_server, target.seconds)
    other.request = transport.Request(session=session.request.session, flags=0)
    try:
        other.bring_up(b"rogue")
        return act(target, session, other)
    finally:
        other.close()


def same_id_twice(target, session, other):
    """Has a request in one chunk on each of two paths: the second waits for the first."""
    device = opened(session, target.slow_disk)
    start = time.monotonic()
    begin_slowly(session, device)
    begin_slowly(other, device)
    answers = [session.answer_of(0), other.answer_of(0)]
    took = time.monotonic() - start
    if took < 2 * target.delay:
        return f"response {answers} after {took:.2f} s: they did not run one after the other"
    return f"response {answers}"


def leave_the_other(target, session, other):
    """Ends one of two paths by breaking the protocol."""
    other.say(1, transport.immediate(5, 0))
    try:
        other.wait_for_end()
    except verbs.Ended:
        return f"response {session.ask(messages.sess_info(), room=messages.SESS_INFO_SIZE)}"


path_case("immediate-of-no-type", say(1, 5, 0))
path_case("response-to-server", say(1, transport.IO_RSP, 0))
path_case("heartbeat-on-io", say(1, transport.HEARTBEAT, 0))
path_case("chunk-beyond", lambda session: session.say(1, session.place(13, 0)))
path_case("offset-beyond", lambda session: session.say(1, session.place(0, 0xFFFFFF)))
path_case(
    "offset-at-end",
    lambda session: session.say(1, session.place(0, session.chunks[0].length - 2)),
)
path_case("message-of-nothing", lambda session: session.send(1, b""))
path_case("message", lambda session: session.send(1, b"message"))
path_case("name-again", lambda session: session.send(0, transport.info_req(b"rogue")))
up_case("chunk-in-use", say_again)
up_case("key-used-up", write_with_old_key)
up_case("request-overwritten", write_in_service)
up_case("one-id-on-two-paths", partial(on_two_paths, act=same_id_twice))
up_case("one-of-two-paths-broken", partial(on_two_paths, act=leave_the_other))


# Requests.


def put(message):
    """Sends a request with room for 64 bytes and the given message."""

    def act(session):
        user = messages.sess_info()
        content = user + (message(session) if callable(message) else message)
        session.put(0, 64, content, 64 + len(user))

    return act


def read(length=64, address=None, key=None, **message):
    """Sends a READ with a wrong descriptor."""

    def encode(session):
        mine, rkey, _ = session.buffer(64)
        there = mine if address is None else address
        descriptor = (there, rkey if key is None else key, length)
        return transport.read(messages.SESS_INFO_SIZE, descriptor, **message)

    return encode


path_case("request-of-no-type", put(transport.write(messages.SESS_INFO_SIZE, kind=9)))
path_case("user-message-before-chunk", put(transport.write(1000)))
path_case("read-flags", put(read(flags=0x8000)))
path_case("two-descriptors", put(read(count=2)))
path_case("descriptor-of-nothing", put(read(length=0)))
path_case("descriptor-too-long", put(read(length=65)))
path_case("descriptor-around", put(read(address=(1 << 64) - 8)))
path_case("descriptor-of-no-key", put(read(key=0x12345678)))
path_case("key-not-to-invalidate", put(read(flags=1)))


# Messages that get a response: the path stays connected.


def ask(user, **request):
    """Sends a message that needs no disk."""

    def act(target, session):
        message = user(target) if callable(user) else user
        return f"response {session.ask(message, **request)}"

    return act


def reply(user, size, room=4096):
    """Sends a request with more room than its response takes: the rest must be zeroes.

    The chunk has other content from an earlier request, which was refused.
    """

    def act(target, session):
        session.ask(messages.sess_info(), b"\x55" * room)
        error = session.ask(user(target), room=room)
        rest = session.data(room)[size:]
        return f"response {error}" if not any(rest) else f"more than a response: {rest[:64].hex()}"

    return act


def open_of(room=messages.OPEN_RSP_SIZE, cut=None, **fields):
    """Sends an OPEN of the disk, changed by `fields`."""
    return ask(
        lambda target: messages.open_device(**{"path": target.disk, **fields})[:cut], room=room
    )


def open_twice(target, session):
    """Opens the disk by another path name."""
    opened(session, target.disk)
    alias = target.disk.replace(b"/dev/", b"/dev/./")
    again = session.ask(messages.open_device(alias), room=messages.OPEN_RSP_SIZE)
    return f"response {again}"


def read_only(operation, data=b""):
    """Sends a change of the disk, which is open read-only."""

    def act(target, session):
        device = opened(session, target.disk, messages.RO)
        return f"response {session.ask(messages.io(device, operation), data)}"

    return act


def flood(_, session):
    """Asks for what the server logs a line about, more often than it logs that."""
    for _ in range(30):
        error = session.ask(messages.open_device(b"/dev/nothing"), room=messages.OPEN_RSP_SIZE)
    return f"response {error}"


def describe(room, agreed=True, known=True):
    """Asks for the description of the disk, or of a disk that is not open."""

    def act(target, session):
        features = messages.DESCRIPTIONS if agreed else 0
        session.ask(messages.sess_info(features=features), room=messages.SESS_INFO_SIZE)
        device = opened(session, target.disk) if known else 1000
        return f"response {session.ask(messages.describe(device), room=room)}"

    return act


def close_at_once(session, device):
    """Sends two CLOSEs of one device at the same time."""
    for chunk in (1, 2):
        session.begin(messages.close_device(device), chunk=chunk)
    return sorted(error for _, error in (session.response(), session.response()))


def io(operation, data=b"", room=None, cut=None, **fields):
    """Sends an I/O message of the disk."""
    return lambda session, device: session.ask(
        messages.io(device, operation, **fields)[:cut], data, room
    )


BLOCK = bytes(messages.SECTOR)

up_case("message-of-no-type", ask(struct.pack("<HxxI", 99, 0)))
up_case("message-of-two-bytes", ask(b"\x04\x00"))
up_case("no-message", ask(b""))
up_case("handshake-of-no-version", ask(messages.sess_info(version=0), room=messages.SESS_INFO_SIZE))
up_case("handshake-without-room", ask(messages.sess_info(), room=8))
up_case("handshake-as-write", ask(messages.sess_info()))
up_case("handshake", reply(lambda _: messages.sess_info(), messages.SESS_INFO_SIZE))
up_case("open-short", open_of(cut=100))
up_case("open-endless", open_of(path=b"x" * transport.NAME))
up_case("open-parent", open_of(path=b"/dev/../dev/ram0"))
up_case("open-in-no-mode", open_of(mode=9))
up_case("open-without-room", open_of(room=8))
up_case("open-as-write", open_of(room=None))
up_case("open", reply(lambda target: messages.open_device(target.disk), messages.OPEN_RSP_SIZE))
up_case("open-no-device", open_of(path=b"/dev/null"))
up_case("open-twice", open_twice)
up_case("flood", flood)
up_case("describe", describe(messages.DESCRIBE_RSP_SIZE))
up_case("describe-for-a-newer-client", describe(4096))
up_case("describe-for-an-older-client", describe(28))
up_case("describe-without-room", describe(27))
up_case("describe-as-write", describe(None))
up_case("describe-unknown", describe(messages.DESCRIBE_RSP_SIZE, known=False))
up_case("describe-not-agreed", describe(messages.DESCRIBE_RSP_SIZE, agreed=False))
up_case("close-unknown", ask(messages.close_device(1000)))
up_case("read-unknown", ask(messages.io(1000, messages.OP_READ), room=messages.SECTOR))
up_case("write-read-only", read_only(messages.OP_WRITE, BLOCK))
up_case("discard-read-only", read_only(messages.OP_DISCARD))
up_case("zeroes-read-only", read_only(messages.OP_WRITE_ZEROES))
request_case("close-at-once", close_at_once)
request_case("io-short", io(messages.OP_READ, room=messages.SECTOR, cut=20))
request_case("no-operation", io(77))
request_case("flags-of-no-kind", io(messages.OP_READ | 1 << 20, room=messages.SECTOR))
request_case("fua-to-read", io(messages.OP_READ | 1 << 9, room=messages.SECTOR))
request_case("atomic-read", io(messages.OP_READ | 1 << 12, room=messages.SECTOR))
request_case("atomic-write", io(messages.OP_WRITE | 1 << 12, BLOCK))
request_case("read-as-write", io(messages.OP_READ))
request_case("write-as-read", io(messages.OP_WRITE, room=messages.SECTOR))
request_case("read-less-than-said", io(messages.OP_READ, room=messages.SECTOR, size=4096))
request_case("read-more-than-said", io(messages.OP_READ, room=4096))
request_case("write-less-than-said", io(messages.OP_WRITE, BLOCK, size=4096))
request_case("write-more-than-said", io(messages.OP_WRITE, 2 * BLOCK))
request_case("write-nothing", io(messages.OP_WRITE))
request_case("write-of-size-0", io(messages.OP_WRITE, size=0))
request_case("half-a-sector", io(messages.OP_WRITE, BLOCK[:256], size=256))
request_case("discard-with-data", io(messages.OP_DISCARD, BLOCK))
request_case("beyond-the-end", io(messages.OP_WRITE, BLOCK, sector=1 << 40))
request_case("around-the-end", io(messages.OP_WRITE, BLOCK, sector=(1 << 64) - 1))
request_case("priority-of-no-class", io(messages.OP_READ, room=messages.SECTOR, prio=0xFFFF))


# Proofs of keys.

ASK = transport.FIRST | auth.ASK


def prove(_, session, **fields):
    """Proves a key, or does not."""
    session.request = transport.Request(flags=ASK)
    session.connect_all()
    session.send(0, auth.info_req(transport.info_req(b"rogue"), session.hellos, **fields))
    session.wait_for_end()


def prove_what_was_changed(_, session, connection, at):
    """Proves other messages than the server has seen: someone on the way has changed a bit."""
    session.request = transport.Request(flags=ASK)
    session.connect_all()
    changed = bytearray(session.hellos[connection])
    changed[at] ^= 1
    session.hellos[connection] = bytes(changed)
    session.send(0, auth.info_req(transport.info_req(b"rogue"), session.hellos))
    session.wait_for_end()


def ask_only(_, session):
    """Asks for authentication, and sends no proof."""
    session.request = transport.Request(flags=ASK)
    introduce(None, session, transport.info_req(b"rogue"))


def ask_once(_, session):
    """Asks with the first connection only."""
    session.request = transport.Request(flags=ASK)
    session.connect()
    session.connect(flags=transport.FIRST)
    return "accepted"


def keyed(target):
    """Returns a session that has proven its key, and its INFO_REQ."""
    session = transport.Session(target.server, target.seconds)
    session.request = transport.Request(flags=ASK)
    return session, session.bring_up_with_key(b"rogue")


def with_key(target, _):
    """Proves a key as it should be, checks the server's proof, and sends a request."""
    session, _ = keyed(target)
    try:
        error = session.ask(messages.sess_info(), room=messages.SESS_INFO_SIZE)
        return f"response {error}"
    finally:
        session.close()


def replay(target, session):
    """Sends the first message of an earlier session once more."""
    earlier, message = keyed(target)
    earlier.close()
    session.request = transport.Request(flags=ASK)
    introduce(None, session, message)


def intrude(target, session, act, **fields):
    """Claims, by its ids, to be the client of another session; returns what that gets then."""
    other, _ = keyed(target)
    try:
        ids = {"session": other.request.session, "path": other.request.path}
        session.request = transport.Request(**{"flags": ASK, "reconnects": 1, **ids, **fields})
        session.connect_all()
        outcome = "not closed"
        try:
            act(session)
        except verbs.Ended:
            outcome = "closed"
        error = other.ask(messages.sess_info(), room=messages.SESS_INFO_SIZE)
        return f"{outcome}, the other {error}"
    finally:
        other.close()


def introduce_as(key=auth.KEY, name=auth.NAME):
    """Sends INFO_REQ with a proof."""

    def act(session):
        message = auth.info_req(transport.info_req(b"rogue"), session.hellos, name, key)
        session.send(0, message)
        session.wait_for_end()

    return act


def introduce_plainly(session):
    """Sends INFO_REQ without a proof."""
    session.send(0, transport.info_req(b"rogue"))
    session.wait_for_end()


case("key", with_key)
case("key-wrong", partial(prove, key=b"another key of 32 bytes, no more"))
case("key-unknown", partial(prove, name=b"nobody"))
case("key-too-short", partial(prove, name=b"short", key=b"short"))
case("key-of-no-name", partial(prove, name=b""))
case("key-of-bad-name", partial(prove, name=b"../rogue"))
case("proof-missing", ask_only)
case("proof-replayed", replay)
case("proof-reflected", partial(prove, label=auth.SERVER))
case("proof-of-other-version", partial(prove_what_was_changed, connection=0, at=4))
case("proof-of-other-flags", partial(prove_what_was_changed, connection=0, at=44))
case("proof-of-other-accept", partial(prove_what_was_changed, connection=0, at=56 + 16))
case("proof-of-other-connection", partial(prove_what_was_changed, connection=1, at=56 + 20))
case("asked-once", ask_once)
case("intruder-without-proof", partial(intrude, act=introduce_as(key=bytes(32))))
case("intruder-with-other-key", partial(intrude, act=introduce_as(b"x" * 32, b"other")))
case("intruder-without-asking", partial(intrude, act=introduce_plainly, flags=transport.FIRST))
case(
    "intruder-with-other-path",
    partial(intrude, act=introduce_plainly, flags=transport.FIRST, path=bytes(16)),
)


for name_, act_ in eager.CASES.items():
    case(name_, act_)


def main():
    """Runs the cases."""
    target = Target(*sys.argv[1:5])
    ended = []
    for name in sys.argv[5:]:
        # The server logs a case at some time before its end, so the time counts from there.
        if len(ended) >= BURST:
            time.sleep(max(0.0, ended[-BURST] + WINDOW - time.monotonic()))
        kernel_log.tell(f"case {name}")
        print(json.dumps({"case": name, "outcome": outcome(target, CASES[name])}), flush=True)
        ended.append(time.monotonic())


if __name__ == "__main__":
    main()
