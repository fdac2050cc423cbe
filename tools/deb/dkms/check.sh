# SPDX-License-Identifier: GPL-2.0-only
#
# Checks whether modules can be built for a kernel on this machine. Each check has one
# line, with the command that mends it. To be sourced after kernel.sh and
# rust-metadata.sh, with the release in $release.

headers=/lib/modules/$release/build
version=$(package_version "linux-headers-$release")
source=linux-source-$(series "$release")
tarball=/usr/src/$source.tar.xz

# MiB that the source and its object folder need while the metadata is made.
needed=1300

# unfit <reason> <command that mends it>: exits.
unfit() {
	local line="rnbd: no modules for kernel $release: $1; mend it with: $2"
	echo "$line" >&2
	# DKMS sends the output to its log; a person who called it sees the line, too.
	if [ ! -t 2 ] && [ -z "${DPKG_MAINTSCRIPT_PACKAGE:-}" ]; then
		{ echo "$line" >/dev/tty; } 2>/dev/null || true
	fi
	exit "$skipped"
}

check_headers() {
	if [ -z "$version" ] || [ ! -e "$headers/.config" ]; then
		unfit "its headers are not installed" "apt-get install linux-headers-$release"
	fi
}

# Rust has no stable ABI: objects of two compilers must not be mixed.
check_compiler() {
	local wanted found number
	wanted=$(rust_compiler "$headers")
	found=$(rustc --version 2>/dev/null || true)
	number=$(cut -d ' ' -f 2 <<<"$wanted")
	[ "$wanted" = "$found" ] || unfit "'$wanted' built it, and here is '${found:-no rustc}'" \
		"apt-get install --allow-downgrades 'rustc=$number*' 'rust-src=$number*'"
}

# Whether the metadata is there, of this kernel and this compiler.
have_metadata() {
	[ "$(cat "$cache/$release/made-of" 2>/dev/null)" = "$(made_of)" ] &&
		[ -e "$cache/$release/rust/bindings/types" ]
}

made_of() {
	echo "$version, $(rust_compiler "$headers")"
}

check_source() {
	local found flavour=${release#*-}
	found=$(package_version "$source")
	if [ -z "$found" ] || [ ! -e "$tarball" ]; then
		unfit "its source is not installed" "apt-get install $source=$version"
	elif dpkg --compare-versions "$found" gt "$version"; then
		unfit "it is version $version, and $source is $found already" \
			"apt-get install linux-image-$flavour=$found linux-headers-$flavour=$found && reboot"
	elif [ "$found" != "$version" ]; then
		unfit "it is version $version, and $source is $found" "apt-get install $source=$version"
	fi
}

check_disk() {
	local free
	mkdir -p "$cache"
	free=$(df --output=avail -BM "$cache" | tail -n 1 | tr -dc 0-9)
	[ "$free" -ge "$needed" ] ||
		unfit "$cache has $free MiB free, and $needed are needed" "apt-get clean"
}

check() {
	check_headers
	check_compiler
	have_metadata || { check_source; check_disk; }
}
