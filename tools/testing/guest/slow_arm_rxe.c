// SPDX-License-Identifier: GPL-2.0-only
/*
 * While this module is loaded, a softirq that has polled a completion queue of soft-RoCE takes
 * 20 ms until it asks for the next event of that queue, as on a CPU that the host of a virtual
 * machine does not run. See faulty_rxe.py.
 */

#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/preempt.h>

static int wait(struct kprobe *probe, struct pt_regs *regs)
{
	if (in_serving_softirq())
		mdelay(20);
	return 0;
}

static struct kprobe probe = {
	.symbol_name = "rxe_req_notify_cq",
	.pre_handler = wait,
};

static int __init slow_arm_rxe_init(void)
{
	return register_kprobe(&probe);
}

static void __exit slow_arm_rxe_exit(void)
{
	unregister_kprobe(&probe);
}

module_init(slow_arm_rxe_init);
module_exit(slow_arm_rxe_exit);
MODULE_DESCRIPTION("Soft-RoCE that is slow to arm completion queues");
MODULE_LICENSE("GPL");
