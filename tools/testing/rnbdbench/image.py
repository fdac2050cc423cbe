# SPDX-License-Identifier: GPL-2.0-only
"""The initramfs of a guest."""

import hashlib
import io
from pathlib import Path

from rnbdbench import cache
from rnbdbench import modules
from rnbdbench import settings
from rnbdbench.cpio import Archive

GUEST = settings.TESTING / "guest"
BUSYBOX = Path("/usr/bin/busybox")


def _content(kernel: settings.KernelFiles) -> bytes:
    output = io.BytesIO()
    archive = Archive(output)
    archive.console()
    archive.copy("bin/busybox", BUSYBOX)
    archive.file("init", (GUEST / "init").read_bytes(), executable=True)
    archive.file("agent.py", (GUEST / "agent.py").read_bytes())
    names = []
    for module in modules.boot_modules(kernel):
        archive.file(f"modules/{module.name}", module.read_bytes())
        names.append(module.name)
    archive.file("boot-modules", "\n".join(names).encode() + b"\n")
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
