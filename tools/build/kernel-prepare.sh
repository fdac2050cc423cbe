#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Prepares the object folder that modules for Debian's kernel are built against, with
# the kernel's configuration and exported symbols, and the Rust metadata that Debian's
# headers lack. Runs where the compilers are (see enter).

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"
. "$(dirname "$0")/rust-metadata.sh"

headers=$RNBD_STOCK_PACKAGES/image/usr/src/linux-headers-$RNBD_STOCK_RELEASE

# Compares the whole version text; kernel-release.sh has compared the numbers.
check_compiler() {
	local wanted found
	wanted=$(rust_compiler "$headers")
	found=$(rustc --version)
	[ "$wanted" = "$found" ] || die_of_compiler "$wanted" "$found" "make update"
}

# Checks that the metadata belongs to the kernel.
check_symbols() {
	local missing
	missing=$(missing_rust_symbols "$1" "$headers") ||
		die "no list of Rust symbols was made with the object folder of kernel $RNBD_STOCK_RELEASE" "make distclean"
	[ -z "$missing" ] || die "$(wc -l <<<"$missing") Rust symbols of the prepared source are not in Debian's kernel $RNBD_STOCK_RELEASE,
the first of them $(head -n 1 <<<"$missing"): source and kernel do not belong together" \
		"make distclean"
}

prepare() {
	local obj=$1
	check_compiler
	# For the BTF of the modules.
	cp "$headers/vmlinux" "$obj/" 2>/dev/null || true
	make_rust_metadata "$obj" "$RNBD_SOURCE" "$headers" "$RNBD_STOCK_RELEASE"
	check_symbols "$obj"
	step kernel-depmod "indexing the modules of kernel $RNBD_STOCK_RELEASE" depmod -b "$RNBD_STOCK_PACKAGES/image/usr" "$RNBD_STOCK_RELEASE"
}

make_in_place "$RNBD_STOCK_BUILD" prepare
