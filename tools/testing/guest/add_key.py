# SPDX-License-Identifier: GPL-2.0-only
"""Adds keys to the keyring `.rnbd`, as keyctl of Debian's keyutils does.

    add_key.py <name>=<hexadecimal digits>...

A key that exists gets a new value; without a value it is removed.
"""

import ctypes
import os
import sys

ADD_KEY, KEYCTL = (248, 250) if os.uname().machine == "x86_64" else (217, 219)
KEYCTL_LINK, KEYCTL_UNLINK, KEYCTL_SEARCH = 8, 9, 10
PROCESS_KEYRING = ctypes.c_int32(-2)

LIBC = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    """Makes a system call; returns its result."""
    result = LIBC.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return ctypes.c_int32(result)


def keyring():
    """Returns the serial number of the keyring."""
    with open("/proc/keys", encoding="ascii") as keys:
        for line in keys:
            words = line.split(maxsplit=8)
            if words[7] == "keyring" and words[8].startswith(".rnbd:"):
                return ctypes.c_int32(int(words[0], 16))
    raise SystemExit("there is no keyring .rnbd: rtrs is not loaded")


def main():
    """Adds or removes keys."""
    ring = keyring()
    # Only who possesses a key may change it.
    call(KEYCTL, KEYCTL_LINK, ring, PROCESS_KEYRING)
    for word in sys.argv[1:]:
        name, _, digits = word.partition("=")
        description, value = f"rnbd:{name}".encode(), bytes.fromhex(digits)
        if value:
            call(ADD_KEY, b"logon", description, value, ctypes.c_size_t(len(value)), ring)
        else:
            found = call(KEYCTL, KEYCTL_SEARCH, ring, b"logon", description, 0)
            call(KEYCTL, KEYCTL_UNLINK, found, ring)


if __name__ == "__main__":
    main()
