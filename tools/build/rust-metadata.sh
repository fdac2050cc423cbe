# SPDX-License-Identifier: GPL-2.0-only
#
# Functions that make the Rust metadata of one of Debian's kernels, which its headers
# lack, from its source, and check it. Used by kernel-prepare.sh and, on the machines of
# users, by the package rnbd-dkms. To be sourced where `step <log name> <description>
# <command...>` runs a command.

# rust_compiler <folder of headers>: prints the version text of the kernel's compiler.
rust_compiler() {
	sed -n 's/^CONFIG_RUSTC_VERSION_TEXT="\(.*\)"$/\1/p' "$1/.config"
}

# make_rust_metadata <object folder> <source> <folder of headers> <release>: fills an
# object folder, with the metadata in its rust/.
make_rust_metadata() {
	local obj=$1 source=$2 headers=$3 release=$4 version arch compiler kbuild
	cp "$headers"/{.config,.kernelvariables,Module.symvers} "$obj/"
	version=$(make -s -C "$source" kernelversion)
	# The compiler is that of .kernelvariables, which is read too late to set ARCH.
	arch=$(sed -n 's/^override ARCH = //p' "$headers/.kernelvariables")
	compiler=$(grep -oEm 1 'gcc-[0-9]+' "$headers/.kernelvariables")
	kbuild=(make -C "$source" O="$obj" ARCH="$arch" HOSTCC="$compiler"
		LOCALVERSION="${release#"$version"}" -j"$(nproc)")
	step kernel-config "configuring kernel $release" "${kbuild[@]}" olddefconfig
	step kernel-prepare "preparing kernel $release and its Rust crates (about 2 minutes)" \
		"${kbuild[@]}" prepare modules_prepare
	# So that module builds against this folder are for the same architecture.
	sed -i "1a export ARCH := $arch" "$obj/Makefile"
}

# missing_rust_symbols <object folder> <folder of headers>: prints the Rust symbols of
# the metadata that the kernel does not export. Fails if the object folder has no list of
# symbols.
#
# As Debian builds without MODVERSIONS, loading a module would not notice a difference.
# The names of Rust symbols carry a hash that changes with compiler, flags and source.
missing_rust_symbols() {
	local symbols
	symbols=$(cat "$1"/rust/exports_*_generated.h |
		sed -n 's/^EXPORT_SYMBOL_RUST_GPL(\(.*\));$/\1/p' | sort -u)
	# There are thousands. Of an empty list none would be missing.
	[ "$(wc -l <<<"$symbols")" -ge 100 ] || return
	comm -23 - <(cut -f 2 "$2/Module.symvers" | sort -u) <<<"$symbols"
}
