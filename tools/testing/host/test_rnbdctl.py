# SPDX-License-Identifier: GPL-2.0-only
"""The program rnbdctl, tested by cargo on trees of files that look like sysfs."""

from rnbdbench import cargo
from rnbdbench import settings
from rnbdbench.settings import TREE

CRATE = TREE / "tools/rnbdctl"


def test_commands_on_a_machine_of_files() -> None:
    """What is written and printed, wrong input of each kind, the schema of JSON."""
    cargo.run(CRATE, "test", "--locked", "--quiet")


def test_no_clippy_warning() -> None:
    """Nothing that clippy objects to, tests included."""
    cargo.run(CRATE, "clippy", "--locked", "--quiet", "--all-targets", "--", "-D", "warnings")


def test_the_program_has_the_version_of_the_tree() -> None:
    """`rnbdctl --version` says what the modules and packages say."""
    version = settings.version()
    assert f'\nversion = "{version}"\n' in (CRATE / "Cargo.toml").read_text(), version
