# SPDX-License-Identifier: GPL-2.0-only
#
# What the tests of packages share. They run in a fresh machine. To be sourced.

. "$(dirname "${BASH_SOURCE[0]}")/../../build/lib.sh"

release=$1
packages=$RNBD_TREE/build/deb
updates=/lib/modules/$release/updates
modules=(rtrs rnbd_client rnbd_server)
log=$RNBD_CACHE/log/packages-$(basename "$0").log
: >"$log"
export DEBIAN_FRONTEND=noninteractive

# apt <arguments...>: runs apt-get; its output is in $log and, of this run, in $output.
apt() {
	local status=0
	say "apt-get $* ..."
	output=$(apt-get -q -y -o Dpkg::Use-Pty=0 "$@" 2>&1 </dev/null) || status=$?
	printf '%s\n' "# apt-get $*" "$output" >>"$log"
	[ $status -eq 0 ] || { tail -n 25 "$log" >&2; die "apt-get $* failed; all of its output is in $log"; }
}

# expect <what> <command...>: runs a command that must succeed.
expect() {
	local what=$1
	shift
	"$@" >>"$log" 2>&1 || die "not so: $what ($*); see $log"
	say "ok: $what"
}

said() {
	grep -qF "$1" <<<"$output"
}

# modules_there [<release>]: whether modprobe finds all modules, built for the kernel.
modules_there() {
	local name kernel=${1:-$release}
	for name in "${modules[@]}"; do
		[ "$(modinfo -k "$kernel" -F vermagic "$name" | cut -d ' ' -f 1)" = "$kernel" ] || return
	done
	modprobe -S "$kernel" --show-depends rnbd_client |
		grep -q "^insmod /lib/modules/$kernel/updates/.*/rtrs\.ko"
}

# Whether there is no file of ours, with or without its contents.
nothing_left() {
	local found
	found=$(find / -xdev \( -path "$RNBD_TREE" -o -path "$RNBD_CACHE" -o -path /proc -o -path /tmp \) -prune -o \
		\( -iname '*rnbd*' -o -iname '*rtrs*' \) -print | grep -v '^/var/cache/apt/' || true)
	echo "$found"
	[ -z "$found" ] && [ ! -e "$updates" ] &&
		! grep -q 'rtrs\|rnbd' "/lib/modules/$release/modules.dep" /var/lib/dpkg/status
}
