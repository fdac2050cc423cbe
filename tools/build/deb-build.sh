#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Packs what was built into Debian packages, and checks them with lintian:
#
#   deb-build.sh <folder with modules/>
#
# Runs in the root for that (see enter). All is compiled already.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"

made=$RNBD_TREE/build/deb
export SOURCE_DATE_EPOCH=$RNBD_SECONDS

"$here/deb-source.sh" "$made/rnbd" "$1"
rm -f "$made"/*.{deb,changes,buildinfo}
cd "$made/rnbd"
step deb-build "packing rnbd $RNBD_VERSION" \
	dpkg-buildpackage --host-arch "$RNBD_ARCH" --build=binary --no-sign --no-check-builddeps
cd "$made"
checks=(--allow-root --fail-on "error,warning" --info)
# Packages for machines of one's own need no address.
if [ -z "${RNBD_MAINTAINER:-}" ]; then
	checks+=(--suppress-tags "bogus-mail-host,bogus-mail-host-in-debian-changelog,root-in-contact")
fi
step deb-lintian "checking the packages" lintian "${checks[@]}" ./*.changes
rm -r rnbd "$1"
for package in *.deb; do
	say "build/deb/$package"
done
