# SPDX-License-Identifier: GPL-2.0-only
"""The client's side of RTRS, by hand: nothing is checked before it is sent.

Documentation/protocol.md has the messages.
"""

import os
import struct
from dataclasses import dataclass
from dataclasses import field

import verbs

MAGIC, VERSION = 0x1BBD, 0x0200
INFO_REQ, INFO_RSP, WRITE, READ, RKEY_RSP = range(5)
IO_REQ, IO_RSP, IO_RSP_INVALIDATED, HEARTBEAT, HEARTBEAT_ACK = 0, 1, 2, 8, 9
FIRST = 1
"""The server may create the session."""

NAME = 256
"""Bytes of a name, with its NUL."""

ROOM = 1 << 18
"""Bytes of the memory of a connection. What is sent is at its start."""

BUFFER = 1 << 17
"""Where in it data of a READ come."""

INBOX = 1 << 16
"""Where in it messages come."""

RECEIVES, RECEIVE = 64, 64
"""Receives of a connection, and the bytes of each."""

PAYLOAD_BITS = 28


class Odd(Exception):
    """The server says what it must not say."""


@dataclass(frozen=True)
class Request:
    """What a connect says of itself."""

    connection: int = 0
    count: int = 2
    reconnects: int = 0
    path: bytes = field(default_factory=lambda: os.urandom(16))
    session: bytes = field(default_factory=lambda: os.urandom(16))
    flags: int = FIRST
    magic: int = MAGIC
    version: int = VERSION

    def encode(self):
        """The private data."""
        return struct.pack(
            "<HHHHHH16s16sB11x",
            *(0, self.magic, self.version, self.connection, self.count, self.reconnects),
            *(self.path, self.session, self.flags),
        )


@dataclass
class Chunk:
    """A piece of the server's memory."""

    address: int
    key: int
    length: int


def immediate(kind, payload):
    """An immediate."""
    return kind << PAYLOAD_BITS | payload


class Session:
    """A session of one path."""

    def __init__(self, server, seconds):
        """`server` is address and port; `seconds` is how long to wait for anything."""
        self.server, self.seconds = server, seconds
        self.request = Request()
        self.connections = []
        self.memories = []
        self.chunks = []
        self.limits = None

    def connect(self, **changes):
        """Makes the next connection."""
        values = {**vars(self.request), "connection": len(self.connections), **changes}
        connection = verbs.connect(*self.server, Request(**values).encode())
        memory = verbs.Memory(connection, ROOM)
        self.connections.append(connection)
        self.memories.append(memory)
        magic, version, _, depth, io_size, header, flags = struct.unpack_from(
            "<HHhHIII", connection.said
        )
        if (magic, version >> 8) != (MAGIC, VERSION >> 8):
            raise Odd(f"accepted with {connection.said.hex()}")
        self.limits = (depth, io_size + header, flags)

    def connect_all(self):
        """Makes all connections that there are to be."""
        while len(self.connections) < self.request.count:
            self.connect()

    def send(self, number, message):
        """Sends a message, as it is."""
        memory = self.memories[number]
        memory.bytes[: len(message)] = message
        self.connections[number].post(verbs.SEND, memory, 0, len(message))

    def say(self, number, value):
        """Sends an immediate, and nothing else."""
        self.connections[number].post(verbs.WRITE_WITH_IMMEDIATE, immediate=value)

    def wait(self, number):
        """The next thing that arrives; raises `Ended` when the connection ends instead."""
        connection = self.connections[number]

        def look():
            if found := connection.poll():
                return found
            if any(each.is_ended() for each in self.connections):
                raise verbs.Ended
            return None

        found = verbs.wait_for(look, self.seconds)
        if found.status:
            raise verbs.Ended
        return found

    def bring_up(self, name):
        """Says the name, and learns where the chunks are."""
        self.connect_all()
        room = 8 + 16 * self.limits[0]
        self.connections[0].receive(self.memories[0], INBOX, room)
        for number in range(1, len(self.connections)):
            for index in range(RECEIVES):
                self._receive(number, INBOX + index * RECEIVE)
        self.send(0, info_req(name))
        completion = self.wait(0)
        answer = self.memories[0].bytes[INBOX : INBOX + completion.length]
        kind, count = struct.unpack_from("<HH", answer)
        if (kind, count) != (INFO_RSP, self.limits[0]) or len(answer) != room:
            raise Odd(f"instead of INFO_RSP: {answer[:16].hex()}")
        self.chunks = [
            Chunk(*struct.unpack_from("<QII", answer, 8 + 16 * index)) for index in range(count)
        ]
        # For heartbeats.
        for index in range(RECEIVES):
            self._receive(0, INBOX + index * RECEIVE)

    def _receive(self, number, start):
        self.connections[number].receive(self.memories[number], start, RECEIVE)

    def place(self, chunk, offset):
        """The immediate of a request in a chunk."""
        id_bits = (self.limits[0] - 1).bit_length()
        return immediate(IO_REQ, chunk << PAYLOAD_BITS - id_bits | offset)

    def put(self, chunk, start, content, said=None, number=1):
        """Writes to a chunk, and says that a request is there, its message at `said`."""
        memory, there = self.memories[number], self.chunks[chunk]
        memory.bytes[: len(content)] = content
        self.connections[number].post(
            verbs.WRITE if said is None else verbs.WRITE_WITH_IMMEDIATE,
            *(memory, 0, len(content)),
            remote=there.address + start,
            rkey=there.key,
            immediate=0 if said is None else self.place(chunk, said),
        )

    def ask(self, user, data=b"", room=None, chunk=0, **message):
        """Sends a request, a READ if there is `room` for what comes back.

        Returns the error number of the answer.
        """
        self.begin(user, data, room, chunk, **message)
        return self.answer_of(chunk)

    def begin(self, user, data=b"", room=None, chunk=0, **message):
        """Sends a request, and does not wait for the answer."""
        if room is None:
            start, end = 0, write(len(user), **message)
        else:
            data, start = b"", room
            end = read(len(user), self.buffer(room), **message)
        content = data + user + end
        self.put(chunk, start, content, start + len(data) + len(user))

    def buffer(self, length):
        """A descriptor of the memory for data of that length, which is filled up before."""
        memory = self.memories[1]
        memory.bytes[BUFFER : BUFFER + length] = b"\xaa" * length
        return memory.address + BUFFER, memory.rkey, length

    def data(self, length):
        """What the server wrote there."""
        return self.memories[1].bytes[BUFFER : BUFFER + length]

    def answer_of(self, chunk):
        """Waits for the answer to the request in a chunk, and returns its error number."""
        found, error = self.answer()
        if found != chunk:
            raise Odd(f"an answer for chunk {found}")
        return error

    def answer(self, number=1):
        """Waits for an answer; returns its chunk and its error number."""
        completion = self.wait(number)
        kind, payload = completion.immediate >> PAYLOAD_BITS, completion.immediate
        if not completion.has_immediate or kind not in (IO_RSP, IO_RSP_INVALIDATED):
            raise Odd(f"instead of an answer: {completion.immediate:#x}")
        chunk = payload & 0x7FFFF
        message = self.memories[number].bytes[completion.id : completion.id + completion.length]
        kind, which, key = struct.unpack("<HHI", message)
        if (kind, which) != (RKEY_RSP, chunk):
            raise Odd(f"instead of RKEY_RSP: {message.hex()}")
        self.chunks[chunk].key = key
        self._receive(number, completion.id)
        return chunk, payload >> 19 & 0x1FF

    def wait_for_end(self):
        """Waits until the server ends the path, whatever else it says before."""
        while True:
            try:
                self.wait(0)
            except verbs.Ended:
                return

    def close(self, part=True):
        """Ends it; without a word if it is not to `part` in peace."""
        for memory in self.memories:
            memory.close()
        for connection in self.connections:
            connection.close(part)


def info_req(name, kind=INFO_REQ):
    """INFO_REQ."""
    return struct.pack(f"<H{NAME}s14x", kind, name)


def write(usr_len, kind=WRITE):
    """The message of a WRITE."""
    return struct.pack("<HH", kind, usr_len)


def read(usr_len, descriptor, kind=READ, flags=0, count=1):
    """The message of a READ with a descriptor: address, key, length."""
    return struct.pack("<HHHHQII", kind, usr_len, flags, count, *descriptor)
