#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Makes the root file system of guests of arm64: packages that are unpacked and not
# configured, so that none of their programs runs on this machine.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"
. "$(dirname "$0")/mirror.sh"

fill_root() {
	local part=$1 packages options=$RNBD_CACHE/apt.options lines
	packages=$(grep -vE '^(#|$)' "$here/packages-guest" | tr '\n' ' ')
	apt_transport_options >"$options"
	mapfile -t lines < <(apt_lines "$RNBD_SUITE")
	step guest-root "making the root file system of arm64 guests" \
		unshare --mount mmdebstrap --mode=root --variant=extract --architectures=arm64 \
		--include="$packages" --aptopt="$options" "$RNBD_SUITE" "$part" "${lines[@]}"
}

make_entry "$RNBD_ARM64_GUEST" fill_root
