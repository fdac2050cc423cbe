// SPDX-License-Identifier: GPL-2.0-only
/*
 * While this module is loaded, the soft-RoCE device of a network card tells lower limits, and
 * refuses what exceeds them. The parameters are named as in struct ib_device_attr; a limit that
 * is 0 stays as it is. See faulty_rxe.py.
 */

#include <linux/errno.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/netdevice.h>

#include <rdma/ib_verbs.h>

#include "skip_function.h"

static char *card = "eth0";
module_param(card, charp, 0);

static ulong page_size_cap;
module_param(page_size_cap, ulong, 0);

static uint max_send_sge;
module_param(max_send_sge, uint, 0);

static uint max_recv_sge;
module_param(max_recv_sge, uint, 0);

static uint max_qp_wr;
module_param(max_qp_wr, uint, 0);

/* The most segments of all work requests of a send queue, which no attribute tells. */
static uint send_space;
module_param(send_space, uint, 0);

static struct ib_device_attr before;

static int check_qp(struct kprobe *probe, struct pt_regs *regs)
{
	struct ib_qp *qp = (struct ib_qp *)regs_get_kernel_argument(regs, 0);
	struct ib_qp_init_attr *init = (struct ib_qp_init_attr *)regs_get_kernel_argument(regs, 1);
	const struct ib_device_attr *attrs = &qp->device->attrs;
	const struct ib_qp_cap *cap = &init->cap;

	if (init->qp_type != IB_QPT_RC)
		return 0;
	if (cap->max_send_sge > attrs->max_send_sge || cap->max_recv_sge > attrs->max_recv_sge ||
	    cap->max_send_wr > attrs->max_qp_wr || cap->max_recv_wr > attrs->max_qp_wr)
		return skip_function(regs, -EINVAL);
	if (send_space && cap->max_send_wr * cap->max_send_sge > send_space)
		return skip_function(regs, -ENOMEM);
	return 0;
}

static int check_region(struct kprobe *probe, struct pt_regs *regs)
{
	struct ib_mr *mr = (struct ib_mr *)regs_get_kernel_argument(regs, 0);

	if (!(mr->page_size & mr->device->attrs.page_size_cap))
		return skip_function(regs, -EINVAL);
	return 0;
}

static struct kprobe qp = {
	.symbol_name = "rxe_create_qp",
	.pre_handler = check_qp,
};

static struct kprobe region = {
	.symbol_name = "rxe_map_mr_sg",
	.pre_handler = check_region,
};

static struct kprobe *probes[] = { &qp, &region };

static struct ib_device *find_device(void)
{
	struct net_device *netdev = dev_get_by_name(&init_net, card);
	struct ib_device *device;

	if (!netdev)
		return NULL;
	device = ib_device_get_by_netdev(netdev, RDMA_DRIVER_RXE);
	dev_put(netdev);
	return device;
}

static int __init limited_rxe_init(void)
{
	struct ib_device *device = find_device();
	int error;

	if (!device)
		return -ENODEV;
	error = register_kprobes(probes, ARRAY_SIZE(probes));
	if (!error) {
		before = device->attrs;
		if (page_size_cap)
			device->attrs.page_size_cap = page_size_cap;
		if (max_send_sge)
			device->attrs.max_send_sge = max_send_sge;
		if (max_recv_sge)
			device->attrs.max_recv_sge = max_recv_sge;
		if (max_qp_wr)
			device->attrs.max_qp_wr = max_qp_wr;
	}
	ib_device_put(device);
	return error;
}

static void __exit limited_rxe_exit(void)
{
	struct ib_device *device = find_device();

	unregister_kprobes(probes, ARRAY_SIZE(probes));
	/* There may be another device by now, which has its own limits. */
	if (device) {
		device->attrs = before;
		ib_device_put(device);
	}
}

module_init(limited_rxe_init);
module_exit(limited_rxe_exit);
MODULE_DESCRIPTION("Soft-RoCE with lower limits");
MODULE_LICENSE("GPL");
