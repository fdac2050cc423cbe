# SPDX-License-Identifier: GPL-2.0-only
"""The program rnbdctl against the drivers of the kernel, ours and the C ones."""

import pytest

from rnbdbench import drivers
from rnbdbench import network
from rnbdbench.lab import Pair
from rnbdbench.rnbdctl import Rnbdctl

ADDRESS = network.TARGET.v4
MAP = ("map", "--session", "bench", "--path", ADDRESS)


@pytest.mark.drivers("rust-rust", "c-c")
def test_map_look_tune_unmap(loopback: Pair) -> None:
    """The life of a device, as a user sees it."""
    loopback.target.ram_disk(16)
    loopback.load()
    program = Rnbdctl(loopback.initiator.guest)
    rust = loopback.initiator.guest.specification.drivers == "rust"
    empty = program.run("list")
    assert (empty.code, empty.stdout) == (0, "") and "no disk is mapped" in empty.stderr
    assert program.output(*MAP, "--wait", "/dev/ram0") == "/dev/rnbd0\n"
    listed = program.json("list")
    (mapped,), (exported,) = listed["devices"], listed["exports"]
    assert (mapped["state"], mapped["access_mode"]) == ("open", "rw")
    assert mapped["size"] == exported["size"] == 16 << 20
    assert exported["clients"][0]["session"] == mapped["session"] == "bench"
    client, server = program.json("sessions")["sessions"]
    assert (client["side"], server["side"]) == ("client", "server")
    assert (client["devices"], server["devices"]) == (["rnbd0"], ["ram0"])
    assert client["paths"][0]["traffic"]["in_flight"] == 0
    assert (client["fast_io_fail_tmo"] is not None) == rust
    assert 'rnbd_device_open{device="rnbd0",session="bench"} 1' in program.output("metrics")
    assert ADDRESS in program.output("doctor")
    for shown in (program.output("show", "rnbd0"), program.output("paths", "bench")):
        assert "bench" in shown
    assert program.output("save", "rnbd0", "data").startswith(
        f"data bench ip:{ADDRESS} /dev/ram0 -\n"
    )
    loopback.initiator.guest.run("rm -r /etc/rnbd")
    program.output("policy", "bench", "round-robin")
    program.output("tune", "bench", "--max-reconnect-attempts", "7")
    (client,) = program.json("tune", "bench")["sessions"]
    assert (client["policy"], client["max_reconnect_attempts"]) == ("round-robin", 7)
    if rust:
        program.output("tune", "bench", "--fast-io-fail-tmo", "30")
        assert "30 s" in program.output("tune", "bench")
        program.output("latency", "rnbd0", "on")
        loopback.initiator.guest.run("dd if=/dev/rnbd0 of=/dev/null bs=4k count=1 iflag=direct")
        assert "remote, read: " in program.output("latency", "rnbd0")
    else:
        program.fails(5, "debugfs", "latency", "rnbd0")
        program.fails(5, "fast_io_fail_tmo", "tune", "bench", "--fast-io-fail-tmo", "30")
    program.output("path", "disconnect", "bench", ADDRESS)
    assert program.json("paths")["paths"][0]["state"] == "disconnected"
    loopback.initiator.guest.wait_until(
        lambda: program.run("path", "connect", "bench", ADDRESS).code == 0, "the path"
    )
    program.output("unmap", "rnbd0")
    assert program.json("list") == {"version": 1, "devices": [], "exports": []}


def test_errors_say_what_to_do(loopback: Pair) -> None:
    """Each of a user's mistakes, with the exit code, the kernel's words and advice."""
    guest = loopback.initiator.guest
    program = Rnbdctl(guest)
    program.fails(5, "modprobe rnbd_client", *MAP, "/dev/ram0")
    loopback.target.ram_disk(16)
    loopback.initiator.load()
    program.fails(4, "parameter port_nr", *MAP, "/dev/ram0")
    loopback.target.load()
    said = program.fails(3, "(ENOENT)", *MAP, "/dev/nothing")
    assert "kernel: rnbd_client: " in said and "/dev/nothing" in said
    program.fails(2, "no path to the server is given", "map", "--session", "bench", "/dev/ram0")
    assert loopback.target.write_rules("clear", "allow device=/dev/ram0 ro") is None
    program.fails(6, "--ro", *MAP, "/dev/ram0")
    assert loopback.target.write_rules("default") is None
    program.output(*MAP, "--wait", "/dev/ram0")
    program.fails(1, "mapped already", *MAP, "/dev/ram0")
    # Who has it open is named, after a while for what may be over in a moment.
    guest.run("mkfs.ext4 -q /dev/rnbd0 && mount /dev/rnbd0 /mnt")
    program.fails(4, "mounted on /mnt", "unmap", "rnbd0")
    guest.run("umount /mnt && (sleep 60 < /dev/rnbd0 > /dev/null 2>&1 & echo $! > /run/sleep)")
    program.fails(4, "open in sleep", "unmap", "--settle", "0", "rnbd0")
    guest.run("(sleep 1; kill $(cat /run/sleep)) > /dev/null 2>&1 &")
    program.output("unmap", "rnbd0")
    program.fails(3, "rnbdctl list", "unmap", "rnbd0")


def test_keys_are_made_loaded_and_replaced(loopback: Pair) -> None:
    """As authentication.md says; `map` and `rules load` load what is missing."""
    guest = loopback.initiator.guest
    program = Rnbdctl(guest)
    program.output("key", "new", "web1")
    program.fails(5, "modprobe rtrs", "key", "load")
    loopback.target.ram_disk(16)
    loopback.load()
    with_key = ("map", "--session", "web1", "--path", ADDRESS, "--key", "web1", "/dev/ram0")
    guest.run("echo 'allow session=web1 key=web1 device=/dev/ram0' > /etc/rnbd/exports")
    program.output("rules", "load")
    assert program.json("key", "list")["keys"] == [
        {"name": "web1", "file": "/etc/rnbd/keys/web1", "problem": None, "loaded": True}
    ]
    program.output("key", "unload", "web1")
    assert not program.json("key", "list")["keys"][0]["loaded"]
    assert program.output(*with_key) == "/dev/rnbd0\n"
    assert program.json("sessions")["sessions"][0]["key"] == "web1"
    # The server and the client have one keyring here, so both prove the new value.
    program.output("key", "new", "--replace", "web1")
    program.output("key", "load")
    program.output("path", "connect", "web1", ADDRESS)
    program.output("unmap", "rnbd0")
    program.output("key", "unload", "web1")
    program.fails(3, "no key web1", "key", "unload", "web1")
    guest.run("rm -r /etc/rnbd")
    said = program.fails(3, "rnbdctl key new", *with_key)
    assert "no valid key rnbd:web1" in said


@pytest.mark.kernels("stock")
@pytest.mark.long
def test_the_doctor_says_why_the_kernel_refuses_modules(loopback: Pair) -> None:
    """The kernel is locked down, as with Secure Boot, and ours have no signature."""
    guest = loopback.initiator.guest
    program = Rnbdctl(guest)
    drivers.unload(guest)
    folder = "/sys/kernel/security"
    guest.run(f"mountpoint -q {folder} || mount -t securityfs securityfs {folder}")
    assert "signatures" not in program.run("doctor").stdout
    assert guest.write(f"{folder}/lockdown", "integrity") is None
    assert guest.run("modprobe rnbd_client", check=False).code != 0
    # Debian's own are signed.
    loopback.target.ram_disk(16)
    said = program.run("doctor").stdout
    assert "signatures: the kernel's lockdown refuses modules without a key" in said
    assert "rnbd-dkms" in said
    # It is locked down until the next boot.
    guest.kill()
