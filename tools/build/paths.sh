# SPDX-License-Identifier: GPL-2.0-only
#
# Names of everything that the scripts of this folder make, each keyed by what it
# is made from. To be sourced after lib.sh, or run to print the values:
#
#   RNBD_ROOT   the build root
#   KREL        release of the stock kernel, empty until it is known
#   KFETCH      its packages, unpacked
#   KSRC        its source
#   KOBJ        object folder that modules for it are built against
#   KIMAGE      its boot image
#   KMODS       its modules folder (lib/modules/<release>)
#   CPEER       the C drivers built for it, in CPEER/modules
#   SAN_REL     release of the sanitizing kernel
#   SAN_OBJ     its object folder
#   SAN_IMAGE   its boot image
#   SAN_MODS    its modules folder
#   KOUT, SAN_OUT  where our own modules for the two kernels are built

if [ -z "${RNBD_TREE:-}" ]; then
	. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
fi

here=$RNBD_TREE/tools/build

RNBD_ROOT=$RNBD_CACHE/root-$(hash_of "$here/packages" "$here/root.sh")

# A release asked for, or the one that was the newest when it was looked up.
KREL=${KREL:-$(cat "$RNBD_CACHE/kernel-release" 2>/dev/null || true)}

KFETCH=$RNBD_CACHE/kernel-$KREL-$(hash_of "$here/kernel-fetch.sh")
KSRC=$KFETCH/source
KIMAGE=$KFETCH/image/usr/lib/modules/$KREL/vmlinuz
KMODS=$KFETCH/image/usr/lib/modules/$KREL
KOBJ=$RNBD_CACHE/build-$KREL-$(hash_of "$here/kernel-fetch.sh" "$here/kernel-prepare.sh" "$here/packages")
KOUT=$RNBD_TREE/build/$KREL

CPEER=$RNBD_CACHE/c-drivers-$KREL-$(hash_of "$here"/{kernel-fetch.sh,kernel-prepare.sh,c-drivers.sh})

SAN_REL=${KREL%%[+-]*}-sanitize
SAN_OBJ=$RNBD_CACHE/build-$SAN_REL-$(hash_of "$here"/{kernel-fetch.sh,sanitize.sh,sanitize.config})
SAN_IMAGE=$SAN_OBJ/arch/x86/boot/bzImage
SAN_MODS=$SAN_OBJ/image/lib/modules/$SAN_REL
SAN_OUT=$RNBD_TREE/build/$KREL-sanitize

rnbd_names="RNBD_TREE RNBD_CACHE RNBD_ROOT KREL KFETCH KSRC KOBJ KIMAGE KMODS KOUT CPEER
	SAN_REL SAN_OBJ SAN_IMAGE SAN_MODS SAN_OUT"

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	for name in $rnbd_names; do
		echo "$name=${!name}"
	done
fi
