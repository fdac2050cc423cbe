# SPDX-License-Identifier: GPL-2.0-only
"""Files and folders that are made once and kept, with several runs at the same time.

Each run has a PID namespace of its own, so a process number is not unique.
"""

import hashlib
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnbdbench import settings


def settle(made: Path, path: Path) -> None:
    """Moves a new file or folder to its path, unless another run has done so."""
    try:
        made.rename(path)
    except OSError:
        if not path.exists():
            raise


@contextmanager
def making(path: Path) -> Iterator[Path]:
    """Provides a path beside `path` that is unique, and that becomes `path` after the block."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        yield made
        settle(made, path)


def shared_object(source: Path, *options: str) -> Path:
    """Returns the shared object of a C file; compiles it if it is not in the cache."""
    key = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    path = settings.cache() / f"{source.stem}-{key}.so"
    if not path.exists():
        common = ["-O2", "-Wall", "-Werror", "-shared", "-fPIC"]
        with making(path) as made:
            subprocess.run(["gcc-14", *common, "-o", made, source, *options], check=True)
    return path


def kernel_module(source: Path, build: Path) -> Path:
    """Returns the module of a C file for the kernel in `build`; compiles it if need be."""
    files = [source, *sorted(source.parent.glob("*.h"))]
    content = b"".join(file.read_bytes() for file in files)
    key = hashlib.sha256(content + str(build).encode()).hexdigest()[:16]
    path = settings.cache() / f"{source.stem}-{key}.ko"
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder, making(path) as made:
            for file in files:
                (Path(folder) / file.name).write_bytes(file.read_bytes())
            (Path(folder) / "Kbuild").write_text(f"obj-m := {source.stem}.o\n", encoding="utf-8")
            subprocess.run(["make", "-C", build, f"M={folder}", "modules"], check=True)
            built = Path(folder) / f"{source.stem}.ko"
            subprocess.run(["strip", "--strip-debug", "-o", made, built], check=True)
    return path
