# SPDX-License-Identifier: GPL-2.0-only
"""NVMe over RDMA from a guest to itself, as a reference."""

from rnbdbench import network
from rnbdbench.guest import Guest

NAME = "bench"
"""The name of the subsystem."""

NVMET = "/sys/kernel/config/nvmet"
PORT = 4420


def serve(guest: Guest, device: str) -> None:
    """Exports a block device by nvmet, as `NAME`."""
    subsystem = f"{NVMET}/subsystems/{NAME}"
    namespace = f"{subsystem}/namespaces/1"
    port = f"{NVMET}/ports/1"
    guest.run(
        "modprobe nvmet-rdma && (mountpoint -q /sys/kernel/config"
        " || mount -t configfs configfs /sys/kernel/config)"
    )
    guest.run(
        f"mkdir {subsystem} && echo 1 > {subsystem}/attr_allow_any_host"
        f" && mkdir {namespace} && echo -n {device} > {namespace}/device_path"
        f" && echo 1 > {namespace}/enable && mkdir {port}"
        f" && echo rdma > {port}/addr_trtype && echo ipv4 > {port}/addr_adrfam"
        f" && echo {network.TARGET.v4} > {port}/addr_traddr && echo {PORT} > {port}/addr_trsvcid"
        f" && ln -s {subsystem} {port}/subsystems/{NAME}"
    )


def connect(guest: Guest) -> str:
    """Connects to the subsystem, with one queue; returns the device node."""
    guest.run("modprobe nvme-rdma")
    options = (
        f"transport=rdma,traddr={network.TARGET.v4},trsvcid={PORT},nqn={NAME},nr_io_queues=1"
    )
    error = guest.write("/dev/nvme-fabrics", options, timeout=120)
    assert error is None, f"connecting to nvmet gives {error}"
    node = "/dev/nvme0n1"
    guest.wait_until(lambda: guest.run(f"test -b {node}", check=False).code == 0, node)
    return node
