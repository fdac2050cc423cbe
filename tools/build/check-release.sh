#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Says whether modules can be built for a kernel release:
#
#   check-release.sh <release>

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.sh"

[ -n "$(kernel_of_release "$1")" ] ||
	die "$1 is not a kernel of Debian that modules are built for, which are
$(xargs <<<"${kernel_names[*]}" | fold -s -w 80);
to build for the newest of those, whatever runs here," "make KVER=newest"
