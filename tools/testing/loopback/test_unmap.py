# SPDX-License-Identifier: GPL-2.0-only
"""Unmapping and unloading, idle and busy."""

import pytest

from rnbdbench import fio
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device


def test_normal_is_refused_while_the_device_is_open(loopback: Pair, device: Device) -> None:
    """EBUSY, and nothing changes; once closed, it works."""
    guest = loopback.initiator.guest
    holder = guest.begin(f"exec 3<{device.node}; touch /run/open; sleep 1000")
    guest.wait_until(lambda: guest.exists("/run/open"), "the opener")
    assert device.unmap("normal") == "EBUSY"
    assert device.read("rnbd/state") == "open"
    guest.run(f"dd if={device.node} of=/dev/null bs=4k count=1 iflag=direct status=none")
    holder.cancel()
    holder.wait()
    guest.run("rm /run/open")
    guest.wait_until(lambda: device.unmap("normal") is None, "the close")
    assert not device.exists()


# A shell that keeps a disk open until a writer of unmap_device waits in the driver for that.
LOOK = (
    "exec 3<{node}; touch /run/open;"
    " until grep -qs rnbd_client /proc/$(cat /run/writer)/stack; do :; done;"
    " exec 3<&-; echo seen > /run/seen; sleep 1000"
)
UNMAP = "sh -c 'echo $$ > /run/writer; echo normal > /sys/block/{name}/rnbd/unmap_device'"


def test_normal_waits_for_an_opener_that_only_looks(loopback: Pair, device: Device) -> None:
    """As udev does: it has the disk open when unmap_device is written, and closes it."""
    guest = loopback.initiator.guest
    guest.run("rm -f /run/open /run/seen; echo none > /run/writer")
    holder = guest.begin(LOOK.format(node=device.node))
    guest.wait_until(lambda: guest.exists("/run/open"), "the opener")
    assert guest.run(UNMAP.format(name=device.name), timeout=60, check=False).code == 0
    assert not device.exists()
    assert guest.exists("/run/seen")
    holder.cancel()
    holder.wait()
    guest.run("rm /run/open /run/seen /run/writer")


def test_normal_does_not_wait_for_a_mounted_file_system(loopback: Pair, device: Device) -> None:
    """Who claims the disk will not go by itself; who only has it open is waited for."""
    guest = loopback.initiator.guest
    guest.run(
        f"modprobe -q ext4; mkfs.ext4 -q {device.node} && mkdir -p /run/mnt"
        f" && mount {device.node} /run/mnt"
    )
    mark = guest.console.mark()
    started = float(guest.read("/proc/uptime").split()[0])
    assert device.unmap("normal") == "EBUSY"
    assert float(guest.read("/proc/uptime").split()[0]) - started < 2.5
    assert "mounted or otherwise in use" in guest.printed_since(mark)
    guest.run("umount /run/mnt")
    holder = guest.begin(f"exec 3<{device.node}; touch /run/open; sleep 1000")
    guest.wait_until(lambda: guest.exists("/run/open"), "the opener")
    # Killed while it waits, the writer ends and nothing has changed.
    writer = guest.begin(f"echo normal > /sys/block/{device.name}/rnbd/unmap_device")
    writer.cancel()
    writer.wait()
    assert device.read("rnbd/state") == "open"
    assert device.unmap("normal") == "EBUSY"
    holder.cancel()
    holder.wait()
    guest.run("rm /run/open")
    assert device.unmap("normal") is None


def test_force_works_while_the_device_is_open(loopback: Pair, device: Device) -> None:
    """The holder gets errors from then on, and may close at leisure."""
    guest = loopback.initiator.guest
    holder = guest.begin(f"exec 3<{device.node}; touch /run/open; sleep 1000")
    guest.wait_until(lambda: guest.exists("/run/open"), "the opener")
    assert device.unmap("force") is None
    assert not device.exists()
    holder.cancel()
    holder.wait()
    guest.run("rm /run/open")


def test_normal_does_not_hang_behind_a_task_that_opens_the_disk(
    loopback: Pair, device: Device
) -> None:
    """One that reads the partition table, and waits for a path; force works after that."""
    guest = loopback.initiator.guest
    assert loopback.initiator.transport().write("fast_io_fail_tmo", "off") is None
    loopback.target.guest.run("rmmod rnbd_server", timeout=60)
    device.wait_for_state("closed")
    reader = guest.begin(f"blockdev --rereadpt {device.node}")
    device.wait_for_read()
    writer = guest.begin(f"echo normal > /sys/block/{device.name}/rnbd/unmap_device")
    assert writer.wait(20).code != 0
    assert device.unmap("force") is None
    assert reader.wait(20).code != 0
    assert not device.exists()


@pytest.mark.kernels("stock", "sanitize")
def test_force_works_during_io(loopback: Pair, device: Device) -> None:
    """What is in flight ends, with data or with an error, and soon."""
    guest = loopback.initiator.guest
    load = fio.begin_load(guest, device.node)
    fio.wait_for_io(guest, device.name)
    assert device.unmap("force") is None
    assert load.wait(60).code != 0
    assert not device.exists()


def test_other_words_are_refused(loopback: Pair, device: Device) -> None:
    """unmap_device takes `normal` and `force`, and nothing else."""
    for text in ("\n", "yes", "normal force", "forced"):
        assert device.unmap(text) == "EINVAL", text
    assert device.read("rnbd/state") == "open"
    assert device.unmap("normal\n") is None


def test_client_module_stays_while_a_device_is_open(loopback: Pair, device: Device) -> None:
    """rmmod is refused, or takes the device away; it never hangs."""
    guest = loopback.initiator.guest
    holder = guest.begin(f"exec 3<{device.node}; touch /run/open; sleep 1000")
    guest.wait_until(lambda: guest.exists("/run/open"), "the opener")
    assert guest.run("rmmod rnbd_client", timeout=60, check=False).code != 0
    holder.cancel()
    holder.wait()
    guest.run("rm /run/open")


@pytest.mark.kernels("stock", "sanitize")
def test_client_module_unloads_with_devices_mapped(loopback: Pair, device: Device) -> None:
    """rmmod unmaps unused devices, and the server drops the session."""
    guest = loopback.initiator.guest
    guest.wait_until(
        lambda: guest.run("rmmod rnbd_client", check=False).code == 0, "the module to be idle"
    )
    guest.wait_until(lambda: loopback.target.sessions() == [], "the server's clean-up")
    assert loopback.target.exports() == []


@pytest.mark.kernels("stock", "sanitize")
def test_server_module_unloads_with_devices_mapped(loopback: Pair, device: Device) -> None:
    """rmmod of the server ends the session; the client's I/O fails or waits, and unmaps."""
    guest = loopback.target.guest
    guest.run("rmmod rnbd_server", timeout=60)
    assert device.unmap("force") is None
    assert not device.exists()
