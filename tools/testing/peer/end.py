# SPDX-License-Identifier: GPL-2.0-only
"""The common part of both ends of a path: connections, their memory, and waiting."""

import verbs


class End:
    """One end of a path. It sends messages from the start of a connection's memory."""

    slots, slot = 1, 0
    """How many messages have a place of their own there, so that one that is posted does not
    change what an earlier one sends; and the bytes of such a place."""

    def __init__(self, seconds):
        """`seconds` limits every wait."""
        self.seconds = seconds
        self.connections, self.memories = [], []
        self.sent = 0

    def add(self, connection, room):
        """Takes in the next connection, with so many bytes of memory."""
        self.connections.append(connection)
        self.memories.append(verbs.Memory(connection, room))

    def receive(self, number, start, length, count=1):
        """Posts receives for the next messages, one after the other in memory."""
        for index in range(count):
            self.connections[number].receive(
                self.memories[number], start + index * length, length
            )

    def send(self, number, message, immediate=None):
        """Sends a message, with an immediate if there is one."""
        memory, start = self._place(number, message)
        opcode = verbs.SEND if immediate is None else verbs.SEND_WITH_IMMEDIATE
        self.connections[number].post(
            opcode, memory, start, len(message), immediate=immediate or 0
        )

    def write(self, number, message, address, key, immediate=None):
        """Writes to the peer's memory, with an immediate if there is one."""
        memory, start = self._place(number, message)
        opcode = verbs.WRITE if immediate is None else verbs.WRITE_WITH_IMMEDIATE
        self.connections[number].post(
            *(opcode, memory, start, len(message)),
            remote=address,
            rkey=key,
            immediate=immediate or 0,
        )

    def _place(self, number, message):
        """Copies a message to where it is sent from; returns the memory and the offset."""
        assert self.slots == 1 or len(message) <= self.slot, f"{len(message)} bytes"
        memory, start = self.memories[number], self.sent % self.slots * self.slot
        self.sent += 1
        memory.bytes[start : start + len(message)] = message
        return memory, start

    def say(self, number, immediate):
        """Sends an immediate without data."""
        self.connections[number].post(verbs.WRITE_WITH_IMMEDIATE, immediate=immediate)

    def wait_for(self, look):
        """Waits until `look` finds something; raises `Ended` if the peer disconnects instead."""

        def look_at_all():
            if any(each.is_ended() for each in self.connections):
                raise verbs.Ended
            return look()

        return verbs.wait_for(look_at_all, self.seconds)

    def wait(self, *numbers):
        """Waits for a completion; returns the connection and the completion."""

        def look():
            for number in numbers:
                if found := self.connections[number].poll():
                    return number, found
            return None

        number, found = self.wait_for(look)
        if found.status:
            raise verbs.Ended
        return number, found

    def close(self):
        """Closes all connections."""
        for memory in self.memories:
            memory.close()
        for connection in self.connections:
            connection.close()
