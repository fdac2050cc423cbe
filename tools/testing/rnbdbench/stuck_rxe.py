# SPDX-License-Identifier: GPL-2.0-only
"""A soft-RoCE device that is stuck: it completes nothing, and refuses to be drained."""

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnbdbench import cache
from rnbdbench import image
from rnbdbench.guest import Guest

_SOURCE = image.GUEST / "stuck_rxe.c"
_LOAD = "base64 -d >/tmp/{name} <<<{text} && insmod /tmp/{name}"


@contextmanager
def stuck(guest: Guest) -> Iterator[None]:
    """Makes all soft-RoCE devices of a guest with the stock kernel stuck for a while."""
    module = cache.kernel_module(_SOURCE, Path(os.environ["RNBD_STOCK_BUILD"]))
    text = base64.b64encode(module.read_bytes()).decode()
    guest.run(_LOAD.format(name=f"{_SOURCE.stem}.ko", text=text))
    try:
        yield
    finally:
        guest.run(f"rmmod {_SOURCE.stem}")
