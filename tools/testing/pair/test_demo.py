# SPDX-License-Identifier: GPL-2.0-only
"""The demo, which a new user tries first."""

import subprocess

from rnbdbench import settings


def test_demo_runs_to_its_end() -> None:
    """Every step, in guests of its own."""
    command = [settings.TESTING / "demo"]
    demo = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert demo.returncode == 0, demo.stdout
    assert "demo passed" in demo.stdout.splitlines()[-1], demo.stdout
