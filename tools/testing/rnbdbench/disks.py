# SPDX-License-Identifier: GPL-2.0-only
"""Disks of many kinds, for the target to export and the initiator to stack.

`rnbd.Target` has RAM disks and null_blk.  The clean-up after a test removes them.
"""

import struct
from pathlib import Path

from rnbdbench.guest import Guest

MEGABYTE = 1 << 20
PAGE = 4096

NULL_DISKS = "/sys/kernel/config/nullb"
"""The configfs folder of null_blk devices."""

VIRTIO = "/dev/vda"
"""The virtio disk of a guest, once its driver is loaded."""

_SIZE = 32 * MEGABYTE

DMSETUP = "DM_DISABLE_UDEV=1 dmsetup"
"""Guests lack udev: dmsetup must make nodes itself, and not wait for them."""

GONE = "gone"
"""The prefix of names of device-mapper devices that are unused but cannot be removed."""

STACKING_MODULES = (
    "raid0 raid1 dm_flakey dm_delay dm_thin_pool dm_persistent_data dm_bio_prison dm_bufio"
    " dm_round_robin dm_multipath dm_mod"
).split()
"""Modules of disks on disks, each before those that it needs."""


def hardware(folder: Path) -> list[str]:
    """Returns QEMU options for a virtio disk, whose file is in `folder`."""
    image = folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(_SIZE)
    return [
        *("-drive", f"if=none,id=disk,format=raw,discard=unmap,file={image}"),
        *("-device", "virtio-blk-pci,drive=disk"),
    ]


def virtio(guest: Guest) -> str:
    """Loads the driver of the virtio disk; returns the path of the disk."""
    guest.run("modprobe virtio_blk")
    return _appears(guest, VIRTIO)


def scsi(guest: Guest, **parameters: int) -> str:
    """Makes a disk of scsi_debug with the given parameters, on the stock kernel only."""
    (disk,) = scsi_disks(guest, 1, **parameters)
    return disk


def scsi_disks(guest: Guest, count: int, **parameters: int) -> list[str]:
    """Makes disks of scsi_debug with the same content, but names of their own."""
    words = " ".join(f"{name}={value}" for name, value in parameters.items())
    # The disk driver first, or the disks do not exist yet when modprobe ends.
    guest.run(f"modprobe sd_mod && modprobe scsi_debug delay=0 max_luns={count} {words}")
    pattern = "/sys/bus/pseudo/drivers/scsi_debug/adapter0/host*/target*/*:*/block/*"

    def found() -> list[str]:
        return guest.output(f"ls -d {pattern} 2>/dev/null || true").split()

    guest.wait_until(lambda: len(found()) == count, "the SCSI disks")
    return [_appears(guest, f"/dev/{folder.rsplit('/', 1)[1]}") for folder in sorted(found())]


def loop(guest: Guest, size: int, file: str = "/run/disk.img", options: str = "") -> str:
    """Makes a loop device on a file of `size` bytes."""
    guest.run(f"modprobe -q loop; truncate -s {size} {file}")
    return guest.output(f"losetup --find --show {options} {file}")


def mapper(guest: Guest, name: str, *targets: str) -> str:
    """Makes a device-mapper device; each target has a start, a length and so on."""
    table = "\\n".join(targets)
    guest.run(
        f"modprobe -q dm-mod; printf '{table}\\n' | {DMSETUP} create {name}"
    )
    return f"/dev/mapper/{name}"


def sectors(guest: Guest, node: str) -> int:
    """Returns the size of a device in sectors of 512 bytes."""
    return int(guest.output(f"blockdev --getsz {node}"))


def thin(guest: Guest, pool_data: str, metadata: str, megabytes: int) -> str:
    """Makes a thin volume, and a pool of all of `pool_data` for it."""
    guest.run(f"modprobe dm-thin-pool; dd if=/dev/zero of={metadata} bs=4k count=1 status=none")
    table = f"0 {sectors(guest, pool_data)} thin-pool {metadata} {pool_data} 128 0"
    pool = mapper(guest, "pool", table)
    guest.run(f"{DMSETUP} message pool 0 'create_thin 0'")
    return mapper(guest, "thin", f"0 {megabytes << 11} thin {pool} 0")


def slow_to_write(guest: Guest, name: str, node: str, milliseconds: int) -> str:
    """Makes a device-mapper device on all of another one that delays each write."""
    guest.run("modprobe dm-delay")
    table = f"0 {sectors(guest, node)} delay {node} 0 0 {node} 0 {milliseconds}"
    return mapper(guest, name, table)


def multipath(guest: Guest, name: str, *nodes: str) -> str:
    """Makes a device-mapper device of disks that are the same: one is used until it fails."""
    guest.run("modprobe dm-multipath; modprobe dm-round-robin")
    groups = " ".join(f"round-robin 0 1 1 {node} 1" for node in nodes)
    table = f"0 {sectors(guest, nodes[0])} multipath 0 0 {len(nodes)} 1 {groups}"
    return mapper(guest, name, table)


def linear(guest: Guest, name: str, node: str) -> str:
    """Makes a device-mapper device on all of another one."""
    return mapper(guest, name, f"0 {sectors(guest, node)} linear {node} 0")


def mirror(guest: Guest, *members: str) -> str:
    """Makes a RAID1 array of disks that are taken to be equal, without a resync."""
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


def stripes(guest: Guest, *members: str, chunk: int = 65536) -> str:
    """Makes a RAID0 array of disks of one size, in chunks of so many bytes."""
    guest.run("modprobe raid0 && echo md0 > /sys/module/md_mod/parameters/new_array")
    folder = "/sys/block/md0/md"
    size = sectors(guest, members[0]) // 2
    commands = [
        f"echo none > {folder}/metadata_version",
        f"echo raid0 > {folder}/level",
        f"echo {len(members)} > {folder}/raid_disks",
        f"echo {chunk} > {folder}/chunk_size",
    ]
    for slot, member in enumerate(members):
        commands.append(f"stat -L -c %Hr:%Lr {member} > {folder}/new_dev")
        name = member.rsplit("/", 1)[1]
        commands.append(f"echo {slot} > {folder}/dev-{name}/slot")
        commands.append(f"echo {size} > {folder}/dev-{name}/size")
    commands.append(f"echo active > {folder}/array_state")
    guest.run(" && ".join(commands))
    return _appears(guest, "/dev/md0")


def partition(guest: Guest, node: str, start: int, length: int) -> str:
    """Makes the only partition of a disk with blocks of 512 bytes, in an MBR."""
    entry = struct.pack("<4x4B2I", 0x83, 0xFE, 0xFF, 0xFF, start, length)
    table = entry + bytes(48) + b"\x55\xaa"
    words = "".join(f"\\x{byte:02x}" for byte in table)
    guest.run(
        f"printf '{words}' | dd of={node} bs=1 seek=446 conv=notrunc,fsync status=none"
        f" && blockdev --rereadpt {node}"
    )
    return _appears(guest, f"{node}p1" if node[-1].isdigit() else f"{node}1")


def second_partition(guest: Guest, node: str, start: int) -> str:
    """Adds a partition of 32768 blocks of 512 bytes behind the one that `partition` made."""
    entry = struct.pack("<4x4B2I", 0x83, 0xFE, 0xFF, 0xFF, start, 32768)
    words = "".join(f"\\x{byte:02x}" for byte in entry)
    guest.run(
        f"printf '{words}' | dd of={node} bs=1 seek=462 conv=notrunc,fsync status=none"
        f" && blockdev --rereadpt {node}"
    )
    return _appears(guest, f"{node}p2" if node[-1].isdigit() else f"{node}2")


_PICTURE = (
    "import sys; data = sys.stdin.buffer.read();"
    f" parts = [data[at:at + {PAGE}] for at in range(0, len(data), {PAGE})];"
    " print(str().join(chr(35) if any(part) else chr(46) for part in parts))"
)


def write_block(node: str) -> str:
    """Returns the command that writes zeroes to the first block of a device."""
    return f"dd if=/dev/zero of={node} bs={PAGE} count=1 oflag=direct conv=notrunc status=none"


def fill(guest: Guest, node: str, pages: int) -> None:
    """Fills the first pages of a device with data."""
    guest.run(
        f"dd if=<(yes rnbdbench) of={node} bs={PAGE} count={pages} iflag=fullblock"
        " oflag=direct conv=notrunc status=none"
    )


def on_pages(command: str, node: str, page: int, count: int) -> str:
    """Returns a command such as `blkdiscard` for some pages of a device."""
    return f"{command} --offset {page * PAGE} --length {count * PAGE} {node}"


def picture(guest: Guest, node: str, pages: int) -> str:
    """Shows the first pages of a device: `#` for a page with data, `.` for zeroes."""
    return guest.output(
        f"dd if={node} bs={PAGE} count={pages} iflag=direct status=none"
        f" | python3 -c '{_PICTURE}'"
    )


def keeps(guest: Guest) -> bool:
    """Returns whether only RNBD disks may be removed; see `marks.REMOVES_DISKS`."""
    return guest.specification.kernel == "sanitize"


def mapper_removal(guest: Guest, name: str) -> str:
    """Returns the command that removes an unused device-mapper device.

    A device that has to stay loses its name and the device below it, even if it is in use.
    """
    # A stopped device would keep others from being removed.
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
    """Removes a device-mapper device, or detaches it where it has to stay."""
    guest.run(mapper_removal(guest, name))


def _appears(guest: Guest, node: str) -> str:
    guest.wait_until(lambda: guest.is_block_device(node), node)
    return node
