#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds the sanitizing kernel from Debian's source, with clang, as KASAN and Rust work
# together only with it. Runs where the compilers are (see enter).

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"

# Kconfig silently drops an option that is unknown or lacks a dependency.
check_config() {
	local missing
	missing=$(grep -E '^CONFIG_' "$here/sanitize.config" | grep -v '=n$' | grep -vxFf "$1/.config" || true)
	[ -z "$missing" ] || die "the configuration did not take: $missing" "edit tools/build/sanitize.config"
}

build() {
	local obj=$1 kbuild
	kbuild=(make -C "$RNBD_SOURCE" O="$obj" LLVM=-19 -j"$(nproc)")
	step sanitize-config "configuring the sanitizing kernel" \
		"${kbuild[@]}" KCONFIG_ALLCONFIG="$here/sanitize.config" allnoconfig
	check_config "$obj"
	step sanitize-build "building the sanitizing kernel (13 minutes on 2 processors)" \
		"${kbuild[@]}" bzImage modules
	step sanitize-modules "installing its modules" \
		"${kbuild[@]}" INSTALL_MOD_PATH="$obj/image" modules_install
	# So that module builds against this folder use the same compiler.
	sed -i '1a export LLVM := -19' "$obj/Makefile"
}

make_in_place "$RNBD_SANITIZE_BUILD" build
