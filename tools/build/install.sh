#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Installs the modules built for RNBD_STOCK_RELEASE where modprobe finds them:
#
#   install.sh <DESTDIR, or nothing>

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"

target=$1/lib/modules/$RNBD_STOCK_RELEASE/updates
mkdir -p "$target" 2>/dev/null && [ -w "$target" ] ||
	die "$target cannot be written" "sudo make install"
install -m 644 "$RNBD_STOCK_RUST"/{rtrs,rnbd_client,rnbd_server}.ko "$target/"
say "installed rtrs, rnbd_client and rnbd_server in $target"
# A package that is being made runs depmod when it is installed.
if [ -z "$1" ]; then
	command -v depmod >/dev/null || die "depmod is missing" "apt-get install kmod && make install"
	depmod -a "$RNBD_STOCK_RELEASE"
fi
