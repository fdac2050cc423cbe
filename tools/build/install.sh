#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Installs the modules for RNBD_STOCK_RELEASE where modprobe finds them:
#
#   install.sh <DESTDIR, or nothing>
#
# It builds nothing: it mostly runs as root, which has another cache than the user
# that built the modules, and would leave its files among those of the user.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"

goal=${RNBD_GOAL:-make install}

[ -n "$RNBD_STOCK_RELEASE" ] || die "which release of $RNBD_KERNEL is the newest is not known in $RNBD_CACHE" \
	"${goal% KVER=*} KVER=<release, as the folder in build/ is called>"
for name in rtrs rnbd_client rnbd_server; do
	[ -e "$RNBD_STOCK_RUST/$name.ko" ] ||
		die "$name.ko is not built for $RNBD_STOCK_RELEASE yet" "${goal/ install/}"
done
target=$1/lib/modules/$RNBD_STOCK_RELEASE/updates
if ! mkdir -p "$target" 2>/dev/null || [ ! -w "$target" ]; then
	die "$target cannot be written" "sudo $goal${1:+ DESTDIR=$1}"
fi
install -m 644 "$RNBD_STOCK_RUST"/{rtrs,rnbd_client,rnbd_server}.ko "$target/"
say "installed rtrs, rnbd_client and rnbd_server in $target"
# A package that is being made runs depmod when it is installed.
if [ -z "$1" ]; then
	command -v depmod >/dev/null || die "depmod is missing" "apt-get install kmod && $goal"
	depmod -a "$RNBD_STOCK_RELEASE"
fi
