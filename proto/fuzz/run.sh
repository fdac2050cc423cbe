#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Fuzzes the parsers for SECONDS (default: 60) with the installed rustc.
#
#   run.sh [SECONDS]
#
# RNBD_CACHE: folder for build output and for the corpus, which grows from run to run.
#             Without it a temporary folder is used and removed.
#
# The flags are those of cargo-fuzz without its sanitizer, which needs a nightly compiler.
# With RUSTC_BOOTSTRAP a stable compiler accepts the coverage flags.

set -eu

seconds=${1:-60}
here=$(cd "$(dirname "$0")" && pwd)

if [ -n "${RNBD_CACHE:-}" ]; then
	work=$RNBD_CACHE/fuzz
	mkdir -p "$work"
else
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT INT TERM
fi
mkdir -p "$work/corpus" "$work/artifacts"

# On Debian only a separate package installs compilers under a name without a version.
if [ -z "${CXX:-}" ]; then
	for CXX in c++ g++-14 clang++-19; do
		command -v "$CXX" >/dev/null && break
	done
	export CXX
fi

# Start from one input for each parser.
python3 "$here/seeds.py" "$work/corpus"

export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR="$work/target"
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares \
-Ccodegen-units=1 --cfg fuzzing"

# With --target the flags do not apply to build scripts and derive macros, which run on the
# host without a fuzzer.
cargo build --quiet --locked --release --target "$host" --manifest-path "$here/Cargo.toml"

cd "$work"
"$CARGO_TARGET_DIR/$host/release/parse" \
	-max_total_time="$seconds" -max_len=1024 -timeout=10 -rss_limit_mb=1024 \
	-artifact_prefix="$work/artifacts/" -print_final_stats=1 "$work/corpus" \
	2>"$work/log" || {
	tail -n 50 "$work/log" >&2
	# Print the failing input, as a temporary folder is removed.
	for f in "$work/artifacts"/*; do
		[ -f "$f" ] && { echo "input: $f"; od -An -tx1 "$f"; } >&2
	done
	exit 1
}

# Without coverage feedback the inputs would be random.
first=$(sed -n 's/.*INITED cov: \([0-9]*\).*/\1/p' "$work/log" | head -n 1)
last=$(sed -n 's/.*cov: \([0-9]*\).*/\1/p' "$work/log" | tail -n 1)
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
if [ "${last:-0}" -lt 100 ]; then
	echo "fuzz: no coverage feedback (cov: ${last:-none})" >&2
	exit 1
fi
echo "fuzz: ok, $runs inputs in $seconds s, coverage $first -> $last"
