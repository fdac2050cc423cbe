# SPDX-License-Identifier: GPL-2.0-only
"""A disk of nbd, and the server that it belongs to.

    nbd.py <node> <megabytes> <file for the server's process id>

While the server is stopped (SIGSTOP), requests wait: the driver sleeps in the task that gives
it one that does not fit into the socket.  The disk is there until this program is killed.
"""

import fcntl
import os
import socket
import struct
import sys

SET_SOCK, SET_BLOCK_SIZE, DO_IT, SET_BLOCKS = 0xAB00, 0xAB01, 0xAB03, 0xAB07
BLOCK = 4096

REQUEST, REQUEST_MAGIC = struct.Struct(">IHH8sQI"), 0x25609513
RESPONSE, RESPONSE_MAGIC = struct.Struct(">II8s"), 0x67446698
READ, WRITE = 0, 1


def receive(link, size):
    """Receives so many bytes; ends with the disk."""
    data = b""
    while len(data) < size:
        part = link.recv(size - len(data))
        if not part:
            raise SystemExit
        data += part
    return data


def serve(link, size):
    """Executes requests in memory."""
    memory = bytearray(size)
    while True:
        magic, _, kind, cookie, start, length = REQUEST.unpack(receive(link, REQUEST.size))
        assert magic == REQUEST_MAGIC, hex(magic)
        response = RESPONSE.pack(RESPONSE_MAGIC, 0, cookie)
        if kind == READ:
            response += memory[start : start + length]
        elif kind == WRITE:
            memory[start : start + length] = receive(link, length)
        else:
            raise SystemExit
        link.sendall(response)


def main():
    """Makes the disk."""
    node, size, file = sys.argv[1], int(sys.argv[2]) << 20, sys.argv[3]
    ours, theirs = socket.socketpair()
    server = os.fork()
    if not server:
        ours.close()
        serve(theirs, size)
    theirs.close()
    with open(node, "r+b", buffering=0) as disk:
        fcntl.ioctl(disk, SET_BLOCK_SIZE, BLOCK)
        fcntl.ioctl(disk, SET_BLOCKS, size // BLOCK)
        fcntl.ioctl(disk, SET_SOCK, ours.fileno())
        with open(file, "w", encoding="ascii") as output:
            output.write(f"{server}\n")
        fcntl.ioctl(disk, DO_IT)


if __name__ == "__main__":
    main()
