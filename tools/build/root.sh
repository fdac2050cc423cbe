#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Makes a root, whatever this machine runs: a Debian trixie with the packages of some lists.
#
#   root.sh build    the build root: the packages of RNBD_ROOT_PACKAGES
#   root.sh deb      the one in which Debian packages are made: packages-deb

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"
. "$(dirname "$0")/mirror.sh"

fill_root() {
	local part=$1 what=$2 packages options=$RNBD_CACHE/apt.options lines
	shift 2
	packages=$(cd "$here" && grep -hvE '^(#|$)' "$@" | tr '\n' ' ')
	apt_transport_options >"$options"
	mapfile -t lines < <(apt_lines)
	# In a mount namespace, so that no mount is left after an interrupt.
	step root "making the $what root (Debian $RNBD_SUITE, about a minute)" \
		unshare --mount mmdebstrap --mode=root --variant=minbase \
		--include="$packages" --aptopt="$options" \
		--dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/info/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		"$RNBD_SUITE" "$part" "${lines[@]}"
}

case $1 in
build) make_entry "$RNBD_ROOT" fill_root build "${RNBD_ROOT_PACKAGES[@]}" ;;
deb) make_entry "$RNBD_DEB_ROOT" fill_root packaging packages-deb ;;
esac
