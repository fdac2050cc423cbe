# SPDX-License-Identifier: GPL-2.0-only
"""The initramfs of a guest: its start-up programs, and programs that tests run in it.

Programs are in the initramfs, as a guest may not see this tree or the cache: these may be
below a folder such as /tmp, which a guest has of its own.
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
BUSYBOX = "usr/bin/busybox"


def program(name: str) -> str:
    """Returns the command that runs a program of `guest/` or `peer/` in a guest."""
    # The name of the folder is known to `guest/init`.
    return f"python3 -B /run/programs/{name}"


def _content(kernel: settings.KernelFiles) -> bytes:
    output = io.BytesIO()
    archive = Archive(output)
    archive.console()
    archive.copy("bin/busybox", kernel.root / BUSYBOX)
    archive.file("init", (GUEST / "init").read_bytes(), executable=True)
    names = []
    for module in modules.boot_modules(kernel):
        archive.file(f"modules/{module.name}", module.read_bytes())
        names.append(module.name)
    archive.file("boot-modules", "\n".join(names).encode() + b"\n")
    for source in sorted([*GUEST.glob("*.py"), *PEER.glob("*.py")]):
        archive.file(f"programs/{source.name}", source.read_bytes())
    if kernel.architecture == "amd64":
        library = cache.shared_object(PEER / "peer.c", "-Wextra", "-lrdmacm", "-libverbs")
        archive.file("programs/libpeer.so", library.read_bytes())
    archive.finish()
    return output.getvalue()


def initramfs(kernel: settings.KernelFiles) -> Path:
    """Returns the path of the initramfs for `kernel`; makes it if it is not in the cache."""
    content = _content(kernel)
    key = hashlib.sha256(content).hexdigest()[:16]
    path = settings.cache() / f"initramfs-{kernel.name}-{key}.cpio"
    if not path.exists():
        with cache.making(path) as made:
            made.write_bytes(content)
    return path
