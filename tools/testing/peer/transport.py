# SPDX-License-Identifier: GPL-2.0-only
"""The client's side of RTRS, which sends messages unchecked.

Documentation/protocol.md has the messages.
"""

import os
import struct
from dataclasses import dataclass
from dataclasses import field

import auth
import end
import verbs

MAGIC, VERSION = 0x1BBD, 0x0200
INFO_REQ, INFO_RSP, WRITE, READ, RKEY_RSP = range(5)
IO_REQ, IO_RSP, IO_RSP_INVALIDATED, HEARTBEAT, HEARTBEAT_ACK = 0, 1, 2, 8, 9
FIRST = 1
"""The server may create the session."""

SHORT_RESPONSES, EAGER = 1 << 6, 1 << 4
"""What else a client can offer: responses of one message, and eager requests."""

SHORT_AGREED, EAGER_AGREED = 1 << 30, 1 << 28
"""The flags of a server that accepts them."""

NEW_KEYS = 1 << 1
"""The flag of a server that gives a chunk a new key after each request."""

NAME = 256
"""Bytes of a name, with its NUL."""

ROOM = 1 << 18
"""Bytes of the memory of a connection. Messages to send are at its start."""

BUFFER = 1 << 17
"""The offset of the data of a READ in it."""

INBOX = 1 << 16
"""The offset of received messages in it."""

RECEIVES, RECEIVE = 64, 64
"""The number of receives of a connection, and the bytes of each."""

EAGER_DATA = 4096
"""The most bytes of data in an eager request, or with a response to one."""

DATA_RECEIVES = 16
"""The number of receives where responses can have data."""

EAGER_USER = 40
"""Bytes for the user message of an eager request."""

PAYLOAD_BITS = 28


class Odd(Exception):
    """The server sent an unexpected message."""


@dataclass(frozen=True)
class Request:
    """The private data of a connect request."""

    connection: int = 0
    count: int = 2
    reconnects: int = 0
    path: bytes = field(default_factory=lambda: os.urandom(16))
    session: bytes = field(default_factory=lambda: os.urandom(16))
    flags: int = FIRST
    magic: int = MAGIC
    version: int = VERSION

    def encode(self):
        """Encodes the private data."""
        return struct.pack(
            "<HHHHHH16s16sB11x",
            *(0, self.magic, self.version, self.connection, self.count, self.reconnects),
            *(self.path, self.session, self.flags),
        )


@dataclass
class Chunk:
    """A chunk of the server's memory."""

    address: int
    key: int
    length: int


def immediate(kind, payload):
    """Encodes an immediate."""
    return kind << PAYLOAD_BITS | payload


class Session(end.End):
    """A session of one path, whose requests go over connection 1."""

    slots, slot = 8, INBOX // 8

    def __init__(self, server, seconds):
        """`server` is address and port; `seconds` limits every wait."""
        super().__init__(seconds)
        self.server = server
        self.request = Request()
        self.chunks = []
        self.depth = 0
        self.new_keys = True
        self.eager = False
        self.message = b""
        self.hellos = []

    def connect(self, **changes):
        """Makes the next connection."""
        values = {**vars(self.request), "connection": len(self.connections), **changes}
        request = Request(**values).encode()
        connection = verbs.connect(*self.server, request)
        self.add(connection, ROOM)
        self.hellos.append(auth.hello(request, connection.said))
        magic, version, _, self.depth = struct.unpack_from("<HHhH", connection.said)
        flags = struct.unpack_from("<I", connection.said, 16)[0]
        self.new_keys, self.eager = bool(flags & NEW_KEYS), bool(flags & EAGER_AGREED)
        if (magic, version >> 8) != (MAGIC, VERSION >> 8):
            raise Odd(f"accepted with {connection.said.hex()}")

    def connect_all(self):
        """Makes all connections of the path."""
        while len(self.connections) < self.request.count:
            self.connect()

    def bring_up(self, name):
        """Sends INFO_REQ with the name, and receives the chunks."""
        self.connect_all()
        self.take_chunks(info_req(name))

    def bring_up_with_key(self, name):
        """Does the same with a proof, and checks that of the server."""
        self.connect_all()
        message = auth.info_req(info_req(name), self.hellos)
        response = self.take_chunks(message, auth.SIZE)
        signed, proof = response[: -auth.SIZE], response[-auth.SIZE :]
        if proof != auth.proof(auth.SERVER, self.hellos, message, signed):
            raise Odd(f"a wrong proof: {proof.hex()}")
        return message

    def take_chunks(self, message, more=0):
        """Sends an INFO_REQ; returns INFO_RSP, which has `more` bytes at its end."""
        room = 8 + 16 * self.depth + more
        self.receive(0, INBOX, room)
        length, count = (EAGER_DATA, DATA_RECEIVES) if self.eager else (RECEIVE, RECEIVES)
        for number in range(1, len(self.connections)):
            self.receive(number, INBOX, length, count)
        self.send(0, message)
        _, completion = self.wait(0)
        response = self.memories[0].bytes[INBOX : INBOX + completion.length]
        kind, count = struct.unpack_from("<HH", response)
        if (kind, count) != (INFO_RSP, self.depth) or len(response) != room:
            raise Odd(f"instead of INFO_RSP: {response[:16].hex()}")
        self.chunks = [
            Chunk(*struct.unpack_from("<QII", response, 8 + 16 * index)) for index in range(count)
        ]
        # For heartbeats.
        self.receive(0, INBOX, RECEIVE, RECEIVES)
        return response

    def place(self, chunk, offset):
        """Encodes the immediate of a request in a chunk."""
        id_bits = (self.depth - 1).bit_length()
        return immediate(IO_REQ, chunk << PAYLOAD_BITS - id_bits | offset)

    def put(self, chunk, start, content, said):
        """Writes a request to a chunk, with an immediate that says its message is at `said`."""
        there = self.chunks[chunk]
        self.write(1, content, there.address + start, there.key, self.place(chunk, said))

    def ask(self, user, data=b"", room=None, chunk=0):
        """Sends a request, a READ if there is `room` for data.

        Returns the error number of the response.
        """
        self.begin(user, data, room, chunk)
        return self.answer_of(chunk)

    def begin(self, user, data=b"", room=None, chunk=0):
        """Sends a request, and does not wait for the response."""
        if room is None:
            start, message = 0, write(len(user))
        else:
            data, start, message = b"", room, read(len(user), self.buffer(room))
        self.put(chunk, start, data + user + message, start + len(data) + len(user))

    def send_eager(self, user, message, data=b"", said=None, chunk=0):
        """Sends an eager request, with an immediate that says its message is at `said`."""
        said = len(data) + len(user) if said is None else said
        content = eager(user, message, data)
        self.send(1, content, self.place(chunk, said))

    def ask_eagerly(self, user, data=b"", room=None, chunk=0):
        """Sends an eager request, a READ if there is `room` for data.

        Returns the error number of the response, whose data are in `message`.
        """
        if room is None:
            self.send_eager(user, write(len(user)), data, chunk=chunk)
        else:
            self.send_eager(user, read_eagerly(len(user)), said=room + len(user), chunk=chunk)
        return self.answer_of(chunk)

    def buffer(self, length):
        """Fills memory for `length` bytes of data; returns its descriptor."""
        memory = self.memories[1]
        memory.bytes[BUFFER : BUFFER + length] = b"\xaa" * length
        return memory.address + BUFFER, memory.rkey, length

    def data(self, length):
        """Returns the data that the server wrote there."""
        return self.memories[1].bytes[BUFFER : BUFFER + length]

    def answer_of(self, chunk):
        """Waits for the response to the request in a chunk; returns its error number."""
        found, error = self.response()
        if found != chunk:
            raise Odd(f"a response for chunk {found}")
        return error

    def response(self):
        """Waits for a response; returns its chunk and its error number."""
        number, completion = self.wait(1)
        kind, payload = completion.immediate >> PAYLOAD_BITS, completion.immediate
        if not completion.has_immediate or kind not in (IO_RSP, IO_RSP_INVALIDATED):
            raise Odd(f"instead of a response: {completion.immediate:#x}")
        chunk = payload & 0x7FFFF
        length = 0 if completion.written else completion.length
        self.message = self.memories[number].bytes[completion.id :][:length]
        if self.new_keys and not self.eager:
            kind, which, key = struct.unpack("<HHI", self.message)
            if (kind, which) != (RKEY_RSP, chunk):
                raise Odd(f"instead of RKEY_RSP: {self.message.hex()}")
            self.chunks[chunk].key = key
        self.receive(number, completion.id, EAGER_DATA if self.eager else RECEIVE)
        return chunk, payload >> 19 & 0x1FF

    def step_key(self, chunk=0):
        """Takes the next key of a chunk, if the response to what was written there has moved it."""
        key = self.chunks[chunk].key
        if self.new_keys:
            self.chunks[chunk].key = key & ~0xFF | key + 1 & 0xFF

    def wait_for_end(self):
        """Waits until the server disconnects, and ignores its messages."""
        while True:
            self.wait(0)


def info_req(name, kind=INFO_REQ):
    """Encodes an INFO_REQ."""
    return struct.pack(f"<H{NAME}s14x", kind, name)


def write(usr_len, kind=WRITE):
    """Encodes the message of a WRITE."""
    return struct.pack("<HH", kind, usr_len)


def read(usr_len, descriptor, kind=READ, flags=0, count=1):
    """Encodes the message of a READ with a descriptor: address, key, length."""
    return struct.pack("<HHHHQII", kind, usr_len, flags, count, *descriptor)


def read_eagerly(usr_len, flags=0, count=0):
    """Encodes the message of a READ whose data are to come with the response."""
    return struct.pack("<HHHH", READ, usr_len, flags, count)


def eager(user, message, data=b""):
    """Encodes an eager request of user message, message of RTRS, and data."""
    return user.ljust(EAGER_USER, b"\0") + message.ljust(24, b"\0") + data
