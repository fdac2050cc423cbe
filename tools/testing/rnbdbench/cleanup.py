# SPDX-License-Identifier: GPL-2.0-only
"""Restores the state that a guest had before a test.

It does so by one command, which starts a program only if there is something to do:
starting one takes a second on the sanitizing kernel.
"""

from rnbdbench import disks
from rnbdbench import drivers
from rnbdbench import nbd
from rnbdbench import rnbd
from rnbdbench.guest import Guest

_RESUME = f"""
for folder in /sys/block/dm-*/dm/; do
	[ -e $folder ] && [ $(<$folder/suspended) = 1 ] || continue
	{disks.DMSETUP} resume $(<$folder/name)
done
[ ! -e {nbd.SERVER} ] || kill -CONT $(<{nbd.SERVER})
"""
"""Resumes devices that a test stopped: the other steps would wait for them."""

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
"""Removes arrays, loop and device-mapper devices; those in use stay."""

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
    """Removes everything that tests leave behind, and unloads modules; raises if that fails.

    The modules of RNBD may stay loaded for the next test, unless this was the `last`.
    """
    stacked = _STACKED.format(gone=disks.GONE, remove=disks.mapper_removal(guest, "$name"))
    end = drivers.unloading(guest) if last else drivers.resting(guest, rnbd.EXPORT_RULES)
    modules = [*disks.STACKING_MODULES, "scsi_debug", "brd"]
    parts = [_RESUME, _MOUNTS, stacked, _UNMAP, end, stacked, _FILES]
    if not disks.keeps(guest):
        parts.append(_NULL_DISKS)
        modules.append("null_blk")
    # Devices on top of RNBD disks go before these, the disks below them after.
    parts.append(drivers.ONE_BY_ONE.format(modules=" ".join(modules)))
    drivers.rested(guest, guest.output("".join(parts), timeout=240))
