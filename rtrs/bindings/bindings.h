/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Input of bindgen: headers whose contents the `bindings` crate of the kernel
 * does not have. Items of other headers come from that crate, so that a
 * `struct device` here is the same type as there; see bindgen.sh.
 */

#include <crypto/sha2.h>
#include <keys/user-type.h>
#include <linux/bio.h>
#include <linux/blk-mq.h>
#include <linux/inet.h>
#include <linux/namei.h>
#include <linux/netdevice.h>
#include <rdma/ib_cm.h>
#include <rdma/ib_verbs.h>
#include <rdma/mr_pool.h>
#include <rdma/rdma_cm.h>

#include "trace.h"

/*
 * Constants that are macros with casts, which bindgen does not evaluate. In
 * Rust they go without the prefix.
 */

const blk_features_t RUST_CONST_HELPER_BLK_FEAT_ATOMIC_WRITES = BLK_FEAT_ATOMIC_WRITES;
const blk_features_t RUST_CONST_HELPER_BLK_FEAT_FUA = BLK_FEAT_FUA;
const blk_features_t RUST_CONST_HELPER_BLK_FEAT_NOWAIT = BLK_FEAT_NOWAIT;
const blk_features_t RUST_CONST_HELPER_BLK_FEAT_RAID_PARTIAL_STRIPES_EXPENSIVE =
	BLK_FEAT_RAID_PARTIAL_STRIPES_EXPENSIVE;
const blk_features_t RUST_CONST_HELPER_BLK_FEAT_ROTATIONAL = BLK_FEAT_ROTATIONAL;
const blk_features_t RUST_CONST_HELPER_BLK_FEAT_STABLE_WRITES = BLK_FEAT_STABLE_WRITES;
const blk_features_t RUST_CONST_HELPER_BLK_FEAT_WRITE_CACHE = BLK_FEAT_WRITE_CACHE;
const blk_features_t RUST_CONST_HELPER_BLK_FEAT_ZONED = BLK_FEAT_ZONED;
const blk_flags_t RUST_CONST_HELPER_BLK_FLAG_MISALIGNED = BLK_FLAG_MISALIGNED;
const blk_flags_t RUST_CONST_HELPER_BLK_FLAG_WRITE_CACHE_DISABLED = BLK_FLAG_WRITE_CACHE_DISABLED;
const blk_mode_t RUST_CONST_HELPER_BLK_OPEN_READ = BLK_OPEN_READ;
const blk_mode_t RUST_CONST_HELPER_BLK_OPEN_WRITE = BLK_OPEN_WRITE;
const gfp_t RUST_CONST_HELPER_GFP_NOIO = GFP_NOIO;
const key_perm_t RUST_CONST_HELPER_RNBD_KEYRING_PERM =
	(KEY_POS_ALL & ~KEY_POS_SETATTR) | (KEY_USR_ALL & ~KEY_USR_SETATTR);
const unsigned int RUST_CONST_HELPER_LOOKUP_BENEATH = LOOKUP_BENEATH;
const unsigned int RUST_CONST_HELPER_LOOKUP_DIRECTORY = LOOKUP_DIRECTORY;
const unsigned int RUST_CONST_HELPER_LOOKUP_FOLLOW = LOOKUP_FOLLOW;
