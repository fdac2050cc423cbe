# SPDX-License-Identifier: GPL-2.0-only
"""NVMe over RDMA from a guest to itself, as a reference."""

from rnbdbench import network
from rnbdbench.guest import Guest

NAME = "bench"
"""The name of the subsystem."""

NVMET = "/sys/kernel/config/nvmet"
PORT = 4420


def serve(guest: Guest, devices: list[str]) -> None:
    """Exports block devices by nvmet, as `NAME`."""
    subsystem = f"{NVMET}/subsystems/{NAME}"
    port = f"{NVMET}/ports/1"
    guest.run(
        "modprobe nvmet-rdma && (mountpoint -q /sys/kernel/config"
        " || mount -t configfs configfs /sys/kernel/config)"
    )
    guest.run(
        f"mkdir {subsystem} && echo 1 > {subsystem}/attr_allow_any_host && mkdir {port}"
        f" && echo rdma > {port}/addr_trtype && echo ipv4 > {port}/addr_adrfam"
        f" && echo {network.TARGET.v4} > {port}/addr_traddr && echo {PORT} > {port}/addr_trsvcid"
        f" && ln -s {subsystem} {port}/subsystems/{NAME}"
    )
    for number, device in enumerate(devices, 1):
        namespace = f"{subsystem}/namespaces/{number}"
        guest.run(
            f"mkdir {namespace} && echo -n {device} > {namespace}/device_path"
            f" && echo 1 > {namespace}/enable"
        )


def connect(guest: Guest, count: int) -> list[str]:
    """Connects to the subsystem, with a queue for each processor; returns the device nodes."""
    guest.run("modprobe nvme-rdma")
    options = (
        f"transport=rdma,traddr={network.TARGET.v4},trsvcid={PORT},nqn={NAME}"
        f",nr_io_queues={guest.specification.cpus}"
    )
    error = guest.write("/dev/nvme-fabrics", options, timeout=120)
    assert error is None, f"connecting to nvmet gives {error}"
    nodes = [f"/dev/nvme0n{number}" for number in range(1, count + 1)]
    for node in nodes:
        guest.wait_until(lambda node=node: guest.is_block_device(node), node)
    return nodes
