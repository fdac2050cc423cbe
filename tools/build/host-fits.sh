#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Succeeds if this machine can build for Debian's kernel without a build root: a
# Debian of the kernel's suite with its compilers. On one without them, prints the missing packages.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"

suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[ "$suite" = "$RNBD_BASE" ] || [ "$suite,$RNBD_BASE" = forky,sid ] || exit 1
mapfile -t packages < <(compilers)
missing=$(comm -23 <(printf '%s\n' "${packages[@]}" | sort) \
	<(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null |
		sed -n 's/^installed //p' | sort -u))
[ -z "$missing" ] || { echo "this machine lacks the packages $(xargs <<<"$missing")"; exit 1; }
