# SPDX-License-Identifier: GPL-2.0-only
"""The protocol crate, tested by cargo on the host."""

import os
import subprocess

import pytest

from rnbdbench import settings

PROTO = settings.TREE / "proto"
FUZZ_SECONDS = "60"


def _run(*command: str) -> None:
    environment = dict(os.environ)
    environment.setdefault("CARGO_TARGET_DIR", str(settings.cache() / "cargo-target"))
    result = subprocess.run(
        command,
        cwd=PROTO,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        pytest.fail(f"{' '.join(command)}\n{result.stdout[-8000:]}", pytrace=False)


def test_units_and_properties() -> None:
    """Layouts, round trips, malformed input, decisions."""
    _run("cargo", "test", "--locked", "--quiet")


def test_no_clippy_warning() -> None:
    """Nothing that clippy objects to, tests included."""
    _run("cargo", "clippy", "--locked", "--quiet", "--all-targets", "--", "-D", "warnings")


def test_formatting() -> None:
    """What rustfmt would write."""
    _run("cargo", "fmt", "--check")


def test_fuzzer_finds_nothing_in_a_minute() -> None:
    """Every parser, with random input."""
    _run("fuzz/run.sh", FUZZ_SECONDS)
