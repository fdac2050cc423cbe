// SPDX-License-Identifier: GPL-2.0-only

//! What a driver does, and the C callbacks that lead there.
//!
//! C headers: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h),
//! [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::major::disk_gone;
use super::payload::RequestPayload;
use super::request;
use super::request::IdleRequest;
use super::request::Pdu;
use super::request::Queue;
use super::request::Request;
use super::tag_set::TagSet;
use super::timeout::TimedOutRequest;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::bindings;
use kernel::error::from_result;
use kernel::prelude::*;
use kernel::ModuleMetadata;
use rtrs::bindings::BLK_OPEN_WRITE;

/// A block device driver; the value is one device.
pub(crate) trait Operations: Send + Sync + Sized + 'static {
    /// The module that an open device keeps loaded.
    type Module: ModuleMetadata;

    /// Executes a request. May run in atomic context, on several CPUs at once,
    /// until [`super::Disk`] is dropped.
    fn queue_rq(&self, transfer: RequestPayload<Self>);

    /// Writes the message that asks the server for `request`, each time that it
    /// is sent; answers its length.
    fn message(&self, request: &Request, out: &mut [u8]) -> Result<usize>;

    /// A request of [`Self::queue_rq`] ends now. In any context.
    fn ending(&self, request: &Request);

    /// Ends requests that came by polled queue `number` and were answered; answers
    /// how much there was to do. May run in atomic context, on several CPUs at once.
    fn poll(&self, number: u32) -> u32;

    /// A request was not done within the timeout of its queue, once more. Process
    /// context.
    fn overdue(&self, late: &TimedOutRequest);

    /// Someone opens the device or one of its partitions. Runs under the lock
    /// that [`super::Disk::with_openers`] takes.
    fn open(&self, writable: bool) -> Result;
}

/// The tables of C callbacks for `T`.
pub(super) struct Tables<T>(PhantomData<T>);

impl<T: Operations> Tables<T> {
    pub(super) const MQ: &'static bindings::blk_mq_ops = &bindings::blk_mq_ops {
        queue_rq: Some(Self::queue_rq),
        complete: Some(Self::complete),
        timeout: Some(Self::timeout),
        poll: Some(Self::poll),
        map_queues: Some(Self::map_queues),
        init_request: Some(Self::init_request),
        ..pin_init::zeroed()
    };

    pub(super) const DISK: &'static bindings::block_device_operations =
        &bindings::block_device_operations {
            open: Some(Self::open),
            free_disk: Some(Self::free_disk),
            owner: T::Module::THIS_MODULE.as_ptr(),
            ..pin_init::zeroed()
        };

    /// # Safety
    ///
    /// `queue` must be that of a [`super::Disk`] for a `T`, and not be dead.
    unsafe fn driver(queue: &bindings::request_queue) -> &T {
        // SAFETY: `Disk` set `queuedata` to a `T` that it keeps until its queue is
        // dead.
        unsafe { &*queue.queuedata.cast::<T>() }
    }

    /// # Safety
    ///
    /// Only blk-mq calls it, for a queue made by [`super::Disk`].
    unsafe extern "C" fn queue_rq(
        hctx: *mut bindings::blk_mq_hw_ctx,
        data: *const bindings::blk_mq_queue_data,
    ) -> bindings::blk_status_t {
        // SAFETY: blk-mq passes valid pointers.
        let device = unsafe { Self::driver(&*(*hctx).queue) };
        // SAFETY: As above.
        let rq = unsafe { NonNull::new_unchecked((*data).rq) };
        // SAFETY: `rq` is handed over: the answer below is `BLK_STS_OK`.
        let request = unsafe { IdleRequest::from_raw(rq) }.start();
        // SAFETY: It is for this device, a `T`.
        device.queue_rq(unsafe { RequestPayload::new(request) });
        bindings::BLK_STS_OK as bindings::blk_status_t
    }

    /// # Safety
    ///
    /// Only blk-mq calls it, for a request that was completed.
    unsafe extern "C" fn complete(rq: *mut bindings::request) {
        // SAFETY: `blk_mq_complete_request`, called by `Request::done` only,
        // leads here.
        unsafe { request::end(NonNull::new_unchecked(rq)) };
    }

    /// # Safety
    ///
    /// Only blk-mq calls it, for a queue made by [`super::Disk`].
    unsafe extern "C" fn poll(
        hctx: *mut bindings::blk_mq_hw_ctx,
        _batch: *mut bindings::io_comp_batch,
    ) -> c_int {
        // SAFETY: blk-mq passes valid pointers; who polls keeps the queue alive.
        let (queue, device) = unsafe {
            (
                Queue::of(NonNull::new_unchecked(hctx)),
                Self::driver(&*(*hctx).queue),
            )
        };
        match queue {
            Queue::Polled(number) => c_int::try_from(device.poll(number)).unwrap_or(c_int::MAX),
            Queue::Default => 0,
        }
    }

    /// # Safety
    ///
    /// Only blk-mq calls it, for a set made by [`super::TagSet`].
    unsafe extern "C" fn map_queues(set: *mut bindings::blk_mq_tag_set) {
        // SAFETY: As the caller promises; nobody else uses the set now.
        unsafe { TagSet::<T>::map_queues(&mut *set) };
    }

    /// A request that takes long still belongs to the driver: a network adapter
    /// may be writing to its pages. The driver is told, and sees to it that the
    /// request is completed as any other. Unless nobody polls for a request that
    /// wants it, which may be answered by now.
    ///
    /// # Safety
    ///
    /// Only blk-mq calls it, for a request that was started.
    unsafe extern "C" fn timeout(rq: *mut bindings::request) -> bindings::blk_eh_timer_return {
        // SAFETY: blk-mq holds a reference to the request, and with it to its queue,
        // which is not dead while it is used.
        unsafe {
            Self::poll((*rq).mq_hctx, core::ptr::null_mut());
            Self::driver(&*(*rq).q).overdue(&TimedOutRequest::of(NonNull::new_unchecked(rq)));
        }
        bindings::blk_eh_timer_return_BLK_EH_RESET_TIMER
    }

    /// # Safety
    ///
    /// Only blk-mq calls it, for a fresh request with room for a [`Pdu`].
    unsafe extern "C" fn init_request(
        _set: *mut bindings::blk_mq_tag_set,
        rq: *mut bindings::request,
        _hctx_idx: c_uint,
        _numa_node: c_int,
    ) -> c_int {
        // SAFETY: The tag set asked for this room; it is uninitialised.
        unsafe {
            bindings::blk_mq_rq_to_pdu(rq)
                .cast::<Pdu>()
                .write(Pdu::new())
        };
        0
    }

    /// The last reference to a disk is gone.
    ///
    /// # Safety
    ///
    /// Only the block layer calls it, for a disk made by [`super::Disk`], after
    /// it has put the kobject of the queue and before it frees the disk.
    unsafe extern "C" fn free_disk(disk: *mut bindings::gendisk) {
        // The block layer counts on putting this kobject, which is a part of
        // the disk, to release it at once. With this option that happens later,
        // in a work item, which must not find the disk freed. Not flushed, as
        // this may itself run in a work item of that lock class.
        #[cfg(CONFIG_DEBUG_KOBJECT_RELEASE)]
        // SAFETY: The kobject was put for the last time, so the work item is
        // initialised; the disk is valid for the duration of this call.
        while unsafe { bindings::work_busy(&raw mut (*disk).queue_kobj.release.work) } != 0 {
            kernel::time::delay::fsleep(kernel::time::Delta::from_millis(1));
        }
        #[cfg(not(CONFIG_DEBUG_KOBJECT_RELEASE))]
        let _ = disk;
        disk_gone();
    }

    /// # Safety
    ///
    /// Only the block layer calls it, for a disk made by [`super::Disk`].
    unsafe extern "C" fn open(disk: *mut bindings::gendisk, mode: bindings::blk_mode_t) -> c_int {
        // SAFETY: The block layer opens disks that are not removed yet only;
        // until then `Disk` keeps the `T` it put into `private_data`.
        let device = unsafe { &*(*disk).private_data.cast::<T>() };
        from_result(|| device.open(mode & BLK_OPEN_WRITE != 0).map(|()| 0))
    }
}
