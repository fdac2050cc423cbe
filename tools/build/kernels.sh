# SPDX-License-Identifier: GPL-2.0-only
#
# Reads the table of kernels. To be sourced after lib.sh.

# Prints the columns of each kernel, its name first.
kernel_table() {
	sed -E '/^(#|$)/d; s/ +/ /g; s/^([^ ]+) ([^ ]+)/\1-\2 \1 \2/' "$RNBD_TREE/tools/build/kernels"
}

# Prints the names of all kernels.
kernel_names() {
	kernel_table | cut -d ' ' -f 1
}

# kernel_column <name> series|flavour|architecture|suite|tested: prints what the table says.
kernel_column() {
	kernel_table | awk -v name="$1" -v column="$2" '
		BEGIN {
			count = split("name series flavour architecture suite tested", columns)
			for (i = 1; i <= count; i++) number[columns[i]] = i
		}
		$1 == name { print $number[column] }
	'
}

# Prints the name of the kernel that a release is of; nothing if the table has none.
kernel_of_release() {
	local name
	name=$(sed -nE 's/^([0-9]+\.[0-9]+)\.[0-9.]+\+deb[0-9]+(\+[0-9]+)*-([a-z].*)$/\1-\3/p' <<<"$1")
	kernel_names | grep -Fx -e "${name:-none}" || true
}

# Prints the name of the kernel that is called `newest` or `newest-<flavour>`, or by its
# name; nothing if the table has none.
kernel_called() {
	local name=$1 newest
	newest=$(kernel_names | head -n 1)
	case $name in
	newest) name=$newest ;;
	newest-*) name=${newest%%-*}-${name#newest-} ;;
	esac
	kernel_names | grep -Fx -e "${name:-none}" || true
}

# Prints the names of the kernels in RNBD_KERNELS, which has names or `all`.
kernels_asked() {
	local name
	for name in ${RNBD_KERNELS:-}; do
		case $name in
		all) kernel_names ;;
		*) kernel_called "$name" ;;
		esac
	done
}
