#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs bindgen exactly as the kernel build did for its own `bindings` crate,
# on our input:
#
#   bindgen.sh <object folder> headers|helpers <input> <output> <depfile>
#
# The command comes from the record that Kbuild keeps beside the kernel's
# bindings, as only that build knows its C flags translated for libclang. With
# `headers`, items that the kernel's crate has are left out, so that both crates
# speak of the same types.
set -eu

objtree=$1 what=$2 input=$3 output=$4 depfile=$5

# The names of the types of the kernel's crate. The folder that the package rnbd-dkms makes has
# a list of them instead of the crate's source.
known=$objtree/rust/bindings/types
[ -f "$known" ] || known=$objtree/rust/bindings/bindings_generated.rs
if [ ! -f "$known" ]; then
	echo "$known: not found; prepare the kernel with CONFIG_RUST=y" >&2
	exit 1
fi

# Types of other headers that the RDMA headers or our code need: those that the
# kernel's crate lacks, which differ between versions.
foreign=
for type in __hmac_sha256_ctx __hmac_sha256_key __sha256_ctx dim dim_sample dim_stats \
	hmac_sha256_ctx hmac_sha256_key ifla_vf_guid ifla_vf_info ifla_vf_stats in_addr iphdr \
	irq_poll irq_poll_fn netdev_cmd netdevice_tracker possible_net_t rdma_cgroup \
	rdmacg_device sha256_block_state sockaddr_in tph_mem_type user_key_payload; do
	grep -Eq "pub (struct|type|union|enum|mod) $type( |:|\$)" "$known" ||
		foreign="${foreign:+$foreign|}$type"
done

case $what in
headers)
	record=bindings_generated.rs
	set -- --allowlist-file '.*/(rdma|uapi/rdma)/.*' --allowlist-file '.*/linux/inet\.h' \
		--allowlist-function 'kern_path|vfs_path_lookup|rtrs_trace_.*' \
		--allowlist-function '(un)?register_netdevice_notifier_net' \
		--allowlist-function 'hmac_sha256_(preparekey|final)|key_(put|revoke)' \
		--allowlist-function 'irq_poll_(disable|enable)' \
		--allowlist-function 'keyring_(alloc|search)' --allowlist-var key_type_logon \
		--allowlist-type "$foreign" --allowlist-var 'RUST_CONST_HELPER_.*' \
		--no-recursive-allowlist
	;;
helpers)
	record=bindings_helpers_generated.rs
	set --
	;;
esac

record=$objtree/rust/bindings/.$record.cmd
if [ ! -f "$record" ]; then
	echo "$record: not found; prepare the kernel with CONFIG_RUST=y" >&2
	exit 1
fi

# The record reads `savedcmd_<target> := bindgen <input> <options> -o <target>
# -- <C flags> ; <fix-up>`, escaped for make, with folders relative to the object
# folder.
command=$(sed -n '1{
	s/^savedcmd_[^ ]* := //
	s/  *; *sed .*$//
	s/\$(pound)/#/g
	s/\$\$/$/g
	p
}' "$record")
options=${command#* * } options=${options%% -o *}
cflags=${command##* -- }
cflags=$(printf '%s\n' "$cflags" | sed -E \
	-e 's/-Wp,-MMD,[^ ]* //' \
	-e "s#-I *([^/ ])#-I$objtree/\\1#g" \
	-e "s#-include ([^/ ])#-include $objtree/\\1#g")

eval "${command%% *} \"\$input\" \"\$@\" $options -o \"\$output\" -- -Wp,-MMD,\"\$depfile\" $cflags"

if [ "$what" = headers ]; then
	sed -Ei 's/pub const RUST_CONST_HELPER_/pub const /g' "$output"
fi

# A helper is called by the name of the function it stands for.
if [ "$what" = helpers ]; then
	sed -Ei 's/pub fn rust_helper_([a-zA-Z0-9_]*)/#[link_name="rust_helper_\1"]\n    pub fn \1/g' "$output"
fi
