# SPDX-License-Identifier: GPL-2.0-only
"""The configuration of a guest, and the QEMU command that it becomes."""

from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from rnbdbench import image
from rnbdbench import machine
from rnbdbench import modules
from rnbdbench.settings import KernelFiles

MEMORY = "1536M"
SANITIZE_MEMORY = "3G"
CPUS = 2

KERNEL_PARAMETERS = [
    "console=hvc0",
    "ignore_loglevel",
    "log_buf_len=4M",
    "panic=-1",
    "mitigations=off",
    "net.ifnames=0",
    "random.trust_cpu=on",
]


def connections(console: Path, agent: int, monitor: int) -> list[str]:
    """Returns the options of what the bench talks to a guest by; see `Specification.command`."""
    return [
        # Two ports. The default of 31 has 64 queues, and QEMU looks at each at every timer.
        *("-device", "virtio-serial-pci,max_ports=2"),
        # A guest may be powered on again.
        *("-chardev", f"file,id=console,path={console},append=on"),
        *("-device", "virtconsole,chardev=console"),
        *("-chardev", f"socket,id=agent,fd={agent}"),
        *("-device", "virtserialport,chardev=agent,name=agent"),
        *("-chardev", f"socket,id=monitor,fd={monitor}"),
        *("-mon", "chardev=monitor,mode=control"),
        *("-device", "virtio-rng-pci"),
    ]


@dataclass(frozen=True)
class Specification:
    """The configuration of a guest."""

    name: str
    """Its host name, and the stem of its log files."""
    kernel: str
    """`stock`, `sanitize`, or a name of the table of kernels."""
    drivers: str
    """The RNBD modules that modprobe finds: `rust` or `c`."""
    fabric: str = "rxe"
    """The kind of RDMA device: soft-RoCE (`rxe`) or soft iWARP (`siw`)."""
    cpus: int = CPUS
    network: list[str] = field(default_factory=list)
    """QEMU options that make eth0, eth1, …"""
    disks: list[str] = field(default_factory=list)
    """QEMU options that make disks."""
    counted: bool = False
    """Whether an instruction takes a nanosecond of its time; with one CPU only."""
    by_words: bool = False
    """Whether the kernel copies by words, as string instructions access each byte here."""
    options: list[str] = field(default_factory=list)
    """More options for QEMU."""
    parameters: list[str] = field(default_factory=list)
    """More parameters of the kernel."""

    def prepare(self) -> None:
        """Makes what the guest needs before it is powered on for the first time."""

    def command(
        self, kernel: KernelFiles, console: Path, agent: int, monitor: int
    ) -> list[str]:
        """Returns the command that powers the guest on.

        `kernel` is the one of its name, `console` the file for what it prints; `agent` and
        `monitor` are file descriptors of sockets.
        """
        parameters = [*KERNEL_PARAMETERS, f"bench.name={self.name}", *self.parameters]
        if kernel.name == "sanitize":
            # Its RAM disks are built in.
            parameters += ["brd.rd_nr=16", "brd.rd_size=65536", "watchdog_thresh=60"]
        share = "security_model=none,readonly=on,multidevs=remap"
        drivers = modules.with_drivers(kernel, self.drivers)
        memory = SANITIZE_MEMORY if kernel.name == "sanitize" else MEMORY
        return [
            *machine.command(kernel.architecture),
            *self._processor(kernel.architecture),
            *("-smp", str(self.cpus), "-m", memory),
            # A guest reboots only if it crashed: let it end instead.
            "-no-reboot",
            *("-kernel", str(kernel.vmlinuz)),
            *("-initrd", str(image.initramfs(kernel))),
            *("-append", " ".join(parameters)),
            *("-virtfs", f"local,path={kernel.root},mount_tag=root,{share}"),
            *("-virtfs", f"local,path={drivers},mount_tag=modules,{share}"),
            *connections(console, agent, monitor),
            *self.network,
            *self.disks,
            *self.options,
        ]

    def _processor(self, architecture: str) -> list[str]:
        slow_strings = ["-cpu", "max,erms=off,fsrm=off,fsrs=off,fzrm=off"]
        if self.counted:
            # A string instruction counts once for each byte here, unlike on a real
            # processor: let the kernel copy by words. Idle time is skipped.
            return ["-accel", "tcg", "-icount", "shift=0,sleep=off", *slow_strings]
        if self.by_words:
            return ["-accel", "tcg,thread=multi", *slow_strings]
        return machine.processor(architecture)
