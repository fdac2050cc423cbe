# SPDX-License-Identifier: GPL-2.0-only
"""Disks of many kinds, for the target to export and the initiator to stack.

`rnbd.Target` has RAM disks and null_blk.  All of them go at the end of a test.
"""

import struct
from pathlib import Path

from rnbdbench.guest import Guest

MEGABYTE = 1 << 20
PAGE = 4096

NULL_DISKS = "/sys/kernel/config/nullb"
"""Where null_blk devices are made and removed."""

VIRTIO = "/dev/vda"
"""The virtio disk of a guest, once its driver is loaded."""

_SIZE = 32 * MEGABYTE

DMSETUP = "DM_DISABLE_UDEV=1 dmsetup"
"""No guest has udev: dmsetup is to make nodes by itself, and not to wait for any."""

GONE = "gone"
"""Begins the names of device-mapper devices that are as good as removed."""


def hardware(folder: Path) -> list[str]:
    """QEMU options for the disk of a guest that has one; its file goes to `folder`."""
    image = folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(_SIZE)
    return [
        *("-drive", f"if=none,id=disk,format=raw,discard=unmap,file={image}"),
        *("-device", "virtio-blk-pci,drive=disk"),
    ]


def virtio(guest: Guest) -> str:
    """The virtio disk."""
    guest.run("modprobe virtio_blk")
    return _appears(guest, VIRTIO)


def scsi(guest: Guest, **parameters: int) -> str:
    """A disk of scsi_debug with the given module parameters.  On a stock kernel only."""
    words = " ".join(f"{name}={value}" for name, value in parameters.items())
    # The driver for disks first, or the disk is not there yet when modprobe ends.
    guest.run(f"modprobe sd_mod && modprobe scsi_debug delay=0 {words}")
    pattern = "/sys/bus/pseudo/drivers/scsi_debug/adapter0/host*/target*/*:*/block/"
    guest.wait_until(
        lambda: guest.run(f"test -d {pattern}", check=False).code == 0, "the SCSI disk"
    )
    return _appears(guest, f"/dev/{guest.output(f'ls {pattern}')}")


def loop(guest: Guest, size: int, file: str = "/run/disk.img", options: str = "") -> str:
    """A loop device on a file of `size` bytes."""
    guest.run(f"modprobe -q loop; truncate -s {size} {file}")
    return guest.output(f"losetup --find --show {options} {file}")


def mapper(guest: Guest, name: str, *targets: str) -> str:
    """A device-mapper device; each target has a start, a length and so on."""
    table = "\\n".join(targets)
    guest.run(
        f"modprobe -q dm-mod; printf '{table}\\n' | {DMSETUP} create {name}"
    )
    return f"/dev/mapper/{name}"


def sectors(guest: Guest, node: str) -> int:
    """Size of a device in units of 512 bytes."""
    return int(guest.output(f"blockdev --getsz {node}"))


def slow_to_write(guest: Guest, name: str, node: str, milliseconds: int) -> str:
    """The whole of a device, by another name, where each write takes so long."""
    guest.run("modprobe dm-delay")
    table = f"0 {sectors(guest, node)} delay {node} 0 0 {node} 0 {milliseconds}"
    return mapper(guest, name, table)


def linear(guest: Guest, name: str, node: str) -> str:
    """The whole of a device, by another name."""
    return mapper(guest, name, f"0 {sectors(guest, node)} linear {node} 0")


def mirror(guest: Guest, *members: str) -> str:
    """A RAID1 array of disks, taken to be equal, without anything written to them."""
    guest.run("modprobe raid1 && echo md0 > /sys/module/md_mod/parameters/new_array")
    folder = "/sys/block/md0/md"
    size = min(sectors(guest, member) for member in members) // 2
    commands = [
        f"echo none > {folder}/metadata_version",
        f"echo raid1 > {folder}/level",
        f"echo {len(members)} > {folder}/raid_disks",
        f"echo {size} > {folder}/component_size",
    ]
    for slot, member in enumerate(members):
        commands.append(f"stat -L -c %Hr:%Lr {member} > {folder}/new_dev")
        commands.append(f"echo {slot} > {folder}/dev-{member.rsplit('/', 1)[1]}/slot")
    commands += [f"echo none > {folder}/resync_start", f"echo active > {folder}/array_state"]
    guest.run(" && ".join(commands))
    return _appears(guest, "/dev/md0")


def partition(guest: Guest, node: str, start: int, length: int) -> str:
    """The only partition of a disk with blocks of 512 bytes, in an MBR."""
    entry = struct.pack("<4x4B2I", 0x83, 0xFE, 0xFF, 0xFF, start, length)
    table = entry + bytes(48) + b"\x55\xaa"
    words = "".join(f"\\x{byte:02x}" for byte in table)
    guest.run(
        f"printf '{words}' | dd of={node} bs=1 seek=446 conv=notrunc,fsync status=none"
        f" && blockdev --rereadpt {node}"
    )
    return _appears(guest, f"{node}p1" if node[-1].isdigit() else f"{node}1")


_PICTURE = (
    "import sys; data = sys.stdin.buffer.read();"
    f" parts = [data[at:at + {PAGE}] for at in range(0, len(data), {PAGE})];"
    " print(str().join(chr(35) if any(part) else chr(46) for part in parts))"
)


def fill(guest: Guest, node: str, pages: int) -> None:
    """Writes something to the first pages of a device."""
    guest.run(
        f"dd if=<(yes rnbdbench) of={node} bs={PAGE} count={pages} iflag=fullblock"
        " oflag=direct conv=notrunc status=none"
    )


def on_pages(command: str, node: str, page: int, count: int) -> str:
    """A command such as `blkdiscard` for some pages of a device."""
    return f"{command} --offset {page * PAGE} --length {count * PAGE} {node}"


def picture(guest: Guest, node: str, pages: int) -> str:
    """The first pages of a device: `#` for each with anything on it, `.` for zeroes."""
    return guest.output(
        f"dd if={node} bs={PAGE} count={pages} iflag=direct status=none"
        f" | python3 -c '{_PICTURE}'"
    )


def keeps(guest: Guest) -> bool:
    """Whether no disk but ours may be removed; see `marks.REMOVES_DISKS`."""
    return guest.specification.kernel == "sanitize"


def mapper_removal(guest: Guest, name: str) -> str:
    """The command that removes a device-mapper device that nobody uses.

    One that has to stay loses what is below it and its name, even when it is in use.
    """
    # What is stopped would keep others from being removed.
    commands = [f"{DMSETUP} resume {name}"]
    if keeps(guest):
        commands += [
            f"minor=$({DMSETUP} info -c --noheadings -o minor {name})",
            f'echo "0 $(blockdev --getsz /dev/dm-$minor) error" | {DMSETUP} load {name}',
            f"{DMSETUP} resume {name}",
            f"{DMSETUP} rename {name} {GONE}$minor",
        ]
    else:
        commands += [f"{DMSETUP} remove {name}"]
    return " && ".join(commands)


def remove_mapper(guest: Guest, name: str) -> None:
    """Removes a device-mapper device, or what there is of it to remove."""
    guest.run(mapper_removal(guest, name))


def _appears(guest: Guest, node: str) -> str:
    guest.wait_until(lambda: guest.is_block_device(node), node)
    return node
