# SPDX-License-Identifier: GPL-2.0-only
"""Takes a guest back to how it was before a test.

In one command, that starts a program only where there is something to do: starting
one takes a second on the sanitizing kernel.
"""

from rnbdbench import disks
from rnbdbench import drivers
from rnbdbench import rnbd
from rnbdbench.guest import Guest

_RESUME = f"""
for folder in /sys/block/dm-*/dm/; do
	[ -e $folder ] && [ $(<$folder/suspended) = 1 ] || continue
	{disks.DMSETUP} resume $(<$folder/name)
done
"""
"""Devices that a test stopped: all else would wait for them."""

_MOUNTS = """
mounts=$(</proc/mounts)
[[ $mounts != *" /mnt/"* ]] || umount -R /mnt/* 2>/dev/null
"""

_UNMAP = """
for file in /sys/block/rnbd*/rnbd/unmap_device; do
	[ ! -e $file ] || echo force >$file
done
"""

_STACKED = """
for array in /sys/block/md*/md/array_state; do
	[ ! -e $array ] || echo clear >$array
done
for file in /sys/block/loop*/loop/backing_file; do
	[ ! -e $file ] || losetup -D
	break
done
for file in /sys/block/dm-*/dm/name; do
	[ -e $file ] && read -r name <$file && [[ $name != {gone}* ]] || continue
	{remove}
done 2>/dev/null
"""
"""Arrays, loop and device-mapper devices; what is in use stays."""

_FILES = """
for file in /run/*.img; do
	[ ! -e $file ] || rm $file
done
"""

_NULL_DISKS = f"""
for folder in {disks.NULL_DISKS}/nullb*/; do
	[ ! -e $folder ] || rmdir $folder
done
"""


def clean(guest: Guest, last: bool) -> None:
    """Removes what tests leave behind, and unloads all modules; raises if one stays.

    Those of RNBD may stay for the next test, unless this was the `last`.
    """
    stacked = _STACKED.format(gone=disks.GONE, remove=disks.mapper_removal(guest, "$name"))
    end = drivers.unloading(guest) if last else drivers.resting(guest, rnbd.EXPORT_RULES)
    modules = ["raid1", "dm_flakey", "dm_delay", "dm_mod", "scsi_debug", "brd"]
    parts = [_RESUME, _MOUNTS, stacked, _UNMAP, end, stacked, _FILES]
    if not disks.keeps(guest):
        parts.append(_NULL_DISKS)
        modules.append("null_blk")
    # What is stacked on disks of ours goes before them, what they are made of after.
    parts.append(drivers.ONE_BY_ONE.format(modules=" ".join(modules)))
    drivers.rested(guest, guest.output("".join(parts), timeout=240))
