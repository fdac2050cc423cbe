#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds rnbdctl, its man pages and its completions in build/rnbdctl:
#
#   rnbdctl.sh              for this machine
#   rnbdctl.sh arm64        the program alone, in build/rnbdctl/arm64, where the cross compiler is
#
# Runs where the compilers are (see enter).

. "$(dirname "$0")/lib.sh"

made=$RNBD_TREE/build/rnbdctl
cd "$RNBD_TREE/tools/rnbdctl"
export CARGO_TARGET_DIR=$made/target

if [ "${1:-}" = arm64 ]; then
	export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc-14
	cargo build --release --locked --quiet --target aarch64-unknown-linux-gnu
	install -D -t "$made/arm64" "$made/target/aarch64-unknown-linux-gnu/release/rnbdctl"
	say "build/rnbdctl/arm64 has rnbdctl"
	exit
fi

rm -rf "$made/man" "$made/completion"
mkdir -p "$made/man" "$made/completion"
cargo build --release --locked --quiet
install -t "$made" "$made/target/release/rnbdctl"
"$made/rnbdctl" man "$made/man"
for shell in bash zsh fish; do
	"$made/rnbdctl" completion $shell >"$made/completion/rnbdctl.$shell"
done
say "build/rnbdctl has rnbdctl, man/ and completion/"
