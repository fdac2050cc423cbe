// SPDX-License-Identifier: GPL-2.0-only
/*
 * Inline functions and macros of the kernel, made callable from Rust: the Rust
 * name is that of the function here without `rust_helper_`. All are exported,
 * as generic and inlined Rust code ends up in the modules that use it.
 */

#include <linux/export.h>
#include <rdma/ib_verbs.h>
#include <rdma/rdma_cm.h>

int rust_helper_ib_post_send(struct ib_qp *qp, const struct ib_send_wr *wr,
			     const struct ib_send_wr **bad_wr)
{
	return ib_post_send(qp, wr, bad_wr);
}
EXPORT_SYMBOL_GPL(rust_helper_ib_post_send);
