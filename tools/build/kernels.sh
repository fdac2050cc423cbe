# SPDX-License-Identifier: GPL-2.0-only
#
# Reads the tables of kernels and of suites. To be sourced after lib.sh.

# Fills the arrays: the names of all kernels in the order of the table, the columns of both
# tables, as in `kernel_columns[7.3-amd64,suite]` and `suite_columns[sid,base]`, and the suites
# that apt reads for a Debian, as in `apt_suites[trixie]`.
read_kernels() {
	local series flavour architecture suite tested name debian base compiler sources
	declare -gA kernel_columns=() suite_columns=() apt_suites=()
	declare -ga kernel_names=()
	while read -r suite debian base compiler sources; do
		suite_columns+=([$suite,debian]=$debian [$suite,base]=$base
			[$suite,compiler]=$compiler)
		apt_suites[$base]=${sources//,/ }
	done < <(grep -vE '^(#|$)' "$RNBD_TREE/tools/build/suites")
	while read -r series flavour architecture suite tested; do
		name=$series-$flavour
		[ "$suite" = trixie-backports ] || name=$series-$suite-$flavour
		kernel_names+=("$name")
		kernel_columns+=([$name,series]=$series [$name,flavour]=$flavour
			[$name,architecture]=$architecture [$name,suite]=$suite [$name,tested]=$tested)
	done < <(grep -vE '^(#|$)' "$RNBD_TREE/tools/build/kernels")
}
read_kernels

# suite_column <name of a kernel> debian|base|compiler: prints what the table says
# of the kernel's suite.
suite_column() {
	echo "${suite_columns[${kernel_columns[$1,suite]},$2]}"
}

# Prints the name of the kernel that a release is of; nothing if the table has none. Of
# several suites it is one that had this release at the last look-up, or the first one.
kernel_of_release() {
	local name pattern found=
	for name in "${kernel_names[@]}"; do
		pattern="^${kernel_columns[$name,series]//./\\.}\.[0-9.]+\+deb${suite_columns[${kernel_columns[$name,suite]},debian]}(\+[0-9]+)*-${kernel_columns[$name,flavour]}\$"
		[[ $1 =~ $pattern ]] || continue
		found=${found:-$name}
		if [ "$(cat "$RNBD_CACHE/kernel-release-$name" 2>/dev/null)" = "$1" ]; then
			found=$name
			break
		fi
	done
	echo "$found"
}

# Prints the name of the kernel that is called `newest` or `newest-<flavour>`, or by its
# name; nothing if the table has none.
kernel_called() {
	local name=$1
	case $name in
	newest) name=${kernel_names[0]} ;;
	newest-*) name=${kernel_names[0]%%-*}-${name#newest-} ;;
	esac
	[ -z "${kernel_columns[${name:-none},series]:-}" ] || echo "$name"
}

# Prints the names of the kernels in RNBD_KERNELS, which has names or `all`.
kernels_asked() {
	local name
	for name in ${RNBD_KERNELS:-}; do
		case $name in
		all) printf '%s\n' "${kernel_names[@]}" ;;
		*) kernel_called "$name" ;;
		esac
	done
}
