# SPDX-License-Identifier: GPL-2.0-only
"""Proofs of keys, by another implementation than that of the kernel modules.

Documentation/protocol.md has their definition.
"""

import hmac
import os
import struct

ASK = 1 << 5
"""The flag by which a client asks for authentication."""

AGREE = 1 << 29
"""The flag by which a server agrees."""

SIZE = 32
"""Bytes of a nonce, and of a proof."""

NONCE = 20
"""The offset of the nonce in an accept."""

CLIENT, SERVER = b"rnbd-auth-1 client proof", b"rnbd-auth-1 server proof"

NAME, KEY = b"rogue", b"the key of the rogues, 32 bytes."
"""A key that the peers and the kernel have, as the test adds it."""


def hello(request, accept):
    """Returns the part of a transcript that is about one connection."""
    return bytes(2) + request[2:56] + accept[:56]


def proof(label, hellos, *messages, key=KEY):
    """Computes a proof."""
    return hmac.new(key, label + b"".join(hellos) + b"".join(messages), "sha256").digest()


def info_req(plain, hellos, name=NAME, key=KEY, label=CLIENT):
    """Adds a key's name, a nonce and a proof to an INFO_REQ."""
    signed = plain + struct.pack("64s", name) + os.urandom(SIZE)
    return signed + proof(label, hellos, signed, key=key)
