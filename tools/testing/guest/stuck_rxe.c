// SPDX-License-Identifier: GPL-2.0-only
/*
 * While this module is loaded, connections over soft-RoCE send nothing, do not even flush what
 * was posted to their send queues, and cannot be drained: the device is stuck. Management
 * datagrams are sent. See faulty_rxe.py.
 */

#include <linux/errno.h>
#include <linux/kprobes.h>
#include <linux/module.h>

#include <rdma/ib_verbs.h>

#include "skip_function.h"

static int skip(struct kprobe *probe, struct pt_regs *regs)
{
	/* The first member of a struct rxe_qp, and the argument of both functions. */
	struct ib_qp *qp = (struct ib_qp *)regs_get_kernel_argument(regs, 0);

	if (qp->qp_type != IB_QPT_RC)
		return 0;
	/* The result of rxe_sender() that ends the work of a queue pair. */
	return skip_function(regs, -EAGAIN);
}

static struct kprobe sender = {
	.symbol_name = "rxe_sender",
	.pre_handler = skip,
};

static struct kprobe drain = {
	.symbol_name = "ib_drain_qp",
	.pre_handler = skip,
};

static struct kprobe *probes[] = { &sender, &drain };

static int __init stuck_rxe_init(void)
{
	return register_kprobes(probes, ARRAY_SIZE(probes));
}

static void __exit stuck_rxe_exit(void)
{
	unregister_kprobes(probes, ARRAY_SIZE(probes));
}

module_init(stuck_rxe_init);
module_exit(stuck_rxe_exit);
MODULE_DESCRIPTION("Soft-RoCE that is stuck");
MODULE_LICENSE("GPL");
