#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Makes the folder that Debian packages are built in, with debian/, of what was built:
#
#   deb-source.sh <folder> <folder with modules/>
#
# RNBD_VERSION and RNBD_SECONDS are those of version.sh.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"

folder=$1 built=$2
deb=$RNBD_TREE/tools/deb
release=$RNBD_STOCK_RELEASE

# Who gives packages away has an address. lintian knows the other one (deb-build.sh).
maintainer=${RNBD_MAINTAINER:-The RNBD in Rust authors <root@localhost>}

# Upstream series of the kernels that DKMS builds modules for, the newest one first.
mapfile -t series < <(printf '%s\n' "${kernel_names[@]%%-*}" | sort -Vru)

# Compilers of these kernels, the oldest one first.
mapfile -t compilers < <(for name in "${kernel_names[@]}"; do suite_column "$name" compiler; done | sort -Vu)

# joined <separator> <word...>: prints the words.
joined() {
	local separator=$1 found
	shift
	found=$(printf "%s" "${@/#/$separator}")
	echo "${found#"$separator"}"
}

# fill <template> <file>: replaces the names between @.
fill() {
	local pattern
	pattern=$(joined "|" "${series[@]}")
	sed -e "s/@RELEASE@/$release/g" -e "s/@ARCH@/$RNBD_ARCH/g" \
		-e "s/@VERSION@/$RNBD_VERSION/g" -e "s/@MAINTAINER@/$maintainer/g" \
		-e "s/@SERIES@/$(joined " or " "${series[@]}")/g" \
		-e "s/@SOURCES@/$(joined " | " "${series[@]/#/linux-source-}")/g" \
		-e "s/@COMPILERS@/$(joined " | " "${compilers[@]}")/g" \
		-e "s/@KERNELS@/^(${pattern//./[.]})[.]/g" "$1" >"$2"
}

fill_debian() {
	local file name
	mkdir -p "$folder/debian/source"
	echo "3.0 (native)" >"$folder/debian/source/format"
	for file in "$deb"/*; do
		[ -f "$file" ] || continue
		name=${file##*/}
		name=${name%.in}
		fill "$file" "$folder/debian/${name/rnbd-modules./rnbd-modules-$release.}"
	done
	chmod +x "$folder/debian/rules"
	cat >"$folder/debian/changelog" <<-END
		rnbd ($RNBD_VERSION) unstable; urgency=medium

		  * Built from the tree. NEWS says what changed.

		 -- $maintainer  $(LC_ALL=C date -u -R -d "@$RNBD_SECONDS")
	END
}

# Source of the modules, for DKMS: what Kbuild reads, and nothing that it made.
copy_source() {
	local to=$folder/built/source
	mkdir -p "$to"
	(cd "$RNBD_TREE" && find Kbuild proto/src rtrs rnbd-client rnbd-server -type f \
		\( -name Kbuild -o -name '*.rs' -o -name '*.[ch]' -o -name '*.sh' \) \
		! -name '*_generated.*' ! -name '*.mod.c' -print0 |
		xargs -0 cp --parents -t "$to")
	cp -r "$deb/dkms" "$RNBD_TREE/tools/build/rust-metadata.sh" "$to/"
	mv "$to/rust-metadata.sh" "$to/dkms/"
}

copy_tools() {
	local to=$folder/built/tools/usr made=$RNBD_TREE/build/rnbdctl program=rnbdctl
	[ "$RNBD_ARCH" = amd64 ] || program=$RNBD_ARCH/rnbdctl
	install -D -t "$to/bin" "$made/$program"
	install -D -m 644 -t "$to/share/man/man1" "$made"/man/*.1
	install -D -m 644 "$made/completion/rnbdctl.bash" "$to/share/bash-completion/completions/rnbdctl"
	install -D -m 644 "$made/completion/rnbdctl.zsh" "$to/share/zsh/vendor-completions/_rnbdctl"
	install -D -m 644 "$made/completion/rnbdctl.fish" "$to/share/fish/vendor_completions.d/rnbdctl.fish"
}

# Files of tools/boot, by the list boot.files.
copy_boot() {
	local pattern to file mode
	shopt -s nullglob
	while read -r pattern to mode; do
		for file in "$RNBD_TREE"/tools/boot/$pattern; do
			install -D -m "${mode:-644}" -t "$folder/built/tools/$to" "$file"
		done
	done < <(grep -vE '^(#|$)' "$deb/boot.files")
}

rm -rf "$folder"
fill_debian
rm -f "$folder/debian/boot.files"
copy_source
copy_boot
cp "$RNBD_TREE/NEWS" "$folder/"
if [ -n "$built" ]; then
	cp -r "$built/modules" "$folder/built/"
	copy_tools
fi
