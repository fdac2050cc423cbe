#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Succeeds when this machine has the compilers to build for Debian's kernel
# itself, so that no build root is needed: a trixie with the right packages.

. "$(dirname "$0")/lib.sh"

suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[ "$suite" = "$RNBD_SUITE" ] || exit 1
mapfile -t packages < <(grep -vE '^(#|$)' "$RNBD_TREE/tools/build/packages-build")
found=$(dpkg-query -W -f '${db:Status-Status}\n' "${packages[@]}" 2>/dev/null | grep -cx installed || true)
[ "$found" -eq ${#packages[@]} ] || exit 1
# A compiler of the user's own would come first.
[ "$(command -v rustc)" = /usr/bin/rustc ] && [ "$(command -v bindgen)" = /usr/bin/bindgen ]
