# SPDX-License-Identifier: GPL-2.0-only
#
# Finds the mirror of packages: the one that this machine uses. To be sourced after
# paths.sh.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Prints `<URI> <suite>...` of the machine's apt sources, from both file formats.
apt_sources() {
	local file
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -f "$file" ] || continue
		sed -nE 's/^deb +(\[[^]]*\] +)?([^ ]+) +([^ ]+) .*/\2 \3/p' "$file"
	done
	# Stanzas of `Field: value` lines, separated by empty ones.
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources; do
		[ -f "$file" ] || continue
		awk '
			function flush() { if (uri != "") print uri, suites; uri = suites = "" }
			/^[[:space:]]*$/ { flush() }
			tolower($1) == "uris:" { uri = $2 }
			tolower($1) == "suites:" { $1 = ""; suites = $0 }
			END { flush() }
		' "$file"
	done
}

# Prints the mirror in RNBD_MIRROR or, without it, that of this machine's release.
find_mirror() {
	if [ -n "${RNBD_MIRROR:-}" ]; then
		echo "$RNBD_MIRROR"
		return
	fi
	local codename
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	# A machine of sid has the code name of the next release.
	apt_sources | awk -v suite="$codename" '
		{ for (i = 2; i <= NF; i++) if ($i ~ "^(" suite "|testing|sid|unstable)$") { print $1; exit } }
	'
}

# Prints the machine's settings of how apt reaches it, such as proxies, and, for a mirror that
# is a snapshot, that old lists are valid.
apt_transport_options() {
	apt-config dump | grep -E '^Acquire::(https?|Retries|ForceIPv[46]|Check-Valid-Until)' || true
}

# apt_lines <base>: prints one source line for each suite that apt reads for a Debian, in
# the form of sources.list.
apt_lines() {
	local mirror suite
	mirror=$(find_mirror)
	for suite in ${apt_suites[$1]}; do
		echo "deb [signed-by=$keyring] $mirror $suite main"
	done
}

# die_of_network <log of apt>: exits with the errors of the log.
die_of_network() {
	die "the Debian mirror $(find_mirror) cannot be reached, or lacks a part of $RNBD_BASE:
$(grep -E '^(E|Err):?|^  ' "$1" | head -n 2)" "RNBD_MIRROR=<URL of a Debian mirror> ${RNBD_GOAL:-make}"
}
