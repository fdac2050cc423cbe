# SPDX-License-Identifier: GPL-2.0-only
"""The program rnbdctl, run in a guest."""

import base64
import json
import lzma
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from rnbdbench import cargo
from rnbdbench.commands import Result
from rnbdbench.guest import Guest
from rnbdbench.settings import TREE

CRATE = TREE / "tools/rnbdctl"
PROGRAM = "/run/rnbdctl"


def _packed() -> str:
    """Builds the program and returns it without symbols, compressed, as text."""
    cargo.run(CRATE, "build", "--locked", "--quiet")
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder) / "rnbdctl"
        subprocess.run(["strip", "-o", stripped, cargo.target() / "debug/rnbdctl"], check=True)
        return base64.b64encode(lzma.compress(stripped.read_bytes(), preset=1)).decode()


class Rnbdctl:
    """The program in a guest."""

    def __init__(self, guest: Guest) -> None:
        """Copies the program to the guest, which need not see the folder of the build."""
        self.guest = guest
        if guest.exists(PROGRAM):
            return
        guest.run(f"touch {PROGRAM}.packed")
        # Not by Guest.write, which would log a megabyte.
        order = {"do": "write", "path": f"{PROGRAM}.packed", "text": _packed()}
        assert guest.channel.ask(order, 60)["errno"] == 0
        guest.run(f"base64 -d {PROGRAM}.packed | xz -d > {PROGRAM} && chmod +x {PROGRAM}")

    def run(self, *arguments: str) -> Result:
        """Runs it, whatever its exit code is."""
        return self.guest.run(shlex.join([PROGRAM, *arguments]), check=False)

    def output(self, *arguments: str) -> str:
        """Runs it, which must succeed without a complaint; returns its output."""
        result = self.run(*arguments)
        assert (result.code, result.stderr) == (0, ""), f"{arguments}: {result}"
        return result.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        """Runs it with --json; returns the object."""
        found: dict[str, Any] = json.loads(self.output("--json", *arguments))
        return found

    def fails(self, code: int, says: str, *arguments: str) -> str:
        """Runs it, which must fail with this exit code and these words; returns all of them."""
        result = self.run(*arguments)
        assert result.code == code and says in result.stderr, f"{arguments}: {result}"
        return result.stderr
