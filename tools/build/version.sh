#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Prints the version of this tree, as packages have it, and the time of its last commit:
#
#   <version of NEWS>[+git<date>.<time>.<commit>[.modified]] <seconds since 1970>
#
# A commit with the tag v<version> is that version. In an archive that was made by `git
# archive` git has filled in the commit (.gitattributes); without both, the version is
# that of NEWS.

. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2016
archived='$Format:%ct %H$'

in_tree() {
	git -C "$RNBD_TREE" -c safe.directory="*" "$@" 2>/dev/null
}

base=$(sed -nE 's/^ +"([0-9.]+)"$/\1/p' "$RNBD_TREE/rtrs/kernel_ext/version.rs")
commit=
modified=
if [ "$(in_tree rev-parse --show-prefix || echo none)" = "" ]; then
	commit=$(in_tree log -1 --format='%ct %H')
	[ -z "$(in_tree status --porcelain)" ] || modified=.modified
elif [[ $archived =~ ^[0-9] ]]; then
	commit=$archived
fi

if [ -z "$commit" ]; then
	echo "$base $(stat -c %Y "$RNBD_TREE/NEWS")"
elif [ -z "$modified" ] && in_tree describe --tags --exact-match --match "v$base" >/dev/null; then
	echo "$base ${commit% *}"
else
	seconds=${commit% *} hash=${commit#* }
	echo "$base+git$(date -u -d "@$seconds" +%Y%m%d.%H%M%S).${hash:0:8}$modified $seconds"
fi
