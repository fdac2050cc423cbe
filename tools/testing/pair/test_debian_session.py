# SPDX-License-Identifier: GPL-2.0-only
"""What README.md tells users to type, on Debian machines that have the packages."""

import re

import pytest

from rnbdbench import settings
from rnbdbench.debian import Debian
from rnbdbench.debian import Debians

pytestmark = [pytest.mark.long, pytest.mark.kernels("stock")]

OFFERED = (
    "bash -c '. /usr/share/bash-completion/completions/rnbdctl;"
    ' COMP_WORDS=(rnbdctl unmap ""); COMP_CWORD=2; _clap_complete_rnbdctl rnbdctl "";'
    " echo ${COMPREPLY[*]}'"
)
"""Prints what bash offers after `rnbdctl unmap `."""

BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def block(first: str) -> list[str]:
    """Returns the lines of the block below "Use it", with packages, whose first one begins so."""
    readme = (settings.TREE / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## Use it\n")[2].partition("\n### Without packages\n")[0]
    (found,) = (lines for lines in BLOCK.findall(section) if lines.startswith(first))
    # On a terminal it stays until a key is pressed.
    return found.replace("rnbdctl top ", "rnbdctl top --once ").splitlines()


def type_in(machine: Debian, first: str) -> dict[str, str]:
    """Types a block; returns what each command printed. They all succeed."""
    return {line.partition("#")[0].rstrip(): machine.guest.output(line) for line in block(first)}


def test_the_session_of_the_readme(debians: Debians) -> None:
    """A disk is exported, mapped, looked at and unmapped, and is attached by its name."""
    initiator, target = debians.both
    target.guest.run("modprobe brd rd_nr=1 rd_size=65536")
    type_in(target, 'echo "allow session')
    assert target.is_active("rnbd-server.service")

    printed = type_in(initiator, "modprobe rnbd_client")
    assert printed["rnbdctl map --session blya --path 10.50.100.66 /dev/ram0"] == "/dev/rnbd0"
    assert "rnbd0" in printed["rnbdctl list"]
    assert "rnbd0" in printed["rnbdctl top --once"]
    assert "session: blya (client), paths connected: 1" in printed["rnbdctl doctor"]
    assert not initiator.guest.exists("/dev/rnbd0")

    type_in(initiator, 'echo "data blya')
    assert initiator.guest.real("/dev/disk/by-rnbd/data") == "/dev/rnbd0"
    assert {"rnbd0", "data"} <= set(initiator.guest.output(OFFERED).split())

    initiator.guest.run("rnbdctl detach data")
    # The link is there as soon as the command is done.
    node = initiator.guest.output("rnbdctl attach --wait data && readlink /dev/disk/by-rnbd/data")
    assert node.split() == ["/dev/rnbd0", "../../rnbd0"]
