# SPDX-License-Identifier: GPL-2.0-only
"""Soft-RoCE devices that behave as a device may, but soft-RoCE does not by itself."""

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnbdbench import cache
from rnbdbench import image
from rnbdbench import network
from rnbdbench.guest import Guest

_LOAD = "base64 -d >/tmp/{name} <<<{text} && insmod /tmp/{name} {parameters}"


@contextmanager
def _loaded(guest: Guest, source: Path, parameters: str = "") -> Iterator[None]:
    """Has a module loaded for a while in a guest with the stock kernel."""
    module = cache.kernel_module(source, Path(os.environ["RNBD_STOCK_BUILD"]))
    text = base64.b64encode(module.read_bytes()).decode()
    guest.run(_LOAD.format(name=f"{source.stem}.ko", text=text, parameters=parameters))
    try:
        yield
    finally:
        guest.run(f"rmmod {source.stem}")


@contextmanager
def stuck(guest: Guest) -> Iterator[None]:
    """Has all devices complete nothing for a while, and refuse to be drained."""
    with _loaded(guest, image.GUEST / "stuck_rxe.c"):
        yield


@contextmanager
def slow_to_arm(guest: Guest) -> Iterator[None]:
    """Has softirqs that have polled a queue take 20 ms to ask for its next event."""
    with _loaded(guest, image.GUEST / "slow_arm_rxe.c"):
        yield


@contextmanager
def limited(guest: Guest, **limits: int) -> Iterator[None]:
    """Has the first device tell and enforce lower limits for a while.

    They are named as in `struct ib_device_attr`. `send_space` is one that it does not tell: the
    most work requests of a send queue, each counted as often as it has segments.
    """
    words = [f"{name}={value}" for name, value in {"card": network.card_name(), **limits}.items()]
    with _loaded(guest, image.GUEST / "limited_rxe.c", " ".join(words)):
        yield
