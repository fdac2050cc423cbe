#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Removes everything from the cache.

. "$(dirname "$0")/lib.sh"

rm -rf --one-file-system "$RNBD_CACHE"/{apt,bench,build-*,c-drivers-*,cargo,kernel-*,linux-*,log,root-*}
rmdir --ignore-fail-on-non-empty "$RNBD_CACHE"
