#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Makes the disk of guests that are Debian machines: the suite of the kernel
# RNBD_STOCK_RELEASE, with that kernel, on an ext4 file system without a partition table. Beside
# it are kernel and initramfs, for QEMU, which has no boot loader here.
#
# The initramfs is Debian's own. With MODULES=most, Debian's default, it takes a minute of an
# emulated processor to unpack and to look for hardware; hence a list.
#
# The only file that no package has is the agent of the bench, and its unit.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"
. "$(dirname "$0")/mirror.sh"

release=$RNBD_STOCK_RELEASE
guest=$RNBD_TREE/tools/testing/guest

# Free for tests, on a file system whose file is sparse.
free=1500M

fill_folder() {
	local folder=$1 options=$RNBD_CACHE/apt.options packages lines
	packages=$(grep -vE '^(#|$)' "$here/packages-debian" | tr '\n' ' ')
	apt_transport_options >"$options"
	mapfile -t lines < <(apt_lines "$RNBD_BASE")
	# A kernel of backports needs its linux-base, as `apt -t` would choose it.
	# shellcheck disable=SC2016
	unshare --mount mmdebstrap --mode=root --variant=minbase \
		--include="$packages linux-base/$RNBD_KERNEL_SUITE linux-image-$release" \
		--aptopt="$options" --dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"' \
		--essential-hook='echo MODULES=list >"$1/etc/initramfs-tools/conf.d/bench"' \
		--essential-hook='printf "%s\n" virtio_pci virtio_blk ext4 >"$1/usr/share/initramfs-tools/modules.d/bench"' \
		"$RNBD_BASE" "$folder" "${lines[@]}"
}

configure() {
	local folder=$1
	# QEMU gives each machine an identity; with an empty file it is no first boot, which asks.
	: >"$folder/etc/machine-id"
	echo "/dev/vda / ext4 errors=remount-ro 0 1" >"$folder/etc/fstab"
	# journald keeps the journal if there is the folder.
	mkdir -p "$folder/var/log/journal"
	install -D -t "$folder/usr/local/lib/bench" "$guest/agent.py"
	install -D -m 644 -t "$folder/etc/systemd/system" "$guest/bench-agent.service"
	install -d "$folder/etc/systemd/system/sysinit.target.wants"
	ln -s ../bench-agent.service "$folder/etc/systemd/system/sysinit.target.wants/"
}

fill_image() {
	local part=$1 folder=$1/root
	mkdir "$folder"
	step debian "making a Debian $RNBD_BASE with kernel $release" fill_folder "$folder"
	configure "$folder"
	cp "$folder/usr/lib/modules/$release/vmlinuz" "$part/vmlinuz"
	cp "$folder/boot/initrd.img-$release" "$part/initrd.img"
	truncate -s "$(du -sm "$folder" | cut -f 1)M" "$part/disk"
	truncate -s "+$free" "$part/disk"
	step debian-disk "making its disk" "$here/enter" mke2fs -q -F -t ext4 -d "$folder" "$part/disk"
	rm -rf --one-file-system "$folder"
}

make_entry "$RNBD_DEBIAN" fill_image
