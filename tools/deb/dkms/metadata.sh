# SPDX-License-Identifier: GPL-2.0-only
#
# What modules in Rust are built against and the kernel's headers lack. To be sourced.

# add_rust_metadata <folder> <object folder> <source> <folder of headers>: adds to a folder with
# the kernel's headers what modules in Rust are built against: the crates' metadata, the macros
# and what they include, the names of the types of the bindings, and the records of how those were
# made, with the folder of the headers instead of that of the source.
add_rust_metadata() {
	local folder=$1 obj=$2 source=$3 headers=$4 common record
	common=$(sed -n 's|^include \(.*\)/Makefile$|\1|p' "$headers/Makefile")
	if [ -e "$obj/scripts/target.json" ]; then
		cp "$obj/scripts/target.json" "$folder/scripts/"
	fi
	mkdir -p "$folder/rust/bindings"
	cp "$obj"/rust/*.{rmeta,so} "$folder/rust/"
	(cd "$obj" && cp --parents rust/kernel/*.rs "$folder/")
	grep -oE 'pub (struct|type|union|enum|mod) [A-Za-z0-9_]+' "$obj/rust/bindings/bindings_generated.rs" |
		sort -u >"$folder/rust/bindings/types"
	strip --strip-unneeded "$folder"/rust/*.so
	for record in bindings bindings_helpers; do
		sed "s|$source|$common|g" "$obj/rust/bindings/.${record}_generated.rs.cmd" \
			>"$folder/rust/bindings/.${record}_generated.rs.cmd"
	done
}
