#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Makes Debian packages in build/deb: the modules for RNBD_STOCK_RELEASE, their source for
# DKMS, and the tools.

. "$(dirname "$0")/lib.sh"

"$RNBD_TREE/tools/build/prepare" modules root deb-root
. "$(dirname "$0")/paths.sh"

built=$RNBD_TREE/build/deb/built
read -r RNBD_VERSION RNBD_SECONDS < <("$here/version.sh")
export RNBD_VERSION RNBD_SECONDS

rm -rf "$built"
mkdir -p "$built"
# Strips and compresses them as Debian's own.
step deb-modules "collecting the modules for $RNBD_STOCK_RELEASE" \
	"$here/enter" "$here/modules.sh" stock INSTALL_MOD_PATH="$built/modules/usr" \
	INSTALL_MOD_DIR=updates/rnbd INSTALL_MOD_STRIP=1 CONFIG_MODULE_SIG_ALL= modules_install
say "building rnbdctl"
"$here/root.sh" test
RNBD_ENTER=$RNBD_TEST_ROOT "$here/enter" "$here/rnbdctl.sh"
[ "$RNBD_ARCH" = amd64 ] || RNBD_ENTER=$RNBD_DEB_ROOT "$here/enter" "$here/rnbdctl.sh" "$RNBD_ARCH"
RNBD_ENTER=$RNBD_DEB_ROOT "$here/enter" "$here/deb-build.sh" "$built"
