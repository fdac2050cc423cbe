#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Makes the documentation of the crates in build/doc. The modules must be built:
#
#   rustdoc.sh [options of rustdoc...]
#
# The flags are those that Kbuild compiled each crate with, without those that rustdoc
# does not know. Runs where the compilers are (see enter).

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"

cd "$RNBD_STOCK_RUST"
# As Kbuild does.
export RUSTC_BOOTSTRAP=1 RNBD_BINDINGS=$PWD/rtrs/bindings

document() {
	local crate=$1 record=$2 command
	shift 2
	command=$(sed -nE '1{
		s/^savedcmd_[^ ]* := //
		s/ *;.*//
		s/ rustc / rustdoc /
		s/ --emit=[^ ]*//g
		s/ --crate-name [^ ]*//
		s/ --remap-path-scope=[^ ]*//
		s/ --out-dir [^ ]*//
		p
	}' "$record")
	eval "$command --crate-name $crate --document-private-items --output ../doc \"\$@\""
}

document rnbd_proto proto/src/.lib.o.cmd "$@"
document rtrs rtrs/.rtrs.o.cmd "$@"
document rnbd_client rnbd-client/.rnbd_client.o.cmd "$@"
document rnbd_server rnbd-server/.rnbd_server.o.cmd "$@"
