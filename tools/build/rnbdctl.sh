#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds rnbdctl, its man pages and its completions in build/rnbdctl. Runs where the compilers
# are (see enter).

. "$(dirname "$0")/lib.sh"

made=$RNBD_TREE/build/rnbdctl
rm -rf "$made/man" "$made/completion"
mkdir -p "$made/man" "$made/completion"
cd "$RNBD_TREE/tools/rnbdctl"
CARGO_TARGET_DIR=$made/target cargo build --release --locked --quiet
install -t "$made" "$made/target/release/rnbdctl"
"$made/rnbdctl" man "$made/man"
for shell in bash zsh fish; do
	"$made/rnbdctl" completion $shell >"$made/completion/rnbdctl.$shell"
done
say "build/rnbdctl has rnbdctl, man/ and completion/"
