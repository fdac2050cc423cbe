# SPDX-License-Identifier: GPL-2.0-only
#
# Sets the names of everything that the scripts of this folder make, each keyed by its
# input, in environment variables that scripts and bench share. To be sourced after
# lib.sh.
#
#   RNBD_TREE, RNBD_CACHE   this tree; the cache
#   RNBD_KERNEL             name of the stock kernel in the table (see kernels)
#   RNBD_SERIES, RNBD_ARCH, RNBD_FLAVOUR
#                           its upstream series; its architecture and flavour, in Debian's words
#   RNBD_KERNEL_SUITE       Debian's suite that it comes from
#   RNBD_BASE               the suite with its compilers
#   RNBD_REMEMBERED         file with its newest release at the last look-up
#   RNBD_ROOT               build root
#   RNBD_TEST_ROOT          the one that has what tests and tools need, too
#   RNBD_DEB_ROOT           root in which Debian packages are made
#   RNBD_SOURCE             source of the stock and of the sanitizing kernel
#   RNBD_C_DRIVERS          where the C drivers are built
#   RNBD_ARM64_GUEST        root file system of guests of arm64
#   RNBD_DEBIAN             disk, kernel and initramfs of guests that are Debian machines
#
# and for each of the two kernels, STOCK and SANITIZE:
#
#   RNBD_<kernel>_RELEASE   what `uname -r` prints on it
#   RNBD_<kernel>_BUILD     object folder that modules for it are built against
#   RNBD_<kernel>_VMLINUZ   boot image
#   RNBD_<kernel>_MODULES   its own modules, a folder with kernel/ in it
#   RNBD_<kernel>_RUST      our modules, built for it
#   RNBD_STOCK_C            the C drivers' modules
#
# For each kernel that RNBD_KERNELS names (or `all`), the bench also sees the same five
# with its name, as in RNBD_7_3_RT_AMD64_RELEASE.

here=$RNBD_TREE/tools/build
. "$here/kernels.sh"

# keyed <name> <file...>: prints a name in the cache that changes with the files.
keyed() {
	local name=$1
	shift
	echo "$RNBD_CACHE/$name-$(cd "$here" && hash_of "$@")"
}

# That of the given release, the given one, or the first one of the table.
if [ -n "${RNBD_STOCK_RELEASE:-}" ]; then
	RNBD_KERNEL=$(kernel_of_release "$RNBD_STOCK_RELEASE")
fi
RNBD_KERNEL=${RNBD_KERNEL:-$(kernel_called newest)}
RNBD_SERIES=${RNBD_KERNEL%%-*}
RNBD_ARCH=${kernel_columns[$RNBD_KERNEL,architecture]}
RNBD_FLAVOUR=${kernel_columns[$RNBD_KERNEL,flavour]}
RNBD_KERNEL_SUITE=${kernel_columns[$RNBD_KERNEL,suite]}
RNBD_BASE=$(suite_column "$RNBD_KERNEL" base)

# compiler_lists <architecture>: prints the lists of packages that build modules for it.
compiler_lists() {
	echo packages-build
	[ "$1" = amd64 ] || echo "packages-$1"
}

# Prints the packages that build modules for the kernel.
compilers() {
	local lists compiler
	mapfile -t lists < <(compiler_lists "$RNBD_ARCH")
	(cd "$here" && grep -hvE '^(#|$)' "${lists[@]}")
	compiler=$(suite_column "$RNBD_KERNEL" compiler)
	echo "$compiler"
	[ "$RNBD_ARCH" = amd64 ] || echo "$compiler-aarch64-linux-gnu"
}

# Tests and tools are run and built in one root, whose compilers build modules for most
# kernels as well. Those of other architectures and suites have roots of their own.
RNBD_TEST_ROOT=$(keyed root packages-build packages-test suites root.sh)
if [ "$RNBD_BASE-$RNBD_ARCH" = "$RNBD_SUITE-amd64" ]; then
	RNBD_ROOT=$RNBD_TEST_ROOT
else
	mapfile -t lists < <(compiler_lists "$RNBD_ARCH")
	RNBD_ROOT=$(keyed "root-$RNBD_BASE-$RNBD_ARCH" "${lists[@]}" suites root.sh)
fi

# kernel_paths <prefix> <name> <release>: sets the variables of a kernel.
kernel_paths() {
	local prefix=RNBD_$1 release=$3 packages modules lists
	mapfile -t lists < <(compiler_lists "${kernel_columns[$2,architecture]}")
	packages=$(keyed "kernel-$release" kernel-fetch.sh)
	modules=$packages/image/usr/lib/modules/$release
	declare -gx "${prefix}_RELEASE=$release" "${prefix}_PACKAGES=$packages" \
		"${prefix}_MODULES=$modules" "${prefix}_VMLINUZ=$modules/vmlinuz" \
		"${prefix}_RUST=$RNBD_TREE/build/$release" \
		"${prefix}_BUILD=$(keyed "build-$release" kernel-fetch.sh kernel-prepare.sh rust-metadata.sh "${lists[@]}")"
}
if [ "$RNBD_ARCH" = amd64 ]; then
	RNBD_DEB_ROOT=$(keyed root-deb packages-deb root.sh)
else
	RNBD_DEB_ROOT=$(keyed "root-deb-$RNBD_ARCH" packages-deb packages-deb-cross cross-root.sh)
fi

# The given release, or the newest one of the last look-up.
RNBD_REMEMBERED=$RNBD_CACHE/kernel-release-$RNBD_KERNEL
RNBD_STOCK_RELEASE=${RNBD_STOCK_RELEASE:-$(cat "$RNBD_REMEMBERED" 2>/dev/null || true)}
kernel_paths STOCK "$RNBD_KERNEL" "$RNBD_STOCK_RELEASE"
# All flavours of a version share their source: 7.3.4+deb13.
RNBD_SOURCE=$(keyed "source-${RNBD_STOCK_RELEASE%"-$RNBD_FLAVOUR"}" kernel-fetch.sh)
RNBD_C_DRIVERS=$(keyed "c-drivers-$RNBD_STOCK_RELEASE" kernel-fetch.sh kernel-prepare.sh rust-metadata.sh packages-build c-drivers.sh)
RNBD_STOCK_C=$RNBD_C_DRIVERS/modules

RNBD_SANITIZE_RELEASE=${RNBD_STOCK_RELEASE%%[+-]*}-sanitize
RNBD_SANITIZE_BUILD=$(keyed "build-$RNBD_SANITIZE_RELEASE" kernel-fetch.sh sanitize.sh sanitize.config)
RNBD_SANITIZE_VMLINUZ=$RNBD_SANITIZE_BUILD/arch/x86/boot/bzImage
RNBD_SANITIZE_MODULES=$RNBD_SANITIZE_BUILD/image/lib/modules/$RNBD_SANITIZE_RELEASE
RNBD_SANITIZE_RUST=$RNBD_TREE/build/$RNBD_SANITIZE_RELEASE

export RNBD_KERNEL RNBD_SERIES RNBD_ARCH RNBD_ROOT RNBD_TEST_ROOT RNBD_DEB_ROOT RNBD_SOURCE \
	RNBD_C_DRIVERS RNBD_STOCK_C

for name in $(kernels_asked); do
	release=$(cat "$RNBD_CACHE/kernel-release-$name" 2>/dev/null) || continue
	kernel_paths "$(tr a-z.- A-Z__ <<<"$name")" "$name" "$release"
done

# Where guests of another architecture have their programs from.
RNBD_ARM64_GUEST=$(keyed guest-arm64 packages-guest guest-root.sh)
# What guests that are Debian machines boot.
RNBD_DEBIAN=$(keyed "debian-$RNBD_STOCK_RELEASE" packages-debian suites debian-image.sh \
	../testing/guest/agent.py ../testing/guest/bench-agent.service)
export RNBD_ARM64_GUEST RNBD_DEBIAN

# The bench sees the sanitizing kernel only once it is complete.
if [ -e "$RNBD_SANITIZE_BUILD/.complete" ]; then
	export RNBD_SANITIZE_RELEASE RNBD_SANITIZE_BUILD RNBD_SANITIZE_MODULES \
		RNBD_SANITIZE_VMLINUZ RNBD_SANITIZE_RUST
fi
