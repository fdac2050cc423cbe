#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Checks whether this machine can make what is asked for, before anything is downloaded.
# Each check has one message, with the command that mends it.
#
#   preflight.sh <MiB of disk space needed> root|host
#
# `root` stands for a build root, `host` for the compilers of this machine.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"
. "$(dirname "$0")/mirror.sh"

check_machine() {
	[ "$(uname -m)" = x86_64 ] || die "this machine is $(uname -m); only x86_64 is supported"
	command -v apt-get >/dev/null || die "apt-get is missing: only Debian 12, 13 and later are supported"
}

check_root() {
	[ "$(id -u)" = 0 ] || die "root is needed to make or enter the build root${RNBD_HOST_LACKS:+
(not without it, as $RNBD_HOST_LACKS)}" \
		"sudo ${RNBD_GOAL:-make}"
	unshare --mount --pid --fork true 2>/dev/null ||
		die "mounts of our own are not allowed here, as in a container without privileges" \
			"docker run --privileged ..."
}

check_disk() {
	local needed=$1 free
	free=$(df --output=avail -BM "$RNBD_CACHE" | tail -n 1 | tr -dc 0-9)
	[ "$free" -ge "$needed" ] ||
		die "$RNBD_CACHE has $free MiB free, and $needed are needed" \
			"RNBD_CACHE=<a folder with more space> ${RNBD_GOAL:-make}"
}

# Uses apt's own downloader, with its proxies and certificates. Two goals may run at once.
check_network() {
	local mirror probe=$RNBD_CACHE/log/probe.$$ suite
	mirror=$(find_mirror)
	[ -n "$mirror" ] || die "no Debian mirror was found in this machine's apt sources" \
		"RNBD_MIRROR=<URL of a Debian mirror> ${RNBD_GOAL:-make}"
	for suite in ${apt_suites[$RNBD_BASE]}; do
		/usr/lib/apt/apt-helper -o Acquire::Retries=2 download-file \
			"$mirror/dists/$suite/InRelease" "$probe" >"$probe.log" 2>&1 ||
			die_of_network "$probe.log"
		rm -f "$probe" "$probe.log"
	done
}

# These small packages are the only change to the machine itself.
install_tools() {
	local missing=()
	command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
	command -v xz >/dev/null || missing+=(xz-utils)
	[ -e "$keyring" ] || missing+=(debian-archive-keyring)
	[ ${#missing[@]} -gt 0 ] || return 0
	step host-update "reading this machine's package lists" apt-get -q update
	step host-install "installing ${missing[*]} on this machine" env DEBIAN_FRONTEND=noninteractive \
		apt-get -q install -y --no-install-recommends "${missing[@]}"
}

check_machine
[ "$2" = host ] || check_root
check_disk "$1"
check_network
[ "$2" = host ] || install_tools
