// SPDX-License-Identifier: GPL-2.0-only
/*
 * Inline functions and macros of the kernel, made callable from Rust: the Rust
 * name is that of the function here without `rust_helper_`. All are exported,
 * as generic and inlined Rust code ends up in the modules that use it.
 */

#include <linux/blkdev.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/percpu-refcount.h>
#include <rdma/ib_verbs.h>
#include <rdma/rdma_cm.h>

#include "compat.h"

int rust_helper_ib_post_send(struct ib_qp *qp, const struct ib_send_wr *wr,
			     const struct ib_send_wr **bad_wr)
{
	return ib_post_send(qp, wr, bad_wr);
}
EXPORT_SYMBOL_GPL(rust_helper_ib_post_send);

struct fs_struct *rust_helper___override_init_fs(void)
{
	return __override_init_fs();
}
EXPORT_SYMBOL_GPL(rust_helper___override_init_fs);

void rust_helper___revert_init_fs(struct fs_struct *old_fs)
{
	__revert_init_fs(old_fs);
}
EXPORT_SYMBOL_GPL(rust_helper___revert_init_fs);

int rust_helper_ib_post_recv(struct ib_qp *qp, const struct ib_recv_wr *wr,
			     const struct ib_recv_wr **bad_wr)
{
	return ib_post_recv(qp, wr, bad_wr);
}
EXPORT_SYMBOL_GPL(rust_helper_ib_post_recv);

struct page *rust_helper_ZERO_PAGE(unsigned long addr)
{
	return ZERO_PAGE(addr);
}
EXPORT_SYMBOL_GPL(rust_helper_ZERO_PAGE);

bool rust_helper_blk_requeue_pending(struct request_queue *q)
{
	return delayed_work_pending(&q->requeue_work);
}
EXPORT_SYMBOL_GPL(rust_helper_blk_requeue_pending);

bool rust_helper_bdev_read_only(struct block_device *bdev)
{
	return bdev_read_only(bdev);
}
EXPORT_SYMBOL_GPL(rust_helper_bdev_read_only);

bool rust_helper_ib_device_try_get(struct ib_device *dev)
{
	return ib_device_try_get(dev);
}
EXPORT_SYMBOL_GPL(rust_helper_ib_device_try_get);

u64 rust_helper_ib_dma_map_single(struct ib_device *dev, void *ptr, size_t size,
				  enum dma_data_direction dir)
{
	return ib_dma_map_single(dev, ptr, size, dir);
}
EXPORT_SYMBOL_GPL(rust_helper_ib_dma_map_single);

void rust_helper_ib_dma_unmap_single(struct ib_device *dev, u64 addr,
				     size_t size, enum dma_data_direction dir)
{
	ib_dma_unmap_single(dev, addr, size, dir);
}
EXPORT_SYMBOL_GPL(rust_helper_ib_dma_unmap_single);

int rust_helper_ib_dma_mapping_error(struct ib_device *dev, u64 addr)
{
	return ib_dma_mapping_error(dev, addr);
}
EXPORT_SYMBOL_GPL(rust_helper_ib_dma_mapping_error);

void rust_helper_ib_dma_sync_single_for_cpu(struct ib_device *dev, u64 addr,
					    size_t size,
					    enum dma_data_direction dir)
{
	ib_dma_sync_single_for_cpu(dev, addr, size, dir);
}
EXPORT_SYMBOL_GPL(rust_helper_ib_dma_sync_single_for_cpu);

void rust_helper_ib_dma_sync_single_for_device(struct ib_device *dev, u64 addr,
					       size_t size,
					       enum dma_data_direction dir)
{
	ib_dma_sync_single_for_device(dev, addr, size, dir);
}
EXPORT_SYMBOL_GPL(rust_helper_ib_dma_sync_single_for_device);

int rust_helper_ib_dma_map_sg(struct ib_device *dev, struct scatterlist *sg,
			      int nents, enum dma_data_direction dir)
{
	return ib_dma_map_sg(dev, sg, nents, dir);
}
EXPORT_SYMBOL_GPL(rust_helper_ib_dma_map_sg);

void rust_helper_ib_dma_unmap_sg(struct ib_device *dev, struct scatterlist *sg,
				 int nents, enum dma_data_direction dir)
{
	ib_dma_unmap_sg(dev, sg, nents, dir);
}
EXPORT_SYMBOL_GPL(rust_helper_ib_dma_unmap_sg);

void rust_helper_sg_set_page(struct scatterlist *sg, struct page *page,
			     unsigned int len, unsigned int offset)
{
	sg_set_page(sg, page, len, offset);
}
EXPORT_SYMBOL_GPL(rust_helper_sg_set_page);

void rust_helper_sg_mark_end(struct scatterlist *sg)
{
	sg_mark_end(sg);
}
EXPORT_SYMBOL_GPL(rust_helper_sg_mark_end);

void *rust_helper_page_address(const struct page *page)
{
	return page_address(page);
}
EXPORT_SYMBOL_GPL(rust_helper_page_address);

bool rust_helper_percpu_ref_tryget_live(struct percpu_ref *ref)
{
	return percpu_ref_tryget_live(ref);
}
EXPORT_SYMBOL_GPL(rust_helper_percpu_ref_tryget_live);

bool rust_helper_percpu_ref_tryget_live_rcu(struct percpu_ref *ref)
{
	return percpu_ref_tryget_live_rcu(ref);
}
EXPORT_SYMBOL_GPL(rust_helper_percpu_ref_tryget_live_rcu);

void rust_helper_percpu_ref_put(struct percpu_ref *ref)
{
	percpu_ref_put(ref);
}
EXPORT_SYMBOL_GPL(rust_helper_percpu_ref_put);

/* Not in the kernel: the index of the interface that a notifier is called for. */
int rust_helper_rtrs_notifier_ifindex(void *info)
{
	return netdev_notifier_info_to_dev(info)->ifindex;
}

/* Not in the kernel: the index of the interface of a port, or 0. */
int rust_helper_rtrs_port_ifindex(struct ib_device *dev, u32 port)
{
	struct net_device *ndev = ib_device_get_netdev(dev, port);
	int ifindex = ndev ? ndev->ifindex : 0;

	dev_put(ndev);
	return ifindex;
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 3, 0)

/* For the lock in kernel_compat.rs. */
unsigned long rust_helper_rtrs_spin_lock_irqsave(spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	return flags;
}
EXPORT_SYMBOL_GPL(rust_helper_rtrs_spin_lock_irqsave);

void rust_helper_rtrs_spin_unlock_irqrestore(spinlock_t *lock,
					     unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}
EXPORT_SYMBOL_GPL(rust_helper_rtrs_spin_unlock_irqrestore);

#endif

/* Not in the kernel: the network namespace of the calling task. */
struct net *rust_helper_rtrs_caller_net(void)
{
	return current->nsproxy->net_ns;
}
