# SPDX-License-Identifier: GPL-2.0-only
"""Keys in the keyring of a guest, once rtrs is loaded there."""

from rnbdbench import image
from rnbdbench.guest import Guest

WEB, OTHER = "57" * 32, "6f" * 32
"""Two keys, as hexadecimal digits."""


def add(guest: Guest, **values: str) -> None:
    """Adds keys, or replaces them; one without a value is removed."""
    words = " ".join(f"{name}={value}" for name, value in values.items())
    guest.run(f"{image.program('add_key.py')} {words}")
