# SPDX-License-Identifier: GPL-2.0-only
"""A machine that asks for connections in the name of other addresses.

    claim.py <own address> <server address> <port> <claimed address>...

Sends for each claimed address a connect request, with a wrong magic, in a packet that the
program makes itself. The address of the packet and its GID are those of the machine; only the
header of the connection manager claims another one. Over soft-RoCE (RoCE v2, IPv4).
"""

import ipaddress
import os
import socket
import struct
import sys
import zlib

import transport

ROCE_PORT = 4791
SEND_ONLY = 0x64
"""Operation of a datagram."""

MANAGEMENT_KEY = 0x80010000
"""Q_Key of the queue pair 1, to which management datagrams go."""

CM_CLASS, SEND, CONNECT_REQUEST = 7, 3, 0x10
TCP_SERVICES = 0x0106 << 16
"""Service ids of the port space of `ip:` addresses; the low 16 bits are the port."""

NO_LID = 0xFFFF
MTU_1024 = 3


def packed(address):
    """Encodes an IPv4 address in 4 bytes."""
    return ipaddress.IPv4Address(address).packed


def gid(address):
    """Encodes the GID of an IPv4 address."""
    return bytes(10) + b"\xff\xff" + packed(address)


def connect_request(own, server, port, claimed, qp_num):
    """Encodes the management datagram.

    The connection manager takes a second request from a queue pair whose first one is not
    decided yet for a stale connection, and shows it to nobody.
    """
    request = transport.Request(magic=0x1234).encode()
    header = struct.pack(">BBBBHHQHHI", 1, CM_CLASS, 2, SEND, 0, 0, 1, CONNECT_REQUEST, 0, 0)
    body = struct.pack(
        ">IIQQIIIIIIHBBHH",
        *(int.from_bytes(os.urandom(4), "big"), 0, TCP_SERVICES | port),
        *(0, 0, 0),
        # The number of the queue pair; no reads; times and retries.
        *(qp_num << 8, 0, 20 << 3, 1 << 8 | 20 << 3 | 7),
        *(0xFFFF, MTU_1024 << 4 | 7, 15 << 4),
        *(NO_LID, NO_LID),
    )
    body += gid(own) + gid(server) + struct.pack(">IBBBB", 0, 0, 64, 0, 20 << 3)
    body = body.ljust(140, b"\0")
    addresses = struct.pack(">BBH12x4s12x4s", 0, 4 << 4, 12345, packed(claimed), packed(server))
    return (header + body + addresses + request).ljust(256, b"\0")


def packet(own, server, payload):
    """Encodes the IP packet of a datagram, with the checksum that RoCE appends."""
    transport_header = struct.pack(">BBHII", SEND_ONLY, 0, 0xFFFF, 1, 0)
    datagram_header = struct.pack(">II", MANAGEMENT_KEY, 1)
    length = 8 + len(transport_header) + len(datagram_header) + len(payload) + 4
    udp = struct.pack(">HHH", 0xC001, ROCE_PORT, length)

    def ip(service, hops, checksum):
        return struct.pack(
            ">BBHHHBBH4s4s",
            *(0x45, service, 20 + length, 1, 0x4000, hops, socket.IPPROTO_UDP, checksum),
            *(packed(own), packed(server)),
        )

    # Fields that switches change count as ones, and so does a header that Ethernet lacks.
    masked = b"\xff" * 8 + ip(0xFF, 0xFF, 0xFFFF) + udp + b"\xff\xff"
    masked += transport_header[:4] + b"\xff" + transport_header[5:] + datagram_header + payload
    checksum = struct.pack("<I", zlib.crc32(masked))
    return ip(0, 64, 0) + udp + b"\0\0" + transport_header + datagram_header + payload + checksum


def main():
    """Sends the requests."""
    own, server, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    for qp_num, claimed in enumerate(sys.argv[4:], start=17):
        payload = connect_request(own, server, port, claimed, qp_num)
        sender.sendto(packet(own, server, payload), (server, 0))


if __name__ == "__main__":
    main()
