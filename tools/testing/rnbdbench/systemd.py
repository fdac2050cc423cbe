# SPDX-License-Identifier: GPL-2.0-only
"""A guest that systemd runs, with udev, units and /etc/fstab, as a Debian machine.

A guest begins with the agent as process 1. Here systemd takes its place, and the agent becomes a
unit. A reboot is one of userspace (`systemctl soft-reboot`): systemd stops all units in order and
starts them again. The kernel and what was written to the root file system stay.
"""

import shlex
from pathlib import Path

from rnbdbench import settings
from rnbdbench.guest import BOOT_TIMEOUT
from rnbdbench.guest import Guest
from rnbdbench.network import MTU
from rnbdbench.network import Address
from rnbdbench.network import card_name
from rnbdbench.rnbdctl import PROGRAM
from rnbdbench.rnbdctl import Rnbdctl

BOOT = settings.TREE / "tools/boot"
UNITS = "/usr/lib/systemd/system"

INSTALLED = {
    "systemd/rnbd-attach@.service": UNITS,
    "systemd/rnbd-server.service": UNITS,
    "systemd/rnbd-shutdown.service": UNITS,
    "systemd/rnbd-arrays.service": UNITS,
    "systemd/rnbd-generator": "/usr/lib/systemd/system-generators",
    "udev/60-rnbd.rules": "/usr/lib/udev/rules.d",
}
"""Files of tools/boot/ and their folders on a machine."""

AGENT = f"{UNITS}/bench-agent.service"
FSTAB = "modules /usr/lib/modules/{release} 9p ro,trans=virtio,version=9p2000.L,cache=loose 0 0\n"

MASKED = (
    "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer"
    " e2scrub_reap.service fstrim.timer getty.target nvmefc-boot-connections.service"
    " nvmf-autoconnect.service xfs_scrub_all.timer ldconfig.service systemd-firstboot.service"
    " systemd-hwdb-update.service systemd-journal-catalog-update.service systemd-sysusers.service"
).split()
"""Units that take time and that no test is about."""


def network_unit(address: Address) -> str:
    """Returns the file of systemd-networkd for a machine's network card."""
    return (
        f"[Match]\nName={card_name()}\n[Link]\nMTUBytes={MTU}\n"
        f"[Network]\nAddress={address.v4}/24\nAddress={address.v6}/64\n"
        "IPv6AcceptRA=no\nKeepConfiguration=yes\n"
    )


class Systemd:
    """Commands for a guest that systemd runs."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def file(self, path: str, text: str) -> None:
        """Writes a file."""
        self.guest.run(
            f"mkdir -p $(dirname '{path}') && printf %s {shlex.quote(text)} > '{path}'"
        )

    def systemctl(self, *words: str) -> int:
        """Returns the exit code of systemctl."""
        return self.guest.run(f"systemctl {shlex.join(words)}", check=False).code

    def is_active(self, unit: str) -> bool:
        """Returns whether a unit is active."""
        return self.systemctl("-q", "is-active", unit) == 0

    def wait_active(self, unit: str, timeout: float = 90.0) -> None:
        """Waits until a unit is active."""
        self.guest.wait_until(lambda: self.is_active(unit), unit, timeout)

    def journal(self, *arguments: str) -> list[str]:
        """Returns lines of the journal, without times."""
        return self.guest.output(
            f"journalctl --no-pager -q -o cat {shlex.join(arguments)}"
        ).splitlines()


class Machine(Systemd):
    """A guest that systemd runs."""

    def __init__(self, guest: Guest, address: Address) -> None:
        """Installs files in a guest, which has the network already."""
        super().__init__(guest)
        self._fstab = FSTAB.format(release=guest.kernel.release)
        self.file("/etc/machine-id", f"{'0' * 31}1\n")
        self.file("/etc/fstab", self._fstab)
        self.file(
            AGENT,
            "[Unit]\nDescription=Agent of the bench\n"
            "[Service]\nExecStart=/usr/bin/python3 -I -S /run/programs/agent.py\n"
            "[Install]\nWantedBy=multi-user.target\n",
        )
        self.file("/etc/systemd/network/bench.network", network_unit(address))
        # The console, not the journal, which ends before some units do.
        self.file(
            "/etc/systemd/system.conf.d/bench.conf", "[Manager]\nShowStatus=no\nLogTarget=kmsg\n"
        )
        Rnbdctl(guest)
        self.guest.run(f"cp {PROGRAM} /usr/bin/rnbdctl")
        for name, folder in INSTALLED.items():
            self.install(BOOT / name, folder)
        self.guest.run(
            "systemctl -q set-default multi-user.target"
            f" && systemctl -q mask {' '.join(MASKED)}"
            " && systemctl -q enable bench-agent systemd-networkd systemd-networkd-wait-online",
        )

    def install(self, source: Path, folder: str) -> None:
        """Copies a file of the tree, with its mode."""
        self.file(f"{folder}/{source.name}", source.read_text(encoding="utf-8"))
        self.guest.run(f"chmod {source.stat().st_mode & 0o777:o} '{folder}/{source.name}'")

    def fstab(self, lines: str) -> None:
        """Writes lines of /etc/fstab."""
        self.file("/etc/fstab", self._fstab + lines)

    def boot(self) -> None:
        """Lets systemd take over, and waits until it has started the agent."""
        channel = self.guest.channel
        channel.expect_agent()
        channel.send({"do": "replace", "command": ["/usr/lib/systemd/systemd"]})
        self._wait()

    def reboot(self) -> None:
        """Stops all units, and starts them again."""
        self.guest.channel.expect_agent()
        self.guest.channel.send({"do": "run", "command": "systemctl --no-block soft-reboot"})
        self._wait()

    def _wait(self) -> None:
        self.guest.channel.reply(0, BOOT_TIMEOUT * self.guest.patience)
