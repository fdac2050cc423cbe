#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Downloads and unpacks Debian's kernel RNBD_STOCK_RELEASE: source, configuration,
# exported symbols, boot image and modules. To be run after kernel-release.sh, which
# checks that Debian has it.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mirror.sh"
. "$(dirname "$0")/apt.sh"
. "$(dirname "$0")/paths.sh"

# Parts of the source that no build reads, except their Kconfig and make files.
unneeded=(
	--exclude='*/Documentation/*/*' --exclude='*/tools/testing/*'
	--exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/media/*.[ch]'
	--exclude='*/drivers/net/ethernet/*.[ch]' --exclude='*/drivers/net/wireless/*.[ch]'
	--exclude='*/drivers/staging/*.[ch]' --exclude='*/sound/*.[ch]'
	--exclude='*/arch/a*/*.[chS]' --exclude='*/arch/[b-tv-w]*/*.[chS]'
	--exclude='*/arch/*.dts' --exclude='*/arch/*.dtsi'
)

unpack_source() {
	mkdir -p "$2"
	dpkg-deb --fsys-tarfile "$1" | tar -xO "./usr/src/linux-source-$RNBD_SERIES.tar.xz" |
		xz -dc -T0 | tar -x -C "$2" --strip-components=1 "${unneeded[@]}"
}

fetch() {
	local part=$1 debs=$1/debs version
	version=$(apt-cache show "linux-headers-$RNBD_STOCK_RELEASE" | sed -n 's/^Version: //p' | head -n 1)
	mkdir -p "$debs"
	cd "$debs"
	step kernel-download "downloading kernel $RNBD_STOCK_RELEASE (300 MB)" apt-get -q download \
		"linux-source-$RNBD_SERIES=$version" "linux-headers-$RNBD_STOCK_RELEASE=$version" \
		"linux-binary-$RNBD_STOCK_RELEASE=$version" "linux-modules-$RNBD_STOCK_RELEASE=$version"
	step kernel-image "unpacking the kernel image and modules" \
		bash -ec 'for deb; do dpkg-deb -x "$deb" .; done' unpack \
		linux-headers-*.deb linux-binary-*.deb linux-modules-*.deb
	mkdir "$part/image"
	mv usr "$part/image/usr"
	step kernel-source "unpacking the kernel source" \
		unpack_source linux-source-*.deb "$part/source"
	cd "$part"
	rm -r "$debs"
}

apt_setup
make_entry "$RNBD_STOCK_PACKAGES" fetch
