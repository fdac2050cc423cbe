# SPDX-License-Identifier: GPL-2.0-only
#
# Functions of all scripts of this folder: locations, progress and failures, atomic
# creation of cache entries. To be sourced.

set -euo pipefail

RNBD_TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
RNBD_CACHE=${RNBD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rnbd}
mkdir -p "$RNBD_CACHE/log"
RNBD_CACHE=$(cd "$RNBD_CACHE" && pwd -P)
# The start of the whole run, so that nested scripts show one clock.
RNBD_START=${RNBD_START:-$(date +%s)}
export RNBD_TREE RNBD_CACHE RNBD_START

# The Debian suite of everything but the compilers of the kernels, which come from the
# suite of each kernel (see suites).
RNBD_SUITE=trixie

say() {
	printf '[%4ds] %s\n' $(($(date +%s) - RNBD_START)) "$*"
}

# die <message> [<command that mends it>]: exits with an error.
die() {
	printf '\nerror: %s\n' "$1" >&2
	if [ $# -gt 1 ]; then
		printf 'mend it with:\n\n    %s\n\n' "$2" >&2
	fi
	exit 1
}

# die_of_compiler <kernel's> <ours> <command that chooses another kernel>: exits, as
# Rust code of another compiler does not fit the kernel crate.
die_of_compiler() {
	local mend=$3
	if [ -n "${RNBD_ON_HOST:-}" ]; then
		mend="apt-get install --allow-downgrades rustc/$RNBD_BASE rust-src/$RNBD_BASE"
	elif [ -e "$RNBD_ROOT" ]; then
		mend="sudo rm -rf $RNBD_ROOT && sudo ${RNBD_GOAL:-make}"
	fi
	die "kernel $RNBD_STOCK_RELEASE was built by '$1', but here is '$2'" "$mend"
}

# step <log name> <description> <command...>: runs a long command with one line of
# progress. Its output goes to a log; on failure the end of it is shown.
step() {
	local log=$RNBD_CACHE/log/$1.log what=$2 status=0
	shift 2
	say "$what ..."
	"$@" >"$log" 2>&1 </dev/null || status=$?
	if [ $status -ne 0 ]; then
		tail -n 25 "$log" >&2
		die "$what failed with status $status; all of its output is in $log"
	fi
}

# hash_of <file...>: prints a short key that changes whenever one of the files does,
# except for comments.
hash_of() {
	grep -hvE '^[[:space:]]*(#|$)' "$@" | sha256sum | cut -c1-12
}

# locked <path> <command...>: runs a command that makes a cache entry, one at a time.
# The command runs in a subshell whose traps clean up on an interrupt.
locked() (
	exec 9>"$1.lock"
	flock -n 9 || { say "waiting for another run that prepares ${1##*/}"; flock 9; }
	trap 'exit 130' INT TERM HUP
	shift
	"$@"
)

# make_entry <path> <function> [arguments...]: calls a function that fills a temporary
# folder, its first argument, and renames that to <path> once it is complete.
make_entry() {
	if [ ! -e "$1" ]; then
		locked "$1" fill_entry "$@"
	fi
}

fill_entry() {
	local path=$1 fill=$2
	shift 2
	[ ! -e "$path" ] || return 0
	# shellcheck disable=SC2064
	trap "rm -rf --one-file-system '$path.part'" EXIT
	rm -rf --one-file-system "$path.part"
	mkdir -p "$path.part"
	"$fill" "$path.part" "$@"
	mv "$path.part" "$path"
}

# make_in_place <path> <function> [arguments...]: as make_entry, for folders that cannot
# be moved, such as object folders. A stamp marks a complete one; an interrupted build
# is continued.
make_in_place() {
	if [ ! -e "$1/.complete" ]; then
		locked "$1" build_in_place "$@"
	fi
}

build_in_place() {
	local path=$1 build=$2
	shift 2
	[ ! -e "$path/.complete" ] || return 0
	mkdir -p "$path"
	"$build" "$path" "$@"
	touch "$path/.complete"
}
