# SPDX-License-Identifier: GPL-2.0-only
"""Lines in the kernel's log that tell a test how far a peer is."""


def tell(text):
    """Writes a line to the kernel's log."""
    with open("/dev/kmsg", "w", encoding="ascii") as log:
        log.write(f"rnbdbench: {text}\n")
