#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Succeeds if this machine can build for Debian's kernel without a build root: a
# trixie with the compilers. On a trixie without them, prints the missing packages.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"

suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[ "$suite" = "$RNBD_SUITE" ] || exit 1
mapfile -t packages < <(grep -hvE '^(#|$)' "${RNBD_COMPILERS[@]/#/$here/}")
missing=$(comm -23 <(printf '%s\n' "${packages[@]}" | sort) \
	<(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null |
		sed -n 's/^installed //p' | sort -u))
[ -z "$missing" ] || { echo "this machine lacks the packages $(xargs <<<"$missing")"; exit 1; }
