#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Makes the root in which Debian packages for another architecture than amd64 are made, with the
# compilers and libraries for it: packages-deb and packages-deb-cross. Its programs are those of
# amd64.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"
. "$(dirname "$0")/mirror.sh"

fill_root() {
	local part=$1 options=$RNBD_CACHE/apt.options packages lines
	packages=$(cd "$here" && grep -hvE '^(#|$)' packages-deb packages-deb-cross | sed "s/@ARCH@/$RNBD_ARCH/")
	apt_transport_options >"$options"
	mapfile -t lines < <(apt_lines "$RNBD_SUITE")
	# In a mount namespace, so that no mount is left after an interrupt.
	step cross-root "making the packaging root for $RNBD_ARCH (Debian $RNBD_SUITE, about a minute)" \
		unshare --mount mmdebstrap --mode=root --variant=minbase \
		--architectures="amd64,$RNBD_ARCH" --include="$(tr '\n' ' ' <<<"$packages")" \
		--aptopt="$options" --dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		"$RNBD_SUITE" "$part" "${lines[@]}"
}

make_entry "$RNBD_DEB_ROOT" fill_root
