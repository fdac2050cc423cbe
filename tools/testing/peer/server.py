# SPDX-License-Identifier: GPL-2.0-only
"""The server's side of RTRS and RNBD, as far as a client needs it to map a disk.

Everything that it says can be changed before it is said, by a function for it in `changes`.
"""

import errno
import struct
from dataclasses import dataclass

import auth
import end
import messages
import transport
import verbs

DEPTH = 4
CHUNK = 1 << 17
HEADER = 4096

INBOX = CHUNK
"""The offset of received messages; messages to send are before it."""

RECEIVE = 64 + transport.EAGER_DATA
"""Bytes for each received message, of which eager requests are the longest."""

CHUNKS = INBOX + transport.RECEIVES * RECEIVE
"""The offset of the chunks in memory."""


def conn_rsp(error=0):
    """Encodes the private data of an accept, or of a reject with an error number."""
    return struct.pack(
        "<HHhHIII36x",
        *(transport.MAGIC, transport.VERSION, -error),
        *(DEPTH, CHUNK - HEADER, HEADER, 0),
    )


@dataclass(frozen=True)
class Request:
    """A request of the client."""

    connection: int
    chunk: int
    address: int
    """Of the client's buffer; 0 if it has none."""
    key: int
    length: int
    user: bytes
    eager_room: int = 0
    """Bytes of data that are to come with the response."""


class Server(end.End):
    """A server for one session of one path."""

    def __init__(self, listener, seconds, changes):
        """`seconds` limits every wait."""
        super().__init__(seconds)
        self.listener, self.changes = listener, changes
        self.hellos = []
        self.held = []
        """Requests that wait for others, or are not forgotten yet."""

    def change(self, what, said):
        """Returns the change of a message, if a case has one."""
        return self.changes[what](said) if what in self.changes else said

    def serve(self, first):
        """Serves the client whose first connection that is, until it is gone."""
        try:
            count = struct.unpack_from("<H", first.said, 8)[0]
            self.admit(first)
            while len(self.connections) < count:
                self.admit(self.wait_for(self.listener.take))
            _, found = self.next_message(0)
            message = self.memories[0].bytes[found.id : found.id + found.length]
            if act := self.changes.get("instead_of_info"):
                act(self)
            info = self.change("info", self.info())
            if "prove" in self.changes:
                info = self.changes["prove"](self.hellos, message, info)
            self.send(0, info)
            self.handle_all()
        except (verbs.Ended, TimeoutError):
            pass
        finally:
            self.close()

    def handle_all(self):
        """Responds to all requests, one after the other."""
        while True:
            self.handle(self.next_request())

    def admit(self, connection):
        """Accepts or refuses the next connection."""
        number = len(self.connections)
        what = "first" if number == 0 else "second" if number == 1 else "other"
        response = self.change(what, conn_rsp())
        if struct.unpack_from("<h", response.ljust(6, b"\1"), 4)[0]:
            connection.refuse(response)
            raise verbs.Ended
        self.add(connection, CHUNKS + DEPTH * CHUNK)
        self.hellos.append(auth.hello(connection.said, response))
        self.receive(number, INBOX, RECEIVE, transport.RECEIVES)
        connection.accept(response)

    def info(self):
        """Encodes an INFO_RSP with a descriptor for each chunk."""
        memory = self.memories[0]
        chunks = (
            struct.pack("<QII", memory.address + CHUNKS + index * CHUNK, memory.rkey, CHUNK)
            for index in range(DEPTH)
        )
        return struct.pack("<HH4x", transport.INFO_RSP, DEPTH) + b"".join(chunks)

    def next_message(self, *numbers):
        """Waits for a completion and posts another receive; returns connection and completion."""
        number, found = self.wait(*numbers)
        self.receive(number, found.id, RECEIVE)
        return number, found

    def next_request(self):
        """Waits for a request, and acknowledges heartbeats."""
        while True:
            if request := self.read(*self.next_message(*range(len(self.connections)))):
                return request

    def read(self, number, found):
        """Returns the request that a completion is about, if it is about one."""
        kind, payload = found.immediate >> transport.PAYLOAD_BITS, found.immediate
        if kind == transport.IO_REQ and not found.written:
            content = self.memories[number].bytes[found.id : found.id + found.length]
            return self.read_eager(number, payload, content)
        if kind == transport.IO_REQ:
            return self.read_request(number, payload)
        if kind == transport.HEARTBEAT:
            self.say(number, transport.immediate(transport.HEARTBEAT_ACK, 0))
        return None

    def place(self, payload):
        """Returns chunk and offset of an immediate."""
        offset_bits = transport.PAYLOAD_BITS - (DEPTH - 1).bit_length()
        return payload >> offset_bits, payload & (1 << offset_bits) - 1

    def read_eager(self, number, payload, content):
        """Returns the request in a message."""
        chunk, offset = self.place(payload)
        kind, usr_len, _, count = struct.unpack_from("<HHHH", content, transport.EAGER_USER)
        address, key, length, room = 0, 0, 0, 0
        if kind == transport.READ and count:
            address, key, length = struct.unpack_from(
                "<QII", content, transport.EAGER_USER + 8
            )
        elif kind == transport.READ:
            room = offset - usr_len
        return Request(number, chunk, address, key, length, content[:usr_len], room)

    def read_request(self, number, payload):
        """Returns the request of an immediate."""
        chunk, offset = self.place(payload)
        start = CHUNKS + chunk * CHUNK + offset
        # The chunks are in the memory of the first connection, whichever wrote to them.
        content = self.memories[0].bytes
        kind, usr_len, _, count = struct.unpack_from("<HHHH", content, start)
        user = content[start - usr_len : start]
        address, key, length = 0, 0, 0
        if kind == transport.READ and count:
            address, key, length = struct.unpack_from("<QII", content, start + 8)
        return Request(number, chunk, address, key, length, user)

    def handle(self, request):
        """Responds to a request."""
        kind = struct.unpack_from("<H", request.user)[0]
        data = b""
        if kind == messages.SESS_INFO:
            data = self.change("handshake", messages.sess_info(kind=messages.SESS_INFO_RSP))
        elif kind == messages.OPEN:
            data = self.change("open", messages.open_rsp())
        elif kind == messages.IO:
            data = bytes(request.length or request.eager_room)
        if data and request.length:
            self.write(request.connection, data, request.address, request.key)
        names = {
            messages.SESS_INFO: "respond",
            messages.OPEN: "respond_to_open",
            messages.IO: "io",
            messages.DEV_INFO: "dev_info",
        }
        if request.eager_room:
            data = data[: request.eager_room].ljust(request.eager_room, b"\0")
            if names.get(kind) in ("respond", "io"):
                data = self.change("message", data)
            self.send(
                *(request.connection, data),
                transport.immediate(transport.IO_RSP, self.change("error", 0) << 19 | request.chunk),
            )
        elif act := self.changes.get(names.get(kind)):
            act(self, request)
        else:
            self.respond(request)

    def respond(self, request, error=0, **wrong):
        """Sends the response to a request; `wrong` has what it says instead of the right thing."""
        number = wrong.get("number", request.connection)
        kind = wrong.get("kind", transport.IO_RSP)
        chunk = wrong.get("chunk", request.chunk)
        self.say(number, transport.immediate(kind, error << 19 | chunk))

    def invalidate_key(self, number, key):
        """Sends a message of nothing that invalidates a key of the client."""
        # The key is where others have an immediate, but in the order of the machine.
        swapped = int.from_bytes(key.to_bytes(4, "little"), "big")
        self.connections[number].post(verbs.SEND_AND_INVALIDATE, immediate=swapped)


def session_of(connection):
    """Decodes the session id of a connect request."""
    return connection.said[28:44]


def run(listener, seconds, cases):
    """Serves one session after the other, each with its changes."""
    known = set()
    for changes in cases:
        while True:
            first = verbs.wait_for(listener.take, 20 * seconds)
            if session_of(first) not in known:
                break
            # Of a session that it is done with.
            first.refuse(conn_rsp(errno.ECONNRESET))
        known.add(session_of(first))
        Server(listener, seconds, changes).serve(first)
