#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Makes the build root: a Debian trixie with the packages that RNBD_ROOT_PACKAGES names
# the lists of, whatever this machine runs.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"
. "$(dirname "$0")/mirror.sh"

fill_root() {
	local part=$1 packages options=$RNBD_CACHE/apt.options lines
	packages=$(grep -hvE '^(#|$)' "${RNBD_ROOT_PACKAGES[@]/#/$here/}" | tr '\n' ' ')
	apt_transport_options >"$options"
	mapfile -t lines < <(apt_lines)
	# In a mount namespace, so that no mount is left after an interrupt.
	step root "making the build root (Debian $RNBD_SUITE, about a minute)" \
		unshare --mount mmdebstrap --mode=root --variant=minbase \
		--include="$packages" --aptopt="$options" \
		--dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/info/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		"$RNBD_SUITE" "$part" "${lines[@]}"
}

make_entry "$RNBD_ROOT" fill_root
