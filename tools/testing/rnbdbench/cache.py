# SPDX-License-Identifier: GPL-2.0-only
"""Files and folders that are made once and kept, by several runs at the same time.

Each run is process 1 of a namespace of its own, so a process number is no name.
"""

import hashlib
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnbdbench import settings


def settle(made: Path, path: Path) -> None:
    """Puts what was made where it belongs, unless another run has done so meanwhile."""
    try:
        made.rename(path)
    except OSError:
        if not path.exists():
            raise


@contextmanager
def making(path: Path) -> Iterator[Path]:
    """A path beside `path`, that nobody else uses, for what becomes `path` after the block."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        yield made
        settle(made, path)


def shared_object(source: Path, *options: str) -> Path:
    """What a file in C becomes, for a program to load; compiled when there is no such one yet."""
    key = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    path = settings.cache() / f"{source.stem}-{key}.so"
    if not path.exists():
        common = ["-O2", "-Wall", "-Werror", "-shared", "-fPIC"]
        with making(path) as made:
            subprocess.run(["gcc-14", *common, "-o", made, source, *options], check=True)
    return path
