// SPDX-License-Identifier: GPL-2.0-only
/*
 * Inline functions and macros of the kernel, made callable from Rust: the Rust
 * name is that of the function here without `rust_helper_`. All are exported,
 * as generic and inlined Rust code ends up in the modules that use it.
 */

#include <crypto/sha2.h>
#include <keys/user-type.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/cred.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/percpu.h>
#include <linux/percpu-refcount.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <rdma/ib_verbs.h>
#include <rdma/rdma_cm.h>

#include "compat.h"

/* bad_wr must not be NULL: so the compiler leaves out what replaces it then. */
int rust_helper_ib_post_send(struct ib_qp *qp, const struct ib_send_wr *wr,
			     const struct ib_send_wr **bad_wr)
{
	if (!bad_wr)
		__builtin_unreachable();
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

/* As above. */
int rust_helper_ib_post_recv(struct ib_qp *qp, const struct ib_recv_wr *wr,
			     const struct ib_recv_wr **bad_wr)
{
	if (!bad_wr)
		__builtin_unreachable();
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

/*
 * Not in the kernel: whether a device is claimed, as by a mounted file system,
 * or the disk that it is a partition of, as by MD. A claim of a partition counts
 * for its disk, too.
 */
bool rust_helper_rtrs_bdev_is_claimed(struct block_device *bdev)
{
	struct block_device *disk = bdev_whole(bdev), *part;
	unsigned long index;
	int claims = 0;

	if (READ_ONCE(bdev->bd_holders))
		return true;
	rcu_read_lock();
	xa_for_each_start(&bdev->bd_disk->part_tbl, index, part, 1)
		claims += READ_ONCE(part->bd_holders);
	rcu_read_unlock();
	return READ_ONCE(disk->bd_holders) > claims;
}
EXPORT_SYMBOL_GPL(rust_helper_rtrs_bdev_is_claimed);

/*
 * Not in the kernel: copies all data of a request from memory of that length. Returns
 * false, and may have copied a part, if the length is another one.
 */
bool rust_helper_rtrs_copy_to_rq(struct request *rq, const char *from, unsigned int len)
{
	struct req_iterator iter;
	struct bio_vec bvec;

	rq_for_each_segment(bvec, rq, iter) {
		if (bvec.bv_len > len)
			return false;
		memcpy_to_bvec(&bvec, from);
		from += bvec.bv_len;
		len -= bvec.bv_len;
	}
	return !len;
}
EXPORT_SYMBOL_GPL(rust_helper_rtrs_copy_to_rq);

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

u64 __percpu *rust_helper_alloc_percpu_u64(size_t count)
{
	return __alloc_percpu(array_size(count, sizeof(u64)), SMP_CACHE_BYTES);
}

void rust_helper_this_cpu_add_u64(u64 __percpu *counter, u64 amount)
{
	this_cpu_add(*counter, amount);
}
EXPORT_SYMBOL_GPL(rust_helper_this_cpu_add_u64);

/* Not in the kernel: counts an event, and its amount in the counter behind that. */
void rust_helper_rtrs_this_cpu_count_u64(u64 __percpu *counter, u64 amount)
{
	this_cpu_inc(counter[0]);
	this_cpu_add(counter[1], amount);
}
EXPORT_SYMBOL_GPL(rust_helper_rtrs_this_cpu_count_u64);

/* 0 for numbers below nr_cpu_ids that no CPU has. */
u64 rust_helper_per_cpu_read_u64(u64 __percpu *counter, unsigned int cpu)
{
	return cpu_possible(cpu) ? READ_ONCE(*per_cpu_ptr(counter, cpu)) : 0;
}

/* As above. */
void rust_helper_per_cpu_clear_u64(u64 __percpu *counter, unsigned int cpu)
{
	if (cpu_possible(cpu))
		WRITE_ONCE(*per_cpu_ptr(counter, cpu), 0);
}

unsigned long rust_helper_totalram_pages(void)
{
	return totalram_pages();
}

void *rust_helper_alloc_pages_exact(size_t size, gfp_t gfp_mask)
{
	return alloc_pages_exact(size, gfp_mask);
}

struct page *rust_helper_virt_to_page(const void *address)
{
	return virt_to_page(address);
}

bool rust_helper_rdma_protocol_roce(const struct ib_device *device, u32 port_num)
{
	return rdma_protocol_roce(device, port_num);
}

bool rust_helper_rdma_protocol_iwarp(const struct ib_device *device, u32 port_num)
{
	return rdma_protocol_iwarp(device, port_num);
}

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

void rust_helper_preempt_disable(void)
{
	preempt_disable();
}
EXPORT_SYMBOL_GPL(rust_helper_preempt_disable);

void rust_helper_preempt_enable(void)
{
	preempt_enable();
}
EXPORT_SYMBOL_GPL(rust_helper_preempt_enable);

/* A macro in kernels that are not preemptible. */
void rust_helper_synchronize_rcu_tasks(void)
{
	synchronize_rcu_tasks();
}
EXPORT_SYMBOL_GPL(rust_helper_synchronize_rcu_tasks);

/* Not in the kernel: the network namespace of the calling task. */
struct net *rust_helper_rtrs_caller_net(void)
{
	return current->nsproxy->net_ns;
}

const struct cred *rust_helper_current_cred(void)
{
	return current_cred();
}
EXPORT_SYMBOL_GPL(rust_helper_current_cred);

key_ref_t rust_helper_make_key_ref(const struct key *key, bool possession)
{
	return make_key_ref(key, possession);
}
EXPORT_SYMBOL_GPL(rust_helper_make_key_ref);

struct key *rust_helper_key_ref_to_ptr(key_ref_t key_ref)
{
	return key_ref_to_ptr(key_ref);
}
EXPORT_SYMBOL_GPL(rust_helper_key_ref_to_ptr);

const struct user_key_payload *rust_helper_user_key_payload_rcu(const struct key *key)
{
	return user_key_payload_rcu(key);
}
EXPORT_SYMBOL_GPL(rust_helper_user_key_payload_rcu);

void rust_helper_hmac_sha256_init(struct hmac_sha256_ctx *ctx, const struct hmac_sha256_key *key)
{
	hmac_sha256_init(ctx, key);
}
EXPORT_SYMBOL_GPL(rust_helper_hmac_sha256_init);

void rust_helper_hmac_sha256_update(struct hmac_sha256_ctx *ctx, const u8 *data, size_t len)
{
	hmac_sha256_update(ctx, data, len);
}
EXPORT_SYMBOL_GPL(rust_helper_hmac_sha256_update);

void rust_helper_memzero_explicit(void *s, size_t count)
{
	memzero_explicit(s, count);
}
EXPORT_SYMBOL_GPL(rust_helper_memzero_explicit);
