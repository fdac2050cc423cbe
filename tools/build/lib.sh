# SPDX-License-Identifier: GPL-2.0-only
#
# What the scripts of this folder share: where things are, how progress and
# failures are shown, how a cache entry is made in one stroke. To be sourced.

set -euo pipefail

RNBD_TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
RNBD_CACHE=${RNBD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rnbd}
mkdir -p "$RNBD_CACHE/log"
RNBD_CACHE=$(cd "$RNBD_CACHE" && pwd -P)
# The start of the whole run, so that nested scripts show one clock.
RNBD_START=${RNBD_START:-$(date +%s)}
export RNBD_TREE RNBD_CACHE RNBD_START

# The upstream series that is supported, and where Debian keeps it.
RNBD_SERIES=7.3
RNBD_SUITE=trixie
# The releases of its plain flavour, as an extended regular expression.
RNBD_RELEASES="${RNBD_SERIES//./\\.}\.[0-9.]+\+deb[0-9]+(\+[0-9]+)*-amd64"

say() {
	printf '[%4ds] %s\n' $(($(date +%s) - RNBD_START)) "$*"
}

# die <message> [<command that mends it>]
die() {
	printf '\nerror: %s\n' "$1" >&2
	if [ $# -gt 1 ]; then
		printf 'mend it with:\n\n    %s\n\n' "$2" >&2
	fi
	exit 1
}

# die_of_compiler <kernel's> <ours> <what to do about the kernel>: Rust code built
# by another compiler does not fit the kernel crate.
die_of_compiler() {
	local mend=$3
	if [ -n "${RNBD_ON_HOST:-}" ]; then
		mend="apt-get install --allow-downgrades rustc/$RNBD_SUITE rust-src/$RNBD_SUITE"
	elif [ -e "$RNBD_ROOT" ]; then
		mend="sudo rm -rf $RNBD_ROOT && sudo ${RNBD_GOAL:-make}"
	fi
	die "kernel $RNBD_STOCK_RELEASE was built by '$1', but here is '$2'" "$mend"
}

# step <log name> <description> <command...>: runs a long command with one line of
# progress; its output goes to a log, of which the end is shown on failure.
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

# hash_of <file...>: a short key that changes whenever one of the files does, in
# more than its comments.
hash_of() {
	grep -hvE '^[[:space:]]*(#|$)' "$@" | sha256sum | cut -c1-12
}

# locked <path> <command...>: one builder of a cache entry at a time. The command
# runs in a subshell whose traps clean up when the user interrupts it.
locked() (
	exec 9>"$1.lock"
	flock -n 9 || { say "waiting for another run that prepares ${1##*/}"; flock 9; }
	trap 'exit 130' INT TERM HUP
	shift
	"$@"
)

# make_entry <path> <function> [arguments...]: has a function fill a temporary
# folder, passed as its first argument, that becomes <path> when it is complete.
# Nothing half-made is ever seen under <path>.
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

# make_in_place <path> <function> [arguments...]: the same for what cannot be
# moved afterwards, as object folders. They count as complete once stamped, and
# a build that was interrupted goes on where it was.
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
