#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Determines the release of Debian's kernel to build for, and checks that modules can
# be built for it, before more than package lists and headers is downloaded:
#
#   kernel-release.sh <release>    checks that release
#   kernel-release.sh remembered   takes the newest one of the last look-up, if any
#   kernel-release.sh newest       looks the newest one up
#
# RNBD_KERNEL is the name of the kernel whose newest release is wanted.

. "$(dirname "$0")/lib.sh"

# Set by a caller who knew no better than what is remembered.
unset RNBD_STOCK_RELEASE
wanted=$1
case $wanted in
newest | remembered) ;;
*) RNBD_STOCK_RELEASE=$wanted ;;
esac

. "$(dirname "$0")/paths.sh"
. "$(dirname "$0")/mirror.sh"
. "$(dirname "$0")/apt.sh"

# Prints the newest release of the kernel. The flavour, which all of them have, is cut off
# as it would take part in the order.
newest_release() {
	local flavour=$RNBD_FLAVOUR releases
	releases="${RNBD_SERIES//./\\.}\.[0-9.]+\+deb$(suite_column "$RNBD_KERNEL" debian)(\+[0-9]+)*-$flavour"
	apt-cache pkgnames "linux-headers-$RNBD_SERIES" | sed 's/^linux-headers-//' |
		{ grep -Ex "$releases" || true; } | sed "s/-$flavour\$//" | sort -V | tail -n 1 |
		sed "s/\$/-$flavour/"
}

look_up() {
	local newest
	apt_update
	newest=$(newest_release)
	[ -n "$newest" ] || die "Debian $RNBD_KERNEL_SUITE has no kernel $RNBD_KERNEL" \
		"RNBD_MIRROR=<a mirror that has $RNBD_KERNEL_SUITE> ${RNBD_GOAL:-make}"
	echo "$newest" >"$RNBD_REMEMBERED"
}

# Prints the command that chooses another kernel.
another_kernel() {
	if [ "$wanted" = remembered ]; then
		echo "make update$([ "$RNBD_KERNEL" = "$(kernel_called newest)" ] || echo " KVER=$RNBD_KERNEL")"
	elif [ "$wanted" = "$(uname -r)" ]; then
		echo "apt-get install -t $RNBD_KERNEL_SUITE linux-image-$RNBD_FLAVOUR && reboot"
	else
		echo "make KVER=newest"
	fi
}

check_offered() {
	local version
	version=$(kernel_version)
	[ -n "$version" ] || die "Debian does not offer kernel $RNBD_STOCK_RELEASE (any more)" "$(another_kernel)"
	apt-cache show "linux-source-$RNBD_SERIES=$version" >/dev/null 2>&1 ||
		die "the source of kernel $RNBD_STOCK_RELEASE ($version) is no longer offered by Debian" "$(another_kernel)"
}

# Prints the version of the compiler that will build the modules: this machine's or
# the build root's, which may not exist yet.
compiler() {
	if [ -n "${RNBD_ON_HOST:-}" ]; then
		/usr/bin/rustc --version | cut -d ' ' -f 2
	elif [ -e "$RNBD_ROOT" ]; then
		dpkg-query --admindir="$RNBD_ROOT/var/lib/dpkg" -W -f '${Version}' rustc
	else
		LC_ALL=C apt-cache policy rustc 2>/dev/null | sed -n 's/^ *Candidate: //p'
	fi | sed 's/[^0-9.].*//'
}

# Compares it with the kernel's compiler, which the headers, a small package, name.
check_compiler() {
	local folder=$apt/headers here built
	rm -rf "$folder"
	mkdir "$folder"
	cd "$folder"
	step kernel-headers "looking at the headers of kernel $RNBD_STOCK_RELEASE" \
		apt-get -q download "linux-headers-$RNBD_STOCK_RELEASE"
	built=$(dpkg-deb --fsys-tarfile linux-headers-*.deb |
		tar -xO "./usr/src/linux-headers-$RNBD_STOCK_RELEASE/.config" |
		sed -nE 's/^CONFIG_RUSTC_VERSION_TEXT="rustc ([0-9.]+).*/\1/p')
	cd /
	rm -r "$folder"
	here=$(compiler)
	[ "$built" = "$here" ] || die_of_compiler "rustc ${built:-of no known version}" "rustc $here" "$(another_kernel)"
}

if [ "$wanted" = newest ] || [ -z "$RNBD_STOCK_RELEASE" ]; then
	apt_setup
	look_up
	unset RNBD_STOCK_RELEASE
	. "$here/paths.sh"
fi
if [ ! -e "$RNBD_STOCK_PACKAGES" ]; then
	if [ -z "${APT_CONFIG:-}" ]; then
		apt_setup
		apt_update
	fi
	check_offered
	check_compiler
fi
