#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Says whether modules can be built for a kernel release:
#
#   check-release.sh <release>

. "$(dirname "$0")/lib.sh"

case $1 in
*-cloud-amd64 | *-rt-amd64)
	die "$1 is a special flavour of Debian's kernel; only the plain one is supported" \
		"apt-get install -t $RNBD_SUITE-backports linux-image-amd64 && reboot"
	;;
*)
	grep -Eqx "$RNBD_RELEASES" <<<"$1" ||
		die "$1 is not a $RNBD_SERIES kernel of Debian $RNBD_SUITE-backports, the only ones supported;
to build for the newest of those, whatever runs here," "make KVER=newest"
	;;
esac
