#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds the C drivers of the kernel and soft iWARP for Debian's kernel, whose source
# has them and whose packages lack them. Tests use the C drivers as peers, and the
# bench compares ours with them. Runs where the compilers are (see enter).

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/paths.sh"

# build_module <folder> <source> <options of make...>
build_module() {
	local dir=$1/$2 name=$2 source=$3
	shift 3
	cp -r "$RNBD_SOURCE/$source" "$dir"
	# The make files look for headers beside them in the kernel source.
	sed -i "s|\$(srctree)/drivers/infiniband/ulp/rtrs|$(dirname "$dir")/rtrs|" "$dir"/Makefile
	[ "$name" != rtrs ] || wait_for_acks "$dir/rtrs-clt.c"
	step "c-$name" "building the C driver $name" \
		make -C "$RNBD_STOCK_BUILD" M="$dir" -j"$(nproc)" "$@" modules
}

# Soft-RoCE breaks a connection when it retransmits (Documentation/fabrics.md). With the timeout
# of a second that the connection manager chooses, it does so when this machine stalls, and the
# client then fails I/O. Ours waits as long.
wait_for_acks() {
	sed -i 's|^\terr = rdma_resolve_route(con->c.cm_id,|\trdma_set_ack_timeout(con->c.cm_id, 19); /* 2 s */\n&|' "$1"
	grep -q rdma_set_ack_timeout "$1" || die "rtrs-clt.c has changed: c-drivers.sh cannot set its timeout" "make KVER=newest"
}

build() {
	local out=$1
	rm -rf "${out:?}"/*
	build_module "$out" rtrs drivers/infiniband/ulp/rtrs \
		CONFIG_INFINIBAND_RTRS=m CONFIG_INFINIBAND_RTRS_CLIENT=m CONFIG_INFINIBAND_RTRS_SERVER=m
	build_module "$out" rnbd drivers/block/rnbd CONFIG_BLK_DEV_RNBD=y \
		CONFIG_BLK_DEV_RNBD_CLIENT=m CONFIG_BLK_DEV_RNBD_SERVER=m \
		KBUILD_EXTRA_SYMBOLS="$out/rtrs/Module.symvers"
	build_module "$out" siw drivers/infiniband/sw/siw CONFIG_RDMA_SIW=m
	mkdir "$out/modules"
	cp "$out"/{rtrs,rnbd,siw}/*.ko "$out/modules/"
}

make_in_place "$RNBD_C_DRIVERS" build
