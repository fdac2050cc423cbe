# SPDX-License-Identifier: GPL-2.0-only
"""What both ends of a path have: connections, memory for each, and waiting for the other."""

import verbs


class End:
    """One end of a path. What is sent is put at the start of a connection's memory."""

    def __init__(self, seconds):
        """`seconds` is how long to wait for anything."""
        self.seconds = seconds
        self.connections, self.memories = [], []

    def add(self, connection, room):
        """Takes in the next connection, with so many bytes of memory."""
        self.connections.append(connection)
        self.memories.append(verbs.Memory(connection, room))

    def receive(self, number, start, length, count=1):
        """Has the next messages put there, one behind the other."""
        for index in range(count):
            self.connections[number].receive(
                self.memories[number], start + index * length, length
            )

    def send(self, number, message, immediate=None):
        """Sends a message as it is, with an immediate if there is one."""
        memory = self.memories[number]
        memory.bytes[: len(message)] = message
        opcode = verbs.SEND if immediate is None else verbs.SEND_WITH_IMMEDIATE
        self.connections[number].post(
            opcode, memory, 0, len(message), immediate=immediate or 0
        )

    def write(self, number, message, address, key, immediate=None):
        """Writes to the other end's memory, and says so if there is an immediate."""
        memory = self.memories[number]
        memory.bytes[: len(message)] = message
        opcode = verbs.WRITE if immediate is None else verbs.WRITE_WITH_IMMEDIATE
        self.connections[number].post(
            *(opcode, memory, 0, len(message)),
            remote=address,
            rkey=key,
            immediate=immediate or 0,
        )

    def say(self, number, immediate):
        """Sends an immediate, and nothing else."""
        self.connections[number].post(verbs.WRITE_WITH_IMMEDIATE, immediate=immediate)

    def wait_for(self, look):
        """What `look` finds; `Ended` is raised when the other end goes instead."""

        def look_at_all():
            if any(each.is_ended() for each in self.connections):
                raise verbs.Ended
            return look()

        return verbs.wait_for(look_at_all, self.seconds)

    def wait(self, *numbers):
        """The next thing that arrives on one of the connections, and on which."""

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
        """Ends all of it."""
        for memory in self.memories:
            memory.close()
        for connection in self.connections:
            connection.close()
