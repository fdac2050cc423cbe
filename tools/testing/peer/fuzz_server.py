# SPDX-License-Identifier: GPL-2.0-only
"""A server whose responses are valid, or changed at random.

    fuzz_server.py <address> <port> <seconds> <seed> <seconds to run>

`seconds` limits every wait. Serves one session after the other; what becomes of a client it knows
itself. Prints a line of JSON at the end: what was sent, and how sessions ended. See `fuzz.py` about
seeds.
"""

import struct
import sys
import time

import fuzz
import kernel_log
import messages
import server
import transport
import verbs

PLAIN, NEW_KEYS, SHORT, EAGER = range(4)
"""How responses are made."""

FLAGS = {
    PLAIN: 0,
    NEW_KEYS: transport.NEW_KEYS,
    SHORT: transport.SHORT_AGREED,
    EAGER: transport.SHORT_AGREED | transport.EAGER_AGREED,
}
"""What an accept says of it."""

SETUP = {"first", "second", "other", "info"}

SECTORS = 1 << 16
"""Of the disks."""

PAUSE = 0.001
"""Seconds between two looks where nothing has come."""

DEBT = 0.5
"""Seconds until a client is left that waits for a response it does not get."""


class Server(server.Server):
    """A server for one session, with a generator for its choices."""

    def __init__(self, listener, seconds, rng, run):
        super().__init__(listener, seconds, {})
        self.rng, self.run = rng, run
        self.mode = rng.choice((PLAIN, NEW_KEYS, SHORT, EAGER, EAGER))
        self.setup_odd = rng.choice((0, 0, 0, 0.3))
        self.odd = rng.choice((0, 0.02, 0.1, 0.3))
        """How likely a response is changed."""
        self.content_odd = rng.choice((0, 0, 0.1, 0.5))
        """How likely what it says of the disk is changed."""
        self.debt = None
        """Since when a client waits in vain."""
        self.generation = 1
        self.acts = [self.fail, self.twice, self.forget, self.mistake, self.say_anything]
        self.acts += [self.send_anything, self.elsewhere, self.claim, self.invalidate]
        self.acts += [self.spill, self.leave, self.spoil]

    # Setting up.

    def change(self, what, said):
        """Counts what is said, and changes it at random while a session is set up."""
        self.run.counts["messages"] += 1
        if what in ("first", "second", "other"):
            said = said[:16] + struct.pack("<I", FLAGS[self.mode]) + said[20:]
        if what in SETUP and self.rng.random() < self.setup_odd:
            self.run.outcomes[f"changed {what}"] += 1
            said = fuzz.change(self.rng, said)
        return said if what == "info" else said.ljust(56, b"\0")[:56]

    # Requests.

    def handle_all(self):
        """Responds to requests, a few of which wait for others."""
        self.run.counts["up"] += 1
        most = self.rng.choice((1, 1, 2, 4))
        heard = time.monotonic()
        while True:
            found = self.look()
            heard = time.monotonic() if found else heard
            if self.held and (not found or len(self.held) >= most):
                self.handle(self.held.pop(self.rng.randrange(len(self.held))))
            elif not found:
                if self.debt and time.monotonic() > self.debt + DEBT:
                    raise verbs.Ended
                if time.monotonic() > heard + self.seconds:
                    raise TimeoutError
                if any(each.is_ended() for each in self.connections):
                    raise verbs.Ended
                time.sleep(PAUSE)

    def look(self):
        """Takes what has come; returns whether anything has."""
        any_ = False
        for number, connection in enumerate(self.connections):
            while found := connection.poll():
                if found.status:
                    raise verbs.Ended
                self.receive(number, found.id, server.RECEIVE)
                if request := self.read(number, found):
                    self.held.append(request)
                any_ = True
        return any_

    def handle(self, request):
        """Responds to a request, maybe in a wrong way."""
        self.run.counts["messages"] += 1
        if self.rng.random() < 0.02:
            events = fuzz.number(self.rng, 3)
            self.say(0, transport.immediate(transport.HEARTBEAT, events))
        data = self.data_of(request)
        if self.rng.random() < self.odd:
            act = self.rng.choice(self.acts)
            self.run.outcomes[act.__name__] += 1
            act(request, data)
        else:
            self.run.outcomes["reply"] += 1
            self.reply(request, data)

    def data_of(self, request):
        """Makes up what a request asks for, of the length that it asks for."""
        length = request.length or request.eager_room
        if not length:
            return b""
        (kind,) = struct.unpack_from("<H", request.user)
        if kind == messages.SESS_INFO:
            data = messages.sess_info(kind=messages.SESS_INFO_RSP, features=3)
        elif kind in (messages.OPEN, messages.DEV_INFO):
            data = messages.open_rsp(sectors=SECTORS)
        elif kind == messages.DESCRIBE:
            self.generation += self.rng.choice((0, 0, 1))
            data = messages.describe_rsp(self.generation, self.rng.choice((SECTORS, SECTORS // 2)))
        else:
            return bytes(length)
        if self.rng.random() < self.content_odd:
            data = fuzz.change(self.rng, data)
        return data.ljust(length, b"\0")[:length]

    def reply(self, request, data=b"", error=0, **wrong):
        """Sends data and response; `wrong` has what they say instead of the right thing."""
        number = wrong.get("number", request.connection)
        kind = wrong.get("kind", transport.IO_RSP)
        payload = error << 19 | wrong.get("chunk", request.chunk)
        immediate = transport.immediate(kind, payload)
        if request.eager_room:
            self.send(number, b"" if error else data, immediate)
            return
        address, key = wrong.get("address", request.address), wrong.get("key", request.key)
        if data and self.mode in (SHORT, EAGER):
            self.write(number, data, address, key, immediate)
            return
        if data:
            self.write(number, data, address, key)
        if self.mode == NEW_KEYS:
            key = self.memories[0].rkey
            message = struct.pack("<HHI", transport.RKEY_RSP, request.chunk, key)
            self.send(number, wrong.get("message", message), immediate)
        else:
            self.say(number, immediate)

    # Wrong responses.

    def fail(self, request, data):
        """Responds with an error, without data or with them."""
        error = self.rng.choice((1, 5, 28, 511, self.rng.randrange(512)))
        self.reply(request, self.rng.choice((b"", data)), error)

    def twice(self, request, data):
        """Responds twice."""
        self.reply(request, data)
        self.reply(request, data)

    def forget(self, request, _):
        """Does not respond, which ends the session in a moment."""
        del request
        self.debt = self.debt or time.monotonic()

    def mistake(self, request, data):
        """Responds to another request."""
        chunk = self.rng.choice((request.chunk ^ 1, server.DEPTH, fuzz.number(self.rng, 2)))
        self.reply(request, data, chunk=chunk)

    def say_anything(self, request, data):
        """Says an immediate, and responds after it, or not."""
        number = self.rng.randrange(len(self.connections))
        kind = self.rng.choice((0, 1, 2, 8, 9, self.rng.randrange(16)))
        payload = fuzz.number(self.rng, 4) % (1 << transport.PAYLOAD_BITS)
        self.say(number, transport.immediate(kind, payload))
        self.reply(request, data)

    def send_anything(self, request, data):
        """Sends a message that may be as it should be, but for one thing."""
        message = struct.pack("<HHI", transport.RKEY_RSP, request.chunk, self.memories[0].rkey)
        message = fuzz.change(self.rng, self.rng.choice((message, data[:64], bytes(36))))
        if self.mode == NEW_KEYS and self.rng.random() < 0.5:
            self.reply(request, data, message=message)
            return
        immediate = transport.immediate(transport.IO_RSP, request.chunk)
        number = self.rng.choice((0, request.connection))
        self.send(number, message, self.rng.choice((None, immediate)))

    def elsewhere(self, request, data):
        """Responds over another connection."""
        self.reply(request, data, number=self.rng.randrange(len(self.connections)))

    def claim(self, request, data):
        """Says that the key was invalidated."""
        self.reply(request, data, kind=transport.IO_RSP_INVALIDATED)

    def invalidate(self, request, data):
        """Invalidates the key of this request or another one of the session, or no key."""
        others = [each.key for each in self.held if each.key]
        key = self.rng.choice([request.key, request.key ^ 1, *others])
        before = self.rng.random() < 0.5
        if before:
            self.invalidate_key(request.connection, key)
        kind = self.rng.choice((transport.IO_RSP, transport.IO_RSP_INVALIDATED))
        self.reply(request, data, kind=kind)
        if not before:
            self.invalidate_key(request.connection, key)

    def spill(self, request, data):
        """Writes elsewhere, or more than there is room for."""
        length = request.length or 8
        address = request.address + self.rng.choice((0, -8, length - 8, 1 << 32))
        key = self.rng.choice((request.key, request.key ^ 1, 0))
        self.reply(request, data or bytes(8), address=address % (1 << 64), key=key)

    def leave(self, request, _):
        """Leaves in the middle."""
        del request
        raise verbs.Ended

    def spoil(self, request, data):
        """Responds with changed data."""
        self.reply(request, fuzz.change(self.rng, data) if data else data)


def main():
    """Serves sessions until the time is up."""
    address, port, seconds, seed, duration = sys.argv[1:]
    listener = verbs.Listener(address, port)
    kernel_log.tell("the rogue server listens")
    run = fuzz.Run(seed, duration)
    for _, rng in run.sessions():
        first = None
        while not first and not run.over():
            first = listener.take()
            if first and struct.unpack_from("<H", first.said, 6)[0]:
                # Of a session that is over.
                first.refuse(server.conn_rsp(104))
                first = None
            if not first:
                time.sleep(PAUSE)
        try:
            if first:
                Server(listener, float(seconds), rng, run).serve(first)
        except OSError as error:
            run.outcomes[str(error)] += 1
    run.report()


if __name__ == "__main__":
    main()
