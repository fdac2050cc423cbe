#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds rnbdctl in build/rnbdctl. Runs where the compilers are (see enter).

. "$(dirname "$0")/lib.sh"

made=$RNBD_TREE/build/rnbdctl
mkdir -p "$made"
cd "$RNBD_TREE/tools/rnbdctl"
CARGO_TARGET_DIR=$made/target cargo build --release --locked --quiet
install -t "$made" "$made/target/release/rnbdctl"
echo "build/rnbdctl/rnbdctl"
