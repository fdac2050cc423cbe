# SPDX-License-Identifier: GPL-2.0-only
"""Module folders for guests: `/lib/modules/<release>` as modprobe wants it.

Debian's modules are many and compressed, and a guest needs few of them.  These, their
dependencies, and one set of RNBD drivers in `updates/` make a folder in the cache that
guests mount.
"""

import fcntl
import hashlib
import lzma
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from rnbdbench import cache
from rnbdbench import settings

WANTED = """
    9p 9pnet_virtio overlay virtio_net virtio_blk
    rdma_rxe siw rdma_cm ib_uverbs rdma_ucm ib_umad
    brd null_blk nbd loop ext4 xfs dm-mod dm-flakey dm-delay dm-thin-pool raid0 raid1 scsi_debug sd_mod
    dm-multipath dm-round-robin
    dummy veth bridge sch_netem sch_ingress cls_u32 act_gact
    nvme-rdma nvmet-rdma configfs crc32c-cryptoapi
""".split()
"""Modules that guests may load, by file name."""

BOOT = ["9p", "9pnet_virtio", "overlay"]
"""Modules that the initramfs loads to reach the root file system."""


def _stem(path: Path) -> str:
    """Returns the name of a module in the spelling of `depends:`."""
    return path.name.split(".ko")[0].replace("-", "_")


def _content(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    return path.read_bytes()


def _depends(content: bytes) -> list[str]:
    """Reads the `depends=` entry of a module's .modinfo section."""
    marker = b"\0depends="
    start = content.find(marker)
    if start < 0:
        return []
    start += len(marker)
    value = content[start : content.index(b"\0", start)].decode()
    return [name.replace("-", "_") for name in value.split(",") if name]


def _closure(kernel: settings.KernelFiles) -> dict[Path, bytes]:
    """Returns relative path and content of every wanted module, dependencies first."""
    index = {_stem(path): path for path in kernel.modules.rglob("*.ko*")}
    found: dict[Path, bytes] = {}

    def add(name: str) -> None:
        # A missing module is built in, or belongs to another kernel.
        path = index.get(name)
        if path is None:
            return
        relative = path.relative_to(kernel.modules).with_name(path.name.split(".ko")[0] + ".ko")
        if relative in found:
            return
        content = _content(path)
        for dependency in _depends(content):
            add(dependency)
        found[relative] = content

    for name in WANTED:
        add(name.replace("-", "_"))
    return found


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _fingerprint(path: Path) -> str:
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def base(kernel: settings.KernelFiles) -> Path:
    """Returns the folder with the kernel's own modules, decompressed; makes it once."""
    key = _digest([_fingerprint(kernel.vmlinuz), _fingerprint(kernel.modules), *WANTED])
    folder = settings.cache() / f"modules-{kernel.name}-{key}"
    if not folder.exists():
        with cache.making(folder) as made:
            made.mkdir()
            for relative, content in _closure(kernel).items():
                target = made / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
    return folder


def boot_modules(kernel: settings.KernelFiles) -> list[Path]:
    """Returns the module files for the initramfs, in the order of loading."""
    return in_order(base(kernel), BOOT)


def in_order(folder: Path, names: Iterable[str]) -> list[Path]:
    """Returns the files of modules in a folder and of those that they need, which go first."""
    index = {_stem(path): path for path in folder.rglob("*.ko")}
    ordered: list[Path] = []

    def add(name: str) -> None:
        path = index.get(name)
        if path is None or path in ordered:
            return
        for dependency in _depends(path.read_bytes()):
            add(dependency)
        ordered.append(path)

    for name in names:
        add(name)
    return ordered


_held: dict[Path, TextIO] = {}
"""Locks of the folders that guests of this process use."""


def _hold(folder: Path) -> None:
    """Keeps other runs from deleting a folder until this process ends."""
    if folder not in _held:
        lock = folder.with_suffix(".lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_SH)
        _held[folder] = lock


def _delete_unused(folders: Iterable[Path]) -> None:
    """Deletes folders that no running process holds."""
    for folder in folders:
        path = folder.with_suffix(".lock")
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(folder, ignore_errors=True)


def with_drivers(kernel: settings.KernelFiles, drivers: str) -> Path:
    """Returns a folder with the kernel's modules and one set of RNBD drivers.

    Each build of the drivers that is in use has one.
    """
    if drivers not in kernel.drivers:
        raise settings.Missing(f"no {drivers} drivers are built for kernel {kernel.name}")
    files = sorted(kernel.drivers[drivers].glob("*.ko"))
    if not files:
        raise settings.Missing(f"{kernel.drivers[drivers]} has no module files")
    # Debian's kernel lacks soft iWARP, so it is built together with the C drivers.
    siw = kernel.drivers.get("c", Path()) / "siw.ko"
    if drivers != "c" and siw.exists():
        files.append(siw)
    source = base(kernel)
    key = _digest([source.name, *map(_fingerprint, files)])
    name = f"guest-{kernel.name}-{drivers}"
    folder = settings.cache() / f"{name}-{key}"
    _hold(folder)
    if folder.exists():
        return folder
    others = [other for other in settings.cache().glob(f"{name}-*/") if other != folder]
    _delete_unused(others)
    with tempfile.TemporaryDirectory(dir=settings.cache()) as scratch:
        made = Path(scratch) / "lib" / "modules" / kernel.release
        shutil.copytree(source, made)
        (made / "updates").mkdir()
        for file in files:
            shutil.copy2(file, made / "updates")
        for listing in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
            # Some packages lack these files; depmod warns without them, but works.
            original = kernel.modules / listing
            (made / listing).write_bytes(original.read_bytes() if original.exists() else b"")
        subprocess.run(["depmod", "-b", scratch, kernel.release], check=True)
        cache.settle(made, folder)
    return folder
