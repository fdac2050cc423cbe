#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Downloads and unpacks Debian's kernel: source, configuration and exported
# symbols, boot image, modules.
#
#   kernel-fetch.sh           the newest of the series, found once and remembered
#   kernel-fetch.sh --newest  looks again
#
# With RNBD_STOCK_RELEASE=<release> set, that one. Uses apt with folders of its own, so neither
# the apt sources nor the package lists of this machine are touched.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mirror.sh"

apt=$RNBD_CACHE/apt

apt_setup() {
	mkdir -p "$apt"/{state/lists/partial,cache/archives/partial}
	apt_lines >"$apt/sources.list"
	printf '%s\n' \
		"Dir::State \"$apt/state\";" \
		'Dir::State::status "/dev/null";' \
		"Dir::Cache \"$apt/cache\";" \
		"Dir::Etc::SourceList \"$apt/sources.list\";" \
		'Dir::Etc::SourceParts "-";' \
		'Dir::Etc::Preferences "-";' \
		'Dir::Etc::PreferencesParts "-";' \
		'APT::Architecture "amd64";' \
		'APT::Architectures "amd64";' \
		'APT::Sandbox::User "root";' \
		'Acquire::Languages "none";' \
		'Acquire::Retries "3";' >"$apt/apt.conf"
	export APT_CONFIG=$apt/apt.conf
	step apt-update "reading Debian's package lists" apt-get -q update
}

# The newest plain kernel: no cloud, real-time or unsigned flavour.
newest_release() {
	apt-cache pkgnames "linux-headers-$RNBD_SERIES" |
		sed -nE 's/^linux-headers-([0-9.]+\+deb[0-9]+-amd64)$/\1/p' | sort -V | tail -n 1
}

# Parts of the source that no build here reads. Their Kconfig and make files
# stay, as those are read for every build.
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
	version=$(apt-cache show "linux-headers-$RNBD_STOCK_RELEASE" 2>/dev/null | sed -n 's/^Version: //p' | head -n 1)
	[ -n "$version" ] || die "Debian does not offer kernel $RNBD_STOCK_RELEASE (any more)" \
		"apt-get install -t $RNBD_SUITE-backports linux-image-amd64 && reboot"
	apt-cache show "linux-source-$RNBD_SERIES=$version" >/dev/null 2>&1 ||
		die "the source of kernel $RNBD_STOCK_RELEASE ($version) is no longer offered by Debian" \
			"apt-get install -t $RNBD_SUITE-backports linux-image-amd64 && reboot"
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

if [ -z "${RNBD_STOCK_RELEASE:-}" ]; then
	if [ ! -s "$RNBD_CACHE/kernel-release" ] || [ "${1:-}" = --newest ]; then
		apt_setup
		newest=$(newest_release)
		[ -n "$newest" ] || die "Debian $RNBD_SUITE-backports has no kernel $RNBD_SERIES.x" \
			"RNBD_MIRROR=<a mirror that has $RNBD_SUITE-backports> make ..."
		echo "$newest" >"$RNBD_CACHE/kernel-release"
	fi
	RNBD_STOCK_RELEASE=$(cat "$RNBD_CACHE/kernel-release")
fi

. "$(dirname "$0")/paths.sh"
if [ ! -e "$RNBD_STOCK_PACKAGES" ]; then
	[ -n "${APT_CONFIG:-}" ] || apt_setup
	make_entry "$RNBD_STOCK_PACKAGES" fetch
fi
