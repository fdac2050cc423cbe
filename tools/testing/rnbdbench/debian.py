# SPDX-License-Identifier: GPL-2.0-only
"""Guests that are Debian machines, with a disk that stays when they reboot or lose power.

Each has a copy of the disk of tools/build/debian-image.sh.  The packages of build/deb are
installed by apt, and configured as Documentation/boot.md tells users.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rnbdbench import machine
from rnbdbench import settings
from rnbdbench import specification
from rnbdbench.commands import Job
from rnbdbench.commands import Result
from rnbdbench.guest import BOOT_TIMEOUT
from rnbdbench.guest import Guest
from rnbdbench.network import INITIATOR
from rnbdbench.network import TARGET
from rnbdbench.network import Address
from rnbdbench.network import card_name
from rnbdbench.network import rdma_name
from rnbdbench.systemd import Systemd
from rnbdbench.systemd import network_unit

PACKAGES = settings.TREE / "build/deb"
"""Where `make deb` leaves them."""

APT = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0"

OURS = "./rnbd-modules-*.deb ./rnbd-tools_*.deb"
"""What apt installs, in /root, where commands run."""

FSTAB = "/dev/vda / ext4 errors=remount-ro 0 1\n"

VOLUMES = "vg0"
"""Volume group on the second disk of the target, whose volumes it exports."""

WHOLE = "/dev/nvme0n1"
"""A disk of the target that has an identity."""

SIZES = {"data": 4 << 30, "whole": 64 << 20}
"""Bytes of the disks besides the one with Debian, in sparse files."""

RXE = f"""\
[Unit]
Description=Soft-RoCE on {card_name()}
Requires=sys-subsystem-net-devices-{card_name()}.device
After=sys-subsystem-net-devices-{card_name()}.device
Before=network.target network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/modprobe rdma_rxe
ExecStart=/usr/bin/rdma link add {rdma_name()} type rxe netdev {card_name()}
ExecStop=/usr/bin/rdma link delete {rdma_name()}

[Install]
WantedBy=multi-user.target
"""
"""The unit of Documentation/boot.md."""


def line(name: str, device: str = "", options: str = "-") -> str:
    """Returns a line of rnbdtab, for a volume of the target with the same name."""
    return f"{name} blya {TARGET.v4} {device or f'/dev/{VOLUMES}/{name}'} {options}\n"


def _image() -> Path:
    path = Path(os.environ.get("RNBD_DEBIAN", ""))
    if not (path / "disk").exists():
        raise settings.Missing("there is no disk of a Debian machine: make check-long prepares it")
    if not list(PACKAGES.glob("*.deb")):
        raise settings.Missing(f"there are no packages in {PACKAGES}: make deb")
    return path


@dataclass(frozen=True)
class Specification(specification.Specification):
    """The configuration of a Debian machine."""

    folder: Path = Path()
    """Where its disks are while it exists."""

    def _disk(self, name: str) -> Path:
        return self.folder / f"{self.name}.{name}"

    def prepare(self) -> None:
        """Makes its disks: a copy of Debian's, and empty ones."""
        copy = ["cp", "--reflink=auto", "--sparse=always", _image() / "disk", self._disk("root")]
        subprocess.run(copy, check=True)
        for name, size in SIZES.items():
            with self._disk(name).open("wb") as file:
                file.truncate(size)

    def command(
        self, kernel: settings.KernelFiles, console: Path, agent: int, monitor: int
    ) -> list[str]:
        """Returns the command that powers the machine on."""
        parameters = [
            *specification.KERNEL_PARAMETERS,
            "root=/dev/vda ro",
            # The processor is emulated: one that is not run for a second has no broken clock.
            "tsc=reliable",
            f"systemd.hostname={self.name}",
            f"systemd.machine_id={self.name.encode().hex():0>32}",
            # The console, not the journal, which ends before some units do.
            "systemd.log_target=kmsg systemd.show_status=no",
        ]
        image = _image()
        share = "security_model=none,readonly=on,multidevs=remap"
        disks = ["-device", "nvme,id=nvme0,serial=bench"]
        for name, device in {
            "root": "virtio-blk-pci",
            "data": "virtio-blk-pci",
            # With an identity of 16 hexadecimal digits.
            "whole": "nvme-ns,bus=nvme0,eui64=0x5254005000000042",
        }.items():
            # What the machine has written survives QEMU, and need not survive this machine.
            options = f"if=none,id={name},format=raw,cache=unsafe,file={self._disk(name)}"
            disks += ["-drive", options, "-device", f"{device},drive={name}"]
        return [
            *machine.command(kernel.architecture),
            *machine.processor(kernel.architecture),
            *("-smp", str(self.cpus), "-m", specification.MEMORY),
            *("-kernel", str(image / "vmlinuz")),
            *("-initrd", str(image / "initrd.img")),
            *("-append", " ".join(parameters)),
            *("-virtfs", f"local,path={PACKAGES},mount_tag=packages,{share}"),
            *specification.connections(console, agent, monitor),
            *disks,
            *self.network,
        ]


class Debian(Systemd):
    """A Debian machine that runs."""

    def begin_set_up(self, address: Address) -> Job:
        """Starts configuring the network, soft-RoCE and volumes of a new machine."""
        self.file("/etc/systemd/network/bench.network", network_unit(address))
        self.file("/etc/systemd/system/rxe.service", RXE)
        return self.guest.begin(
            "{ systemctl is-system-running --wait || true; }"
            " && systemctl -q enable --now systemd-networkd systemd-networkd-wait-online rxe"
            " && systemctl start network-online.target"
            f" && pvcreate -q /dev/vdb && vgcreate -q {VOLUMES} /dev/vdb"
            " && mount -t 9p -o ro,trans=virtio,version=9p2000.L packages /mnt"
            " && cp /mnt/*.deb /root && umount /mnt"
        )

    def apt(self, command: str, check: bool = True) -> Result:
        """Runs apt-get."""
        return self.guest.run(f"{APT} {command}", timeout=300, check=check)

    def configure(self, rnbdtab: str = "", fstab: str = "", exports: str = "") -> None:
        """Writes configuration files."""
        self.file("/etc/rnbd/rnbdtab", rnbdtab)
        self.file("/etc/fstab", FSTAB + fstab)
        self.file("/etc/rnbd/exports", exports)
        self.guest.run("systemctl daemon-reload")

    def attach(self, *names: str) -> None:
        """Attaches devices that are in rnbdtab."""
        for name in names:
            self.guest.run(f"systemctl start rnbd-attach@{name}", timeout=120)

    def volume(self, name: str, megabytes: int = 256) -> str:
        """Makes a volume of the target; returns its path."""
        self.guest.run(f"lvcreate -q -y -Wy -n {name} -L {megabytes}M {VOLUMES}")
        return f"/dev/{VOLUMES}/{name}"

    def begin_reboot(self) -> None:
        """Starts a reboot, by systemd."""
        self.guest.channel.expect_agent()
        self.guest.channel.send({"do": "run", "command": "systemctl --no-block reboot"})

    def wait_up(self) -> None:
        """Waits for the agent, which is there before the machine has booted."""
        self.guest.channel.reply(0, 2 * BOOT_TIMEOUT * self.guest.patience)

    def reboot(self) -> None:
        """Reboots; returns when the machine has booted."""
        self.begin_reboot()
        self.wait_up()
        self.wait_booted()

    def power_on(self) -> None:
        """Powers a machine on whose power was cut; returns before it has booted."""
        self.guest.start()
        self.guest.wait_ready()

    def wait_booted(self) -> str:
        """Waits until systemd has started everything; returns the machine's state."""
        result = self.guest.run("systemctl is-system-running --wait", timeout=300, check=False)
        return result.stdout.strip()

    def failed(self) -> str:
        """Returns the units that have failed."""
        return self.guest.output("systemctl --failed --plain --no-legend")


@dataclass(frozen=True)
class Debians:
    """An initiator and a target that are Debian machines."""

    initiator: Debian
    target: Debian

    @property
    def both(self) -> list[Debian]:
        """Both machines."""
        return [self.initiator, self.target]

    def set_up(self, *addresses: Address) -> None:
        """Configures new machines, at the same time."""
        each = zip(self.both, addresses, strict=True)
        _wait([one.begin_set_up(address) for one, address in each])

    def export(self, *names: str) -> None:
        """Makes volumes of the target, and lets the initiator open them and the whole disk."""
        for name in names:
            self.target.volume(name)
        allow = f"allow session=blya from={INITIATOR.v4}"
        self.target.configure(
            exports=f"{allow} device=/dev/{VOLUMES}/*\n{allow} device={WHOLE}\n"
        )
        self.target.guest.run("systemctl -q enable rnbd-server && systemctl restart rnbd-server")

    def install(self) -> None:
        """Installs the packages, unless that was done."""
        lacking = [one for one in self.both if not one.guest.exists("/usr/bin/rnbdctl")]
        _wait([one.guest.begin(f"{APT} install {OURS}") for one in lacking])


def _wait(jobs: list[Job]) -> None:
    for job in jobs:
        job.check(300)


_CLEAN = f"""
export LC_ALL=C
sed -i '/^AUTO -all/d' /etc/mdadm/mdadm.conf
umount -R /srv/* 2>/dev/null
set -e
[ -z "$(pvs --noheadings -S 'pv_name=~/dev/rnbd' -o vg_name)" ] ||
	vgchange -q -an $(pvs --noheadings -S 'pv_name=~/dev/rnbd' -o vg_name)
mdadm -q --stop --scan
systemctl stop 'rnbd-attach@*' rnbd-server
: >/etc/rnbd/rnbdtab
: >/etc/rnbd/exports
printf %s '{FSTAB}' >/etc/fstab
systemctl daemon-reload
systemctl reset-failed
modprobe -r rnbd_client rnbd_server
if lvs --noheadings {VOLUMES} | grep -q .; then lvremove -q -y {VOLUMES}; fi
"""


def clean(guest: Guest) -> None:
    """Removes what a test leaves behind; raises if that fails."""
    guest.run(_CLEAN, timeout=240)
