# SPDX-License-Identifier: GPL-2.0-only
"""Runs cargo for the crates of the host. Their build is kept in the cache."""

import os
import subprocess
from pathlib import Path

import pytest

from rnbdbench import settings


def target() -> Path:
    """Returns the folder of the builds of all crates."""
    return Path(os.environ.get("CARGO_TARGET_DIR", settings.cache() / "cargo-target"))


def run(folder: Path, *arguments: str) -> None:
    """Runs cargo in the folder of a crate; fails the test with its output."""
    result = subprocess.run(
        ["cargo", *arguments],
        cwd=folder,
        env={**os.environ, "CARGO_TARGET_DIR": str(target())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        pytest.fail(f"cargo {' '.join(arguments)}\n{result.stdout[-8000:]}", pytrace=False)
