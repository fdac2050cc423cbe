# SPDX-License-Identifier: GPL-2.0-only
"""A client that sends random requests, valid ones and such that are changed at random.

    fuzz_client.py <address>,<address> <port> <seconds> <disk> <seed> <seconds to run>

`seconds` limits every wait. Prints a line of JSON at the end: what was sent, and what became of
it. A response that is missing is an outcome (`silence`) that must not be. See `fuzz.py` about
seeds.
"""

import struct
import sys
import time

import fuzz
import fuzz_requests as requests
import messages
import transport
import verbs
from eager import FLAGS as EAGER_FLAGS

SHORT_FLAGS = transport.FIRST | transport.SHORT_RESPONSES

MODES = (transport.FIRST, SHORT_FLAGS, EAGER_FLAGS, EAGER_FLAGS)
"""What a session offers: nothing, short responses, eager requests, too."""

FIELDS = {"connection": 2, "count": 2, "reconnects": 2, "flags": 1, "magic": 2, "version": 2}
"""Bytes of the numbers in a connect request."""

WINDOW = 8
"""The most requests that are in flight on a path."""

PLACE = (transport.ROOM - transport.BUFFER) // WINDOW
"""Bytes of a buffer for the data of a READ."""

PAUSE = 0.0005
"""Seconds between two looks at a path where nothing has come."""

AFTERMATH = 1.0
"""Seconds to wait for the responses that a broken request leaves open, or for the end."""


class Path(transport.Session):
    """A path whose requests are pipelined."""

    slots, slot = 14, 4608

    def __init__(self, server, seconds, run, disk):
        super().__init__(server, seconds)
        self.run, self.disk = run, disk
        self.flying = {}
        """Requests without a response by chunk: message type, and whether it is in the chunk."""
        self.dirty = set()
        """Chunks of broken requests, whose state is not known: reasons for the path to end."""
        self.device = self.next = 0

    # Receiving.

    def collect(self):
        """Waits for a message of the server, and takes it."""
        end = time.monotonic() + (AFTERMATH if self.dirty else self.seconds)
        while not self.look():
            if any(each.is_ended() for each in self.connections):
                raise verbs.Ended
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(PAUSE)

    def look(self):
        """Takes one message on each connection; returns whether there was any."""
        any_ = False
        for number, connection in enumerate(self.connections):
            if found := connection.poll():
                if found.status:
                    raise verbs.Ended
                self.take(number, found)
                any_ = True
        return any_

    def take(self, number, found):
        """Takes a message: a heartbeat, or a response."""
        kind, payload = found.immediate >> transport.PAYLOAD_BITS, found.immediate
        size = transport.EAGER_DATA if self.eager and number else transport.RECEIVE
        content = self.memories[number].bytes[found.id :][: 0 if found.written else found.length]
        self.receive(number, found.id, size)
        if number == 0:
            self.run.outcomes["heartbeat" if kind == transport.HEARTBEAT else "acknowledged"] += 1
            if kind == transport.HEARTBEAT:
                self.say(0, transport.immediate(transport.HEARTBEAT_ACK, 0))
            return
        if kind not in (transport.IO_RSP, transport.IO_RSP_INVALIDATED):
            raise transport.Odd(f"instead of a response: {found.immediate:#x}")
        chunk, error = payload & 0x7FFFF, payload >> 19 & 0x1FF
        self.run.outcomes[f"response {error}"] += 1
        what, in_chunk = self.flying.pop(chunk, (None, True))
        if chunk >= self.depth or (what is None and not self.dirty):
            raise transport.Odd(f"a response to no request, of chunk {chunk}")
        if self.request.flags & transport.SHORT_RESPONSES:
            if in_chunk:
                self.step_key(chunk)
        elif self.new_keys and len(content) == 8:
            self.chunks[chunk].key = struct.unpack_from("<I", content, 4)[0]
        if what == messages.OPEN and not error:
            there = self.place_of(chunk)
            response = self.memories[1].bytes[there : there + messages.OPEN_RSP_SIZE]
            self.device = struct.unpack_from("<I", response, 4)[0]

    def settle(self):
        """Takes all responses that are due."""
        while self.flying:
            self.collect()
        if self.dirty:
            # The end, if the server saw a reason for it.
            self.collect()

    # Requests.

    def place_of(self, chunk):
        """Returns the offset of the buffer of a chunk."""
        return transport.BUFFER + chunk % WINDOW * PLACE

    def step(self, rng, wrong, broken):
        """Sends a request; `wrong` and `broken` are how likely it is to be one of these."""
        chunk = self.free()
        kind, user, data, room = requests.make(rng, self.disk, self.device)
        if rng.random() < wrong:
            user, data, room = requests.spoil(rng, user, data, room)
        number = rng.randrange(1, len(self.connections))
        eagerly = self.eager and rng.random() < 0.7
        fits = len(user) <= transport.EAGER_USER and len(data) <= transport.EAGER_DATA
        eagerly = eagerly and fits and (room or 0) <= transport.EAGER_DATA
        start = len(data) if room is None else room
        if room is None:
            message = transport.write(len(user))
        elif eagerly:
            message = transport.read_eagerly(len(user))
        else:
            message = transport.read(len(user), self.buffer_of(chunk, room))
        request = [number, chunk, eagerly, data, start, user, message]
        if rng.random() < broken:
            self.dirty.add(chunk)
            self.breach(rng, request)
            return
        self.flying[chunk] = kind, not eagerly
        self.emit(*request)

    def begin_properly(self, kind, user):
        """Sends one of the messages that a session begins with."""
        room, chunk = messages.OPEN_RSP_SIZE, self.free()
        self.flying[chunk] = kind, True
        message = transport.read(len(user), self.buffer_of(chunk, room))
        self.emit(1, chunk, False, b"", room, user, message)

    def buffer_of(self, chunk, room):
        """Returns the descriptor of the buffer of a chunk."""
        memory = self.memories[1]
        return memory.address + self.place_of(chunk), memory.rkey, room

    def free(self):
        """Returns the next chunk that may be used, which it waits for."""
        for _ in range(self.depth):
            self.next = (self.next + 1) % self.depth
            if self.next not in self.dirty:
                break
        while len(self.flying) >= WINDOW or self.next in self.flying:
            self.collect()
        return self.next

    def emit(self, number, chunk, eagerly, data, start, user, message, said=None, **place):
        """Sends a request, with an immediate that says its message is at `said`."""
        said = start + len(user) if said is None else said
        immediate = place.get("immediate", self.place(chunk, said))
        if eagerly:
            self.post(number, transport.eager(user, message, data), immediate)
            return
        there = self.chunks[chunk]
        where = place.get("where", there.address + (0 if data else start))
        content = data + user + message
        self.post(number, content, immediate, where, place.get("key", there.key))

    def post(self, number, content, immediate, where=None, key=0):
        """Posts a message, or a write, of at most the size of its place."""
        self.run.counts["messages"] += 1
        content = content[: self.slot]
        if where is None:
            self.send(number, content, immediate)
        else:
            self.write(number, content, where, key, immediate)

    def breach(self, rng, request):
        """Breaks the rules of the transport with a request."""
        number, chunk, eagerly, data, start, user, message = request
        act = rng.randrange(9)
        if act <= 2:
            request[6] = fuzz.change(rng, message)[: 24 if eagerly else None]
            self.emit(*request)
        elif act == 3:
            end = self.chunks[chunk].length
            said = rng.choice((0, 1, len(user) - 1, start, end - 4, end - 1, end))
            self.emit(*request, said=max(0, said))
        elif act == 4:
            other = rng.choice((0, chunk ^ 1, self.depth - 1, self.depth, self.depth + 1))
            kind = rng.choice((transport.IO_REQ, transport.IO_REQ, rng.randrange(16)))
            payload = self.place(other, start + len(user)) % (1 << transport.PAYLOAD_BITS)
            self.emit(*request, immediate=transport.immediate(kind, payload))
        elif act == 5:
            self.emit(*request)
            for _ in range(rng.choice((1, 3))):
                self.say(number, self.place(chunk, start + len(user)))
        elif act == 6:
            there = self.chunks[chunk]
            key = rng.choice((there.key ^ 1, there.key - 1, there.key, rng.getrandbits(32)))
            where = there.address + rng.choice((-1, 1, there.length - 8, there.length, 1 << 40))
            self.emit(*request, key=key & 0xFFFFFFFF, where=where)
        elif act == 7:
            content = fuzz.change(rng, transport.eager(user, message, data[:512]))
            self.post(number, content, rng.choice((None, self.place(chunk, start + len(user)))))
        else:
            content = rng.choice((b"", transport.info_req(b"fuzz"), rng.randbytes(8)))
            immediate = transport.immediate(rng.choice((8, 9, 0, 15)), fuzz.number(rng, 3))
            self.post(0, content, rng.choice((None, immediate)))


def set_up(rng, path, name):
    """Brings a path up, mostly as it should be."""
    odd = rng.random()
    connections = path.request.count if odd > 0.04 else rng.randrange(path.request.count)
    wrong = rng.randrange(connections) if connections and odd > 0.92 else None
    for number in range(connections):
        field = rng.choice(list(FIELDS))
        changes = {field: fuzz.number(rng, FIELDS[field])} if number == wrong else {}
        path.connect(**changes)
        path.run.counts["messages"] += 1
    if not connections:
        return False
    message = transport.info_req(name)
    if 0.04 < odd < 0.1:
        message = fuzz.change(rng, message)
    path.run.counts["messages"] += 1
    path.take_chunks(message)
    return True


def talk(rng, paths, name):
    """Brings a session of one or two paths up, and sends requests; returns the outcome."""
    first = paths[0]
    for path in paths:
        if not set_up(rng, path, name):
            return "left early"
    first.run.counts["up"] += 1
    first.begin_properly(messages.SESS_INFO, messages.sess_info(features=3))
    # Sessions that are being closed may have it open still.
    first.begin_properly(messages.OPEN, messages.open_device(first.disk, messages.MIGRATION))
    first.settle()
    wrong = rng.choice((0, 0.05, 0.2, 0.5))
    broken = rng.choice((0, 0, 0, 0.02, 0.1))
    for _ in range(rng.choice((5, 20, 60, 200))):
        if first.run.over():
            break
        path = rng.choice(paths)
        path.device = first.device
        path.step(rng, wrong, broken)
        if rng.random() < 0.005:
            path.say(0, transport.immediate(transport.HEARTBEAT, 0))
    if rng.random() < 0.3:
        return "left in the middle"
    for path in paths:
        path.settle()
    return "done"


def session(run, number, rng, servers, port, seconds, disk):
    """Runs one session; returns the outcome."""
    made = [Path((each, port), seconds, run, disk) for each in servers]
    paths = made[: 2 if rng.random() < 0.15 else 1]
    ids, mode = {"session": rng.randbytes(16), "count": rng.choice((2, 2, 3, 4))}, rng.choice(MODES)
    for index, path in enumerate(paths):
        flags = mode & ~(transport.FIRST if index else 0)
        path.request = transport.Request(path=rng.randbytes(16), flags=flags, **ids)
    try:
        return talk(rng, paths, b"fuzz%d" % (number % 8))
    except verbs.Refused as refused:
        return f"refused {-struct.unpack_from('<h', refused.private, 4)[0]}"
    except verbs.Ended:
        return "closed"
    except TimeoutError:
        return "no end" if any(path.dirty for path in paths) else f"session {number}: silence"
    except transport.Odd as odd:
        return f"session {number}: {odd}"
    finally:
        for path in paths:
            path.close()


def main():
    """Runs sessions until the time is up."""
    addresses, port, seconds, disk, seed, duration = sys.argv[1:]
    run = fuzz.Run(seed, duration)
    for number, rng in run.sessions():
        target = addresses.split(","), port, float(seconds), disk.encode()
        run.outcomes[session(run, number, rng, *target)] += 1
    run.report()


if __name__ == "__main__":
    main()
