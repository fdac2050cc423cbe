# SPDX-License-Identifier: GPL-2.0-only
"""A server that breaks the protocol, with each session in another way.

    rogue_server.py <address> <port> <seconds> <case>...

Clients that map a disk get one case each, in the order in which they come.  What becomes
of them they know themselves. A line in the kernel's log says when they can come.
"""

import errno
import itertools
import os
import struct
import sys

import auth
import kernel_log
import messages
import server
import transport
import verbs

SECTOR = 800
"""Where a disk is read that is there, and where it is written after that."""

CASES = {}
"""The cases by name: changes that a `Server` makes to its messages."""


def case(name, **changes):
    """Adds a case."""
    assert name not in CASES, name
    CASES[name] = changes


def put(offset, form, *values):
    """Returns a change of numbers at an offset of a message."""

    def change(said):
        changed = bytearray(said)
        struct.pack_into(form, changed, offset, *values)
        return bytes(changed)

    return change


def instead(said):
    """Returns a change that replaces a message."""
    return lambda _: said


def say(number, kind, payload):
    """Returns a change that sends an immediate instead of a response."""
    return lambda peer, request: peer.say(number, transport.immediate(kind, payload))


# Connections.

case("magic", first=put(0, "<H", 0x1234))
case("version", first=put(2, "<H", 0x0300))
case("depth-of-0", first=put(6, "<H", 0))
case("depth-beyond", first=put(6, "<H", 0xFFFF))
case("no-room-for-header", first=put(12, "<I", 100))
case("no-room-for-data", first=put(8, "<I", 100))
case("too-much-room", first=put(8, "<I", 0xFFFFFFFF))
case("inline-immediates", first=put(16, "<I", 1 << 31))
case("refused", first=put(4, "<h", -13))
case("refused-without-reason", first=instead(b""))
case("refused-with-no-error", first=put(4, "<h", -0x8000))
case("refused-by-a-number-of-the-kernel", first=put(4, "<h", -512))
case("second-refused", second=put(4, "<h", -12))
case("second-magic", second=put(0, "<H", 0x1234))

# Chunks.

case("info-of-other-type", info=put(0, "<H", 9))
case("info-short", info=lambda said: said[:4])
case("info-long", info=lambda said: said + bytes(200))
case("info-of-nothing", info=put(2, "<H", 0))
case("info-of-too-many", info=put(2, "<H", server.DEPTH + 1))
case("info-of-too-few", info=put(2, "<H", server.DEPTH - 1))
case("chunk-of-nothing", info=put(20, "<I", 0))
case("half-a-chunk", info=put(20, "<I", server.CHUNK // 2))
case("chunks-too-long", info=put(20, "<I", 2 * server.CHUNK))
case("chunk-around", info=put(8, "<Q", (1 << 64) - 8))



def be_silent(peer):
    """Says nothing, as long as the client waits for INFO_RSP."""
    kernel_log.tell("the rogue server is silent")
    peer.wait_for(lambda: None)


case("silent", instead_of_info=be_silent)

# Invalid responses to the handshake.

case("response-of-no-chunk", respond=lambda peer, request: peer.respond(request, chunk=77))
case(
    "response-of-other-chunk",
    respond=lambda peer, request: peer.respond(request, chunk=(request.chunk + 1) % server.DEPTH),
)
case("immediate-of-no-type", respond=say(1, 5, 0))
case("request-to-client", respond=say(1, transport.IO_REQ, 0))
case("heartbeat-on-io", respond=say(1, transport.HEARTBEAT, 0))
case("message", respond=lambda peer, request: peer.send(1, b"message"))
case("message-too-long", respond=lambda peer, request: peer.send(1, bytes(100)))
case(
    "key-without-need",
    respond=lambda peer, request: peer.send(
        request.connection,
        struct.pack("<HHI", transport.RKEY_RSP, 77, 0),
        transport.immediate(transport.IO_RSP, request.chunk),
    ),
)
case(
    "response-elsewhere",
    respond=lambda peer, request: peer.respond(request, number=2 if request.connection == 1 else 1),
)
case("response-of-any-error", respond=lambda peer, request: peer.respond(request, error=511))

# Responses with the wrong content.

case("handshake-of-nothing", handshake=instead(b""))
case("handshake-of-other-type", handshake=put(0, "<H", 77))
case("handshake-of-no-version", handshake=put(4, "<B", 0))
case("open-of-other-type", open=put(0, "<H", 77))
case("no-block-size", open=instead(messages.open_rsp(logical=0)))
case("odd-block-size", open=instead(messages.open_rsp(logical=513)))
case("huge-block-size", open=instead(messages.open_rsp(logical=0x8000, physical=0x8000)))
case("too-many-sectors", open=instead(messages.open_rsp(sectors=1 << 60)))
case("no-sectors", open=instead(messages.open_rsp(sectors=0)))
case("all-ones", open=instead(struct.pack("<HH", messages.OPEN_RSP, 0) + b"\xff" * 52))

# I/O.

case("io-fails", io=lambda peer, request: peer.respond(request, error=5))
case("io-fails-by-any-number", io=lambda peer, request: peer.respond(request, error=511))


def respond_twice(peer, request):
    """Responds twice, except to reads of the partition table."""
    peer.respond(request)
    if messages.sector_of(request.user) == SECTOR:
        peer.respond(request)


case("io-response-twice", io=respond_twice)
case("well-behaved")

# Events of devices.

IDS = itertools.count()


def tell_of_event(peer, request):
    """Responds to an OPEN, and after the second one says that a device has changed."""
    peer.respond(request)
    peer.held.append(request)
    if len(peer.held) == 2:
        peer.say(0, transport.immediate(transport.HEARTBEAT, 1))


def fail_queries(peer, request):
    """The first device is gone, and the query of the other one fails."""
    (device,) = struct.unpack_from("<I", request.user, 4)
    peer.respond(request, error=errno.ENOMEM if device else errno.ENXIO)


case(
    "one-gone-one-fails",
    handshake=instead(
        messages.sess_info(kind=messages.SESS_INFO_RSP, features=messages.ASYNC_EVENTS)
    ),
    open=lambda said: put(4, "<I", next(IDS))(said),
    respond_to_open=tell_of_event,
    dev_info=fail_queries,
)

# Claims that a key is invalid.


def claim(peer, request):
    """Says that the key of a READ was invalidated, and writes by it when a WRITE comes."""
    if messages.sector_of(request.user) < SECTOR:
        peer.respond(request)
    elif request.length:
        peer.held = [request]
        peer.respond(request, kind=transport.IO_RSP_INVALIDATED)
    else:
        there = peer.held.pop()
        peer.write(request.connection, b"late", there.address, there.key)
        peer.respond(request)


def claim_after_another(peer, request):
    """Does the same with the second of two READs, when it has invalidated the key of the first."""
    if request.length and messages.sector_of(request.user) >= SECTOR:
        if not peer.held:
            peer.held = [request]
            return
        first = peer.held.pop()
        peer.invalidate_key(request.connection, first.key)
        claim(peer, request)
        peer.respond(first)
    else:
        claim(peer, request)


case("claim-then-write", io=claim)
case("invalidation-of-another", io=claim_after_another)

# Responses to eager requests.

EAGER = put(16, "<I", transport.SHORT_AGREED | transport.EAGER_AGREED)
AGREED = {"first": EAGER, "second": EAGER, "other": EAGER}

case("eager", **AGREED)
case("eager-without-short-responses", first=put(16, "<I", transport.EAGER_AGREED))
case("eager-response-short", **AGREED, message=lambda data: data[1:])
case("eager-response-long", **AGREED, message=lambda data: data + b"\0")
case("eager-response-too-long", **AGREED, message=lambda _: bytes(transport.EAGER_DATA + 1))
case("eager-response-of-nothing", **AGREED, message=lambda _: b"")
case("eager-data-with-error", **AGREED, error=lambda _: 5)


# Proofs of keys.


def agree(response):
    """Changes an accept: the server agrees to authentication."""
    changed = bytearray(response)
    flags = struct.unpack_from("<I", changed, 16)[0]
    struct.pack_into("<I32s", changed, 16, flags | auth.AGREE, os.urandom(auth.SIZE))
    return bytes(changed)


EVERY = {"first": agree, "second": agree, "other": agree}
"""Agrees with each connection."""

EARLIER = []
"""Proofs of earlier cases."""


def prove(key=auth.KEY, label=auth.SERVER, change=None):
    """Returns a change that adds a proof to INFO_RSP."""

    def add(hellos, info_req, info):
        proof = auth.proof(label, hellos, info_req, info, key=key)
        EARLIER.append(proof)
        return (change or bytes)(info) + proof

    return add


def reflect(_, info_req, info):
    """Sends the client's proof back."""
    return info + info_req[-auth.SIZE :]


def replay(_hellos, _info_req, info):
    """Sends a proof of an earlier session."""
    return info + EARLIER[0]


def end_instead(*_):
    """Ends the connection instead of a response."""
    raise verbs.Ended


case("key", **EVERY, prove=prove())
case("key-unasked", first=agree)
case("key-not-agreed")
case("key-not-agreed-later", first=agree)
case("key-refused", **EVERY, prove=end_instead)
case("key-wrong", **EVERY, prove=prove(key=b"another key of 32 bytes, no more"))
case("proof-missing", **EVERY)
case("proof-reflected", **EVERY, prove=reflect)
case("proof-of-client", **EVERY, prove=prove(label=auth.CLIENT))
case("proof-replayed", **EVERY, prove=replay)
case("proof-of-other-chunks", **EVERY, prove=prove(change=put(8, "<Q", 1 << 20)))


def main():
    """Serves the cases."""
    address, port, seconds, *cases = sys.argv[1:]
    listener = verbs.Listener(address, port)
    kernel_log.tell("the rogue server listens")
    server.run(listener, float(seconds), [CASES[name] for name in cases])


if __name__ == "__main__":
    main()
