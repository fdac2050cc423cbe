# SPDX-License-Identifier: GPL-2.0-only
"""The initramfs of a guest: what brings it up, and what the tests run in it.

The latter is there and not found in this tree or in the cache, as a guest has folders of
its own in place of some of the machine's: these may be below /tmp.
"""

import hashlib
import io
from pathlib import Path

from rnbdbench import cache
from rnbdbench import modules
from rnbdbench import settings
from rnbdbench.cpio import Archive

GUEST = settings.TESTING / "guest"
PEER = settings.TESTING / "peer"
BUSYBOX = Path("/usr/bin/busybox")


def program(name: str) -> str:
    """The command for a guest that runs one of the programs of `guest/` and `peer/`."""
    # The name of the folder is known to `guest/init`.
    return f"python3 -B /run/programs/{name}"


def _content(kernel: settings.KernelFiles) -> bytes:
    output = io.BytesIO()
    archive = Archive(output)
    archive.console()
    archive.copy("bin/busybox", BUSYBOX)
    archive.file("init", (GUEST / "init").read_bytes(), executable=True)
    names = []
    for module in modules.boot_modules(kernel):
        archive.file(f"modules/{module.name}", module.read_bytes())
        names.append(module.name)
    archive.file("boot-modules", "\n".join(names).encode() + b"\n")
    for source in sorted([*GUEST.glob("*.py"), *PEER.glob("*.py")]):
        archive.file(f"programs/{source.name}", source.read_bytes())
    library = cache.shared_object(PEER / "peer.c", "-Wextra", "-lrdmacm", "-libverbs")
    archive.file("programs/libpeer.so", library.read_bytes())
    archive.finish()
    return output.getvalue()


def initramfs(kernel: settings.KernelFiles) -> Path:
    """Path of the initramfs for `kernel`; made when there is no such one yet."""
    content = _content(kernel)
    key = hashlib.sha256(content).hexdigest()[:16]
    path = settings.cache() / f"initramfs-{kernel.name}-{key}.cpio"
    if not path.exists():
        with cache.making(path) as made:
            made.write_bytes(content)
    return path
