#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Makes a root, whatever this machine runs: a Debian with some packages.
#
#   root.sh build    the build root of the kernel
#   root.sh test     the root of tests and tools, which may be the same
#   root.sh deb      the one in which Debian packages are made: packages-deb

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"
. "$(dirname "$0")/mirror.sh"

listed() {
	(cd "$here" && grep -hvE '^(#|$)' "$@")
}

# fill_root <folder> <what> <suite> <package...>
fill_root() {
	local part=$1 what=$2 suite=$3 options=$RNBD_CACHE/apt.options lines
	shift 3
	apt_transport_options >"$options"
	mapfile -t lines < <(apt_lines "$suite")
	# In a mount namespace, so that no mount is left after an interrupt.
	step root "making the $what root (Debian $suite, about a minute)" \
		unshare --mount mmdebstrap --mode=root --variant=minbase \
		--include="$*" --aptopt="$options" \
		--dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/info/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		"$suite" "$part" "${lines[@]}"
}

fill_test_root() {
	local packages
	mapfile -t packages < <(compilers; listed packages-test)
	fill_root "$1" build "$RNBD_SUITE" "${packages[@]}"
}

fill_build_root() {
	local packages
	mapfile -t packages < <(compilers)
	fill_root "$1" build "$RNBD_BASE" "${packages[@]}"
}

fill_deb_root() {
	local packages
	mapfile -t packages < <(listed packages-deb)
	fill_root "$1" packaging "$RNBD_SUITE" "${packages[@]}"
}

case $1 in
build)
	if [ "$RNBD_ROOT" = "$RNBD_TEST_ROOT" ]; then
		make_entry "$RNBD_ROOT" fill_test_root
	else
		make_entry "$RNBD_ROOT" fill_build_root
	fi
	;;
# Its compilers are those of the first kernel of the table.
test) [ -e "$RNBD_TEST_ROOT" ] || "$here/for-release" newest "$here/root.sh" build ;;
deb) make_entry "$RNBD_DEB_ROOT" fill_deb_root ;;
esac
