# SPDX-License-Identifier: GPL-2.0-only
"""Detectors of problems of a kernel: each finds what it is for, and no more."""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from typing import cast

import pytest

from rnbdbench import dmesg
from rnbdbench.guest import Guest
from rnbdbench.kmemleak import LeakCheck

INNOCENT = """\
[    0.000000] Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar
[    0.000000] kasan: KernelAddressSanitizer initialized
[    0.312000] kmemleak: Kernel memory leak detector initialized (mem pool available: 15628)
[    0.313000] kmemleak: Automatic memory scanning thread started
[    0.520000] debugfs: mounted
[   12.000000] rdma_rxe: loaded
[   13.100000] infiniband rdma0: added eth0
[   14.200000] rtrs: loading module rtrs
[   14.300000] rnbd_server: exports everything below /
[   15.400000] rnbd_client: mapped /dev/ram0 of blya as rnbd0
[   15.500000] kobject: 'rnbd0' (00000000c0ffee00): kobject_release, parent 0 (delayed 2000)
[   16.600000] EXT4-fs (rnbd0): mounted filesystem with ordered data mode
[   17.700000] I/O error, dev rnbd0, sector 8 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2
[   18.800000] rnbd_client: blya: lost the connection, will try again
[   19.900000] virtio_net virtio1 eth0: carrier off"""

REPORTS = {
    "warning": "WARNING: CPU: 1 PID: 312 at block/genhd.c:1170 disk_release+0x1b0/0x1c0",
    "bug": "kernel BUG at mm/slub.c:4321!",
    "null": "BUG: kernel NULL pointer dereference, address: 0000000000000010",
    "oops": "Oops: 0000 [#1] SMP KASAN",
    "panic": "Kernel panic - not syncing: Fatal exception",
    "kasan": "BUG: KASAN: slab-use-after-free in process_one_work+0x123/0x456",
    "kfence": "KFENCE: use-after-free read in kfree+0x10/0x20",
    "ubsan": "UBSAN: array-index-out-of-bounds in drivers/block/x.c:12:3",
    "odebug": "ODEBUG: free active (active state 0) object: 00000000c0ffee00",
    "refcount": "refcount_t: underflow; use-after-free.",
    "circular": "WARNING: possible circular locking dependency detected",
    "recursive": "WARNING: possible recursive locking detected",
    "irq": "WARNING: inconsistent lock state",
    "unannotated": "INFO: trying to register non-static key.",
    "held": "WARNING: held lock freed!",
    "rcu": "WARNING: suspicious RCU usage",
    "atomic": "BUG: sleeping function called from invalid context at mm/slab.h:321",
    "scheduling": "BUG: scheduling while atomic: fio/312/0x00000002",
    "hung": "INFO: task fio:312 blocked for more than 122 seconds.",
    "lockup": "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [kworker/0:1:9]",
    "stall": "rcu: INFO: rcu_preempt self-detected stall on CPU",
    "list": "list_del corruption. prev->next should be ffff888100000000",
    "leaks": "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
    "leak": "unreferenced object 0xffff888100000000 (size 64):",
    "sysfs": "sysfs: cannot create duplicate filename '/devices/virtual/rnbd-client/ctl'",
    "memory": "kworker/0:1: page allocation failure: order:9, mode:0x40dc0",
    "slab": "BUG rnbd (Not tainted): Objects remaining in rnbd on __kmem_cache_shutdown()",
    "rust": "rust_kernel: panicked at rtrs/client/path.rs:12:3:",
}


def test_a_healthy_kernel_has_no_reports() -> None:
    assert dmesg.complaints(INNOCENT) == ""
    assert dmesg.complaints("") == ""


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_a_report_is_found(report: str) -> None:
    """By its line, in any context."""
    lines = INNOCENT.splitlines()
    lines.insert(8, f"[   14.250000] {report}")
    excerpt = dmesg.complaints("\n".join(lines)).splitlines()
    # With some of what was said before, and what followed.
    assert excerpt == lines[5:]


@dataclass
class Kernel:
    """Replaces a guest: its kmemleak file has chosen results."""

    result: Callable[[str], str | None] = lambda _: None
    finds: list[str] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    seconds: float = 0.0
    name: str = "loopback"

    def write(self, path: str, text: str, timeout: float = 0) -> str | None:
        """Takes an order."""
        assert path == "/sys/kernel/debug/kmemleak"
        self.orders.append(text)
        return self.result(text)

    def read(self, path: str) -> str:
        """Returns findings of the detector, or the time."""
        if path == "/proc/uptime":
            self.seconds += 10
            return f"{self.seconds} 0.0"
        return self.finds.pop(0)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Time passes by itself here."""
        assert condition() or condition(), what


def _check(kernel: Kernel) -> LeakCheck:
    return LeakCheck(cast(Guest, kernel))


def test_a_leak_is_reported_when_it_is_still_there() -> None:
    leak = "unreferenced object 0xffff888100000000 (size 64):"
    assert _check(Kernel(finds=[""])).report() == ""
    assert _check(Kernel(finds=[leak, leak])).report() == leak
    assert _check(Kernel(finds=[leak, ""])).report() == "", "a pointer was in a register"


@pytest.mark.parametrize("refused", ["scan=off", "clear", "scan"])
def test_a_leak_detector_that_does_not_work_is_a_failure(refused: str) -> None:
    """As when the kernel has none, or it has run out of memory and switched itself off."""
    kernel = Kernel(result=lambda order: "EPERM" if order == refused else None, finds=[""])
    with pytest.raises(AssertionError, match="kmemleak.*EPERM"):
        _check(kernel).report()
    assert kernel.orders[-1] == refused
