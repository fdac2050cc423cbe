#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds our modules for a kernel:
#
#   modules.sh stock|sanitize [variables and targets of make...]
#
# Runs where the compilers are (see enter).

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"

case $1 in
stock) build=$RNBD_STOCK_BUILD out=$RNBD_STOCK_RUST ;;
sanitize) build=$RNBD_SANITIZE_BUILD out=$RNBD_SANITIZE_RUST ;;
esac
shift

mkdir -p "$out"
make --no-print-directory -C "$build" M="$RNBD_TREE" MO="$out" -j"$(nproc)" "${@:-modules}"
