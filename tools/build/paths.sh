# SPDX-License-Identifier: GPL-2.0-only
#
# Sets the names of everything that the scripts of this folder make, each keyed by its
# input, in environment variables that scripts and bench share. To be sourced after
# lib.sh.
#
#   RNBD_TREE, RNBD_CACHE   this tree; the cache
#   RNBD_ROOT               build root
#   RNBD_SOURCE             source of both kernels
#   RNBD_C_DRIVERS          where the C drivers are built
#
# and for each of the two kernels, STOCK and SANITIZE:
#
#   RNBD_<kernel>_RELEASE   what `uname -r` prints on it
#   RNBD_<kernel>_BUILD     object folder that modules for it are built against
#   RNBD_<kernel>_VMLINUZ   boot image
#   RNBD_<kernel>_MODULES   its own modules, a folder with kernel/ in it
#   RNBD_<kernel>_RUST      our modules, built for it
#   RNBD_STOCK_C            the C drivers' modules

here=$RNBD_TREE/tools/build

# keyed <name> <file...>: prints a name in the cache that changes with the files.
keyed() {
	local name=$1
	shift
	echo "$RNBD_CACHE/$name-$(cd "$here" && hash_of "$@")"
}

RNBD_ROOT=$(keyed root packages-build packages-test root.sh)

# The given release, or the newest one of the last look-up.
RNBD_STOCK_RELEASE=${RNBD_STOCK_RELEASE:-$(cat "$RNBD_CACHE/kernel-release" 2>/dev/null || true)}
RNBD_STOCK_PACKAGES=$(keyed "kernel-$RNBD_STOCK_RELEASE" kernel-fetch.sh)
RNBD_SOURCE=$RNBD_STOCK_PACKAGES/source
RNBD_STOCK_BUILD=$(keyed "build-$RNBD_STOCK_RELEASE" kernel-fetch.sh kernel-prepare.sh packages-build)
RNBD_STOCK_MODULES=$RNBD_STOCK_PACKAGES/image/usr/lib/modules/$RNBD_STOCK_RELEASE
RNBD_STOCK_VMLINUZ=$RNBD_STOCK_MODULES/vmlinuz
RNBD_STOCK_RUST=$RNBD_TREE/build/$RNBD_STOCK_RELEASE
RNBD_C_DRIVERS=$(keyed "c-drivers-$RNBD_STOCK_RELEASE" kernel-fetch.sh kernel-prepare.sh packages-build c-drivers.sh)
RNBD_STOCK_C=$RNBD_C_DRIVERS/modules

RNBD_SANITIZE_RELEASE=${RNBD_STOCK_RELEASE%%[+-]*}-sanitize
RNBD_SANITIZE_BUILD=$(keyed "build-$RNBD_SANITIZE_RELEASE" kernel-fetch.sh sanitize.sh sanitize.config)
RNBD_SANITIZE_VMLINUZ=$RNBD_SANITIZE_BUILD/arch/x86/boot/bzImage
RNBD_SANITIZE_MODULES=$RNBD_SANITIZE_BUILD/image/lib/modules/$RNBD_SANITIZE_RELEASE
RNBD_SANITIZE_RUST=$RNBD_TREE/build/$RNBD_SANITIZE_RELEASE

export RNBD_ROOT RNBD_SOURCE RNBD_C_DRIVERS RNBD_STOCK_RELEASE RNBD_STOCK_PACKAGES \
	RNBD_STOCK_BUILD RNBD_STOCK_MODULES RNBD_STOCK_VMLINUZ RNBD_STOCK_RUST RNBD_STOCK_C

# The bench sees the sanitizing kernel only once it is complete.
if [ -e "$RNBD_SANITIZE_BUILD/.complete" ]; then
	export RNBD_SANITIZE_RELEASE RNBD_SANITIZE_BUILD RNBD_SANITIZE_MODULES \
		RNBD_SANITIZE_VMLINUZ RNBD_SANITIZE_RUST
fi
