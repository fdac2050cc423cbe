# SPDX-License-Identifier: GPL-2.0-only
"""A guest that only loads and unloads the modules, for kernels that lack what tests need.

Kernels for clouds have no file system and no RDMA device for a `Guest`.
"""

import io
from pathlib import Path

from rnbdbench import image
from rnbdbench import machine
from rnbdbench import modules
from rnbdbench import settings
from rnbdbench.cpio import Archive
from rnbdbench.process import spawn

TIMEOUT = 120.0
"""Seconds that the guest takes at most."""

ENDS = ["rnbd_server", "rnbd_client"]


def _initramfs(kernel: settings.KernelFiles) -> bytes:
    output = io.BytesIO()
    archive = Archive(output)
    archive.console()
    archive.copy("bin/busybox", kernel.root / image.BUSYBOX)
    archive.file("init", (image.GUEST / "init-load").read_bytes(), executable=True)
    files = list(modules.in_order(modules.with_drivers(kernel, "rust"), ENDS))
    for file in files:
        archive.file(f"modules/{file.name}", file.read_bytes())
    names = "\n".join(file.name.removesuffix(".ko") for file in files)
    archive.file("load-modules", f"{names}\n".encode())
    archive.finish()
    return output.getvalue()


def load_and_unload(kernel: settings.KernelFiles, folder: Path) -> str:
    """Boots a guest that does so (`guest/init-load`); returns its kernel log."""
    initramfs = folder / "initramfs.cpio"
    initramfs.write_bytes(_initramfs(kernel))
    console = folder / "console"
    command = [
        *machine.command(kernel.architecture),
        *machine.processor(kernel.architecture),
        *("-smp", "2", "-m", "1G", "-no-reboot"),
        *("-kernel", str(kernel.vmlinuz), "-initrd", str(initramfs)),
        *("-append", "console=hvc0 ignore_loglevel panic=-1"),
        *("-device", "virtio-serial-pci,max_ports=2"),
        *("-chardev", f"file,id=console,path={console}"),
        *("-device", "virtconsole,chardev=console"),
    ]
    process = spawn(command, folder / "qemu", [])
    try:
        process.wait(TIMEOUT * settings.PATIENCE)
    finally:
        process.kill()
        process.wait()
    return console.read_text(encoding="utf-8", errors="replace").replace("\r", "")
