# SPDX-License-Identifier: GPL-2.0-only
#
# What the scripts of this folder know about kernels and DKMS. To be sourced.

set -euo pipefail

# The compilers of Debian, whatever else is installed.
PATH=/usr/sbin:/usr/bin:/sbin:/bin

# A folder for each kernel, which its modules are built against.
cache=/var/cache/rnbd-dkms

# The exit code of a kernel that modules are not built for. DKMS goes on with the next
# kernel, and does not fail the installation of packages.
skipped=77

# series <release>: prints the upstream version without its last number.
series() {
	sed -E 's/^([0-9]+\.[0-9]+).*/\1/' <<<"$1"
}

# package_version <package>: prints the version of a package, if it is installed.
package_version() {
	{ dpkg-query -W -f '${db:Status-Status} ${Version}' "$1" 2>/dev/null || true; } |
		sed -n 's/^installed //p'
}
