# SPDX-License-Identifier: GPL-2.0-only
#
# Configures an apt with folders of its own, which leaves the apt sources and package
# lists of this machine alone, for suite and architecture of the kernel. To be sourced after
# mirror.sh and paths.sh.

apt=$RNBD_CACHE/apt-$RNBD_BASE-$RNBD_ARCH

apt_setup() {
	mkdir -p "$apt"/{state/lists/partial,cache/archives/partial}
	apt_lines "$RNBD_BASE" >"$apt/sources.list"
	printf '%s\n' \
		"Dir::State \"$apt/state\";" \
		'Dir::State::status "/dev/null";' \
		"Dir::Cache \"$apt/cache\";" \
		"Dir::Etc::SourceList \"$apt/sources.list\";" \
		'Dir::Etc::SourceParts "-";' \
		'Dir::Etc::Preferences "-";' \
		'Dir::Etc::PreferencesParts "-";' \
		"APT::Architecture \"$RNBD_ARCH\";" \
		"APT::Architectures \"$RNBD_ARCH\";" \
		'APT::Sandbox::User "root";' \
		'Acquire::Languages "none";' \
		'Acquire::Retries "3";' >"$apt/apt.conf"
	export APT_CONFIG=$apt/apt.conf
}

# Prints the version of the kernel RNBD_STOCK_RELEASE; nothing if the lists do not have it.
kernel_version() {
	{ apt-cache show "linux-headers-$RNBD_STOCK_RELEASE" 2>/dev/null || true; } |
		sed -n 's/^Version: //p' | head -n 1
}

# Without the option, apt only warns of lists that it cannot download, and their
# packages seem not to exist.
apt_update() {
	local log=$RNBD_CACHE/log/apt-update.log
	say "reading Debian's package lists ..."
	apt-get -q update --error-on=any >"$log" 2>&1 </dev/null || die_of_network "$log"
}
