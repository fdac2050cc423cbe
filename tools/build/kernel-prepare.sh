#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Prepares the object folder that modules for Debian's kernel are built against, with
# the kernel's configuration and exported symbols, and the Rust metadata that Debian's
# headers lack. Runs where the compilers are (see enter).

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"

headers=$RNBD_STOCK_PACKAGES/image/usr/src/linux-headers-$RNBD_STOCK_RELEASE

# Compares the whole version text; kernel-release.sh has compared the numbers.
check_compiler() {
	local wanted found
	wanted=$(sed -n 's/^CONFIG_RUSTC_VERSION_TEXT="\(.*\)"$/\1/p' "$headers/.config")
	found=$(rustc --version)
	[ "$wanted" = "$found" ] || die_of_compiler "$wanted" "$found" "make update"
}

# Checks that the metadata belongs to the kernel. As Debian builds without MODVERSIONS,
# loading a module would not notice. The names of Rust symbols carry a hash that changes
# with compiler, flags and source.
check_symbols() {
	local symbols missing
	symbols=$(cat "$1"/rust/exports_*_generated.h |
		sed -n 's/^EXPORT_SYMBOL_RUST_GPL(\(.*\));$/\1/p' | sort -u)
	# There are thousands. An empty list would always pass.
	[ "$(wc -l <<<"$symbols")" -ge 100 ] ||
		die "no list of Rust symbols was made with the object folder of kernel $RNBD_STOCK_RELEASE" "make distclean"
	missing=$(comm -23 - <(cut -f 2 "$headers/Module.symvers" | sort -u) <<<"$symbols")
	[ -z "$missing" ] || die "$(wc -l <<<"$missing") Rust symbols of the prepared source are not in Debian's kernel $RNBD_STOCK_RELEASE,
the first of them $(head -n 1 <<<"$missing"): source and kernel do not belong together" \
		"make distclean"
}

prepare() {
	local obj=$1 version arch
	check_compiler
	arch=$(sed -n 's/^override ARCH = //p' "$headers/.kernelvariables")
	cp "$headers"/{.config,.kernelvariables,Module.symvers} "$obj/"
	# For the BTF of the modules.
	cp "$headers/vmlinux" "$obj/" 2>/dev/null || true
	version=$(make -s -C "$RNBD_SOURCE" kernelversion)
	# The compiler is that of .kernelvariables, which is read too late to set ARCH.
	kbuild=(make -C "$RNBD_SOURCE" O="$obj" ARCH="$arch" HOSTCC=gcc-14
		LOCALVERSION="${RNBD_STOCK_RELEASE#"$version"}" -j"$(nproc)")
	step kernel-config "configuring kernel $RNBD_STOCK_RELEASE" "${kbuild[@]}" olddefconfig
	step kernel-prepare "preparing kernel $RNBD_STOCK_RELEASE and its Rust crates (about 2 minutes)" \
		"${kbuild[@]}" prepare modules_prepare
	check_symbols "$obj"
	# So that module builds against this folder are for the same architecture.
	sed -i "1a export ARCH := $arch" "$obj/Makefile"
	step kernel-depmod "indexing the modules of kernel $RNBD_STOCK_RELEASE" depmod -b "$RNBD_STOCK_PACKAGES/image/usr" "$RNBD_STOCK_RELEASE"
}

make_in_place "$RNBD_STOCK_BUILD" prepare
