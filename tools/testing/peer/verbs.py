# SPDX-License-Identifier: GPL-2.0-only
"""RDMA connections and memory, by rdma-core and peer.c."""

import ctypes
import errno
import mmap
import os
import time

PRIVATE_DATA = 56
"""Bytes of private data that either side sends when it connects."""

WRITE, WRITE_WITH_IMMEDIATE, SEND, SEND_WITH_IMMEDIATE = range(4)
SEND_AND_INVALIDATE = 9
"""Operations of `Connection.post` (enum ibv_wr_opcode)."""

LIBRARY = ctypes.CDLL(os.path.join(os.path.dirname(__file__), "libpeer.so"))
"""The shared object of peer.c, beside this file."""


class Work(ctypes.Structure):
    """struct peer_work."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("id", "address", "remote")),
        *(
            (name, ctypes.c_uint32)
            for name in ("length", "lkey", "rkey", "opcode", "immediate")
        ),
    ]


class Completion(ctypes.Structure):
    """struct peer_completion."""

    _fields_ = [
        ("id", ctypes.c_uint64),
        *(
            (name, ctypes.c_uint32)
            for name in ("status", "length", "immediate", "has_immediate", "written")
        ),
    ]


LIBRARY.peer_register.restype = ctypes.c_void_p


def check(result):
    """Returns the result of a function of peer.c; raises if it is an error."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


class Ended(Exception):
    """The other side has ended the connection."""


class Refused(Exception):
    """The other side does not want the connection."""

    def __init__(self, private):
        super().__init__(private)
        self.private = private


class Memory:
    """Memory that the device of a connection, and the other side, can use."""

    def __init__(self, connection, size):
        self.bytes = mmap.mmap(-1, size)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))
        lkey, rkey = ctypes.c_uint32(), ctypes.c_uint32()
        self._region = LIBRARY.peer_register(
            connection.id,
            ctypes.c_void_p(self.address),
            ctypes.c_size_t(size),
            ctypes.byref(lkey),
            ctypes.byref(rkey),
        )
        if not self._region:
            raise OSError("no memory region")
        self.lkey, self.rkey = lkey.value, rkey.value

    def close(self):
        """Takes it back."""
        LIBRARY.peer_forget(ctypes.c_void_p(self._region))


def connect(host, port, private):
    """A connection, made with `private` for the other side; `Refused` if that says no."""
    assert len(private) == PRIVATE_DATA
    connection = ctypes.c_void_p()
    response = ctypes.create_string_buffer(PRIVATE_DATA)
    result = LIBRARY.peer_connect(
        host.encode(), port.encode(), private, response, ctypes.byref(connection)
    )
    if result == -errno.ECONNREFUSED:
        raise Refused(response.raw)
    check(result)
    return Connection(connection, response.raw)


class Listener:
    """A place for others to connect to."""

    def __init__(self, host, port):
        self._id = ctypes.c_void_p()
        check(LIBRARY.peer_listen(host.encode(), port.encode(), ctypes.byref(self._id)))

    def take(self):
        """Returns the next connect request, to be accepted or refused; or None."""
        connection = ctypes.c_void_p()
        data = ctypes.create_string_buffer(PRIVATE_DATA)
        if not check(LIBRARY.peer_take(self._id, data, ctypes.byref(connection))):
            return None
        return Connection(connection, data.raw)


class Connection:
    """One connection."""

    def __init__(self, id_, said):
        self.id = id_
        self.said = said
        """The private data of the other side."""
        self.ended = False

    def accept(self, response):
        """Says yes to one that was taken."""
        check(LIBRARY.peer_accept(self.id, response))

    def refuse(self, response=b""):
        """Says no to one that was taken."""
        LIBRARY.peer_refuse(self.id, response, len(response))

    def close(self):
        """Ends it."""
        # Destroying one whose disconnect was reported already would wait for a timeout.
        LIBRARY.peer_end(self.id, int(not self.ended))

    def post(self, opcode, memory=None, start=0, length=0, **work):
        """Posts `length` bytes of memory to be sent, or written."""
        request = Work(opcode=opcode, length=length, **work)
        if memory:
            request.address, request.lkey = memory.address + start, memory.lkey
        check(LIBRARY.peer_post(self.id, ctypes.byref(request)))

    def receive(self, memory, start, length):
        """Has what is sent next put there; `start` is the id of its completion."""
        work = Work(
            id=start, address=memory.address + start, lkey=memory.lkey, length=length
        )
        check(LIBRARY.peer_receive(self.id, ctypes.byref(work)))

    def is_ended(self):
        """Whether the other side has ended it."""
        self.ended = self.ended or bool(check(LIBRARY.peer_is_ended(self.id)))
        return self.ended

    def poll(self):
        """What was received next, or None. What was sent is only taken out of the queue."""
        completion = Completion()
        while check(LIBRARY.peer_poll(self.id, 1, ctypes.byref(completion))):
            pass
        found = check(LIBRARY.peer_poll(self.id, 0, ctypes.byref(completion)))
        return completion if found else None


def wait_for(condition, seconds):
    """What `condition` returns, once that is something; `TimeoutError` if it never does."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.002)
