#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Downloads and unpacks Debian's kernel RNBD_STOCK_RELEASE: source, configuration,
# exported symbols, boot image and modules. To be run after kernel-release.sh, which
# checks that Debian has it.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"
. "$(dirname "$0")/mirror.sh"
. "$(dirname "$0")/apt.sh"

# Parts of the source that no build reads, except their Kconfig and make files. All
# flavours and architectures of a version share it. The 32-bit vDSO of arm64 has a part in
# arch/arm/vdso.
unneeded=(
	--exclude='*/Documentation/*/*' --exclude='*/tools/testing/*'
	--exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/media/*.[ch]'
	--exclude='*/drivers/net/ethernet/*.[ch]' --exclude='*/drivers/net/wireless/*.[ch]'
	--exclude='*/drivers/staging/*.[ch]' --exclude='*/sound/*.[ch]'
	--exclude='*/arch/al*/*.[chS]' --exclude='*/arch/arc/*.[chS]'
	--exclude='*/arch/arm/[a-u]*/*.[chS]' --exclude='*/arch/[b-tv-w]*/*.[chS]'
	--exclude='*/arch/*.dts' --exclude='*/arch/*.dtsi'
)

unpack_source() {
	mkdir -p "$2"
	dpkg-deb --fsys-tarfile "$1" | tar -xO "./usr/src/linux-source-$RNBD_SERIES.tar.xz" |
		xz -dc -T0 | tar -x -C "$2" --strip-components=1 "${unneeded[@]}"
}

fetch_source() {
	local part=$1 debs=$1/debs
	mkdir "$debs"
	cd "$debs"
	step source-download "downloading the source of kernel ${RNBD_STOCK_RELEASE%%+*} (150 MB)" \
		apt-get -q download "linux-source-$RNBD_SERIES=$version"
	step kernel-source "unpacking the kernel source" unpack_source linux-source-*.deb "$part"
	cd "$part"
	rm -r "$debs"
}

fetch() {
	local part=$1 debs=$1/debs
	mkdir "$debs"
	cd "$debs"
	step kernel-download "downloading kernel $RNBD_STOCK_RELEASE (150 MB)" apt-get -q download \
		"linux-headers-$RNBD_STOCK_RELEASE=$version" \
		"linux-binary-$RNBD_STOCK_RELEASE=$version" "linux-modules-$RNBD_STOCK_RELEASE=$version"
	step kernel-image "unpacking the kernel image and modules" \
		bash -ec 'for deb; do dpkg-deb -x "$deb" .; done' unpack \
		linux-headers-*.deb linux-binary-*.deb linux-modules-*.deb
	mkdir "$part/image"
	mv usr "$part/image/usr"
	cd "$part"
	rm -r "$debs"
}

if [ -e "$RNBD_SOURCE" ] && [ -e "$RNBD_STOCK_PACKAGES" ]; then
	exit
fi

apt_setup
version=$(kernel_version)
# kernel-release.sh has not read the lists for a release of which a part is here already.
if [ -z "$version" ]; then
	apt_update
	version=$(kernel_version)
fi
make_entry "$RNBD_SOURCE" fetch_source
make_entry "$RNBD_STOCK_PACKAGES" fetch
