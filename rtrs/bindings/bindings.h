/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Input of bindgen: headers whose contents the `bindings` crate of the kernel
 * does not have. Items of other headers come from that crate, so that a
 * `struct device` here is the same type as there; see bindgen.sh.
 */

#include <linux/bio.h>
#include <linux/blk-mq.h>
#include <linux/inet.h>
#include <rdma/ib_cm.h>
#include <rdma/ib_verbs.h>
#include <rdma/mr_pool.h>
#include <rdma/rdma_cm.h>
