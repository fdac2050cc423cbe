# SPDX-License-Identifier: GPL-2.0-only
"""Files and folders that are made once and kept, by several runs at the same time.

Each run is process 1 of a namespace of its own, so a process number is no name.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
