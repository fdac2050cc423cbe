// SPDX-License-Identifier: GPL-2.0-only

//! The C callbacks of blk-mq and of the disk, which call [`Operations`].
//!
//! C headers: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h),
//! [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    error::from_result,
    prelude::*,
    ModuleMetadata, //
};

use rnbd_proto::wire::rnbd::IdentityKind;

use rtrs::{
    bindings::BLK_OPEN_WRITE,
    client::Queue, //
};

use super::{
    added_disks::disk_freed,
    geometry::HdGeometry,
    operations::Operations,
    payload::RequestPayload,
    queue,
    request::{
        self,
        Pdu,
        Request, //
    },
    tag_set::TagSet,
    timeout::TimedOutRequest, //
};

/// Size of a unique id of the block layer in bytes.
const UNIQUE_ID_SIZE: usize = 16;

/// The tables of C callbacks for `T`.
pub(super) struct VTables<T>(PhantomData<T>);

impl<T: Operations> VTables<T> {
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
            getgeo: Some(Self::getgeo),
            get_unique_id: Some(Self::get_unique_id),
            owner: T::Module::THIS_MODULE.as_ptr(),
            ..pin_init::zeroed()
        };

    /// # Safety
    ///
    /// `queue` must be that of a [`super::Disk`] for a `T`, and not be dead.
    unsafe fn device(queue: &bindings::request_queue) -> &T {
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
        let device = unsafe { Self::device(&*(*hctx).queue) };
        // SAFETY: As above.
        let rq = unsafe { NonNull::new_unchecked((*data).rq) };
        // SAFETY: blk-mq hands `rq` over, as this function returns `BLK_STS_OK`.
        let request = unsafe { Request::start(rq) };
        // SAFETY: It is for this device, a `T`.
        device.queue_rq(unsafe { RequestPayload::new(request) });
        bindings::BLK_STS_OK as bindings::blk_status_t
    }

    /// # Safety
    ///
    /// Only blk-mq calls it, for a request that was completed.
    unsafe extern "C" fn complete(rq: *mut bindings::request) {
        // SAFETY: Only `Request::complete` calls `blk_mq_complete_request`, which
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
        // SAFETY: blk-mq passes valid pointers; the polling task keeps the queue alive.
        let (queue, device) = unsafe {
            (
                queue::of_hctx(NonNull::new_unchecked(hctx)),
                Self::device(&*(*hctx).queue),
            )
        };
        match queue {
            Queue::Polled(number) => c_int::try_from(device.poll(number)).unwrap_or(c_int::MAX),
            Queue::Cpu => 0,
        }
    }

    /// # Safety
    ///
    /// Only blk-mq calls it, for a set made by [`super::TagSet`].
    unsafe extern "C" fn map_queues(set: *mut bindings::blk_mq_tag_set) {
        // SAFETY: `TagSet` made the maps; blk-mq gives exclusive access to the set.
        unsafe { queue::map_queues(&mut *set) };
    }

    /// Reports a request that takes long, and restarts its timer.
    ///
    /// The request still belongs to the driver: a network adapter may be writing to its
    /// pages. The driver makes sure that it is completed like any other request. A polled
    /// request may have its response already, with no task left that polls for it, so its
    /// queue is polled first.
    ///
    /// # Safety
    ///
    /// Only blk-mq calls it, for a request that was started.
    unsafe extern "C" fn timeout(rq: *mut bindings::request) -> bindings::blk_eh_timer_return {
        // SAFETY: blk-mq holds a reference to the request, and with it to its queue,
        // which is not dead while it is used.
        unsafe {
            Self::poll((*rq).mq_hctx, core::ptr::null_mut());
            let disks = TagSet::<T>::disks_of((*(*rq).q).tag_set);
            let request = TimedOutRequest::new(NonNull::new_unchecked(rq), disks);
            Self::device(&*(*rq).q).timed_out(&request);
        }
        bindings::blk_eh_timer_return_BLK_EH_RESET_TIMER
    }

    /// # Safety
    ///
    /// Only blk-mq calls it, for a new request with space for a [`Pdu`].
    unsafe extern "C" fn init_request(
        _set: *mut bindings::blk_mq_tag_set,
        rq: *mut bindings::request,
        _hctx_idx: c_uint,
        _numa_node: c_int,
    ) -> c_int {
        // SAFETY: The tag set asked for this space; it is uninitialised.
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
        // The block layer expects that putting this kobject, which is a part of the disk,
        // releases it at once. With this option the release happens later, in a work item,
        // which must not find the disk freed. It cannot be flushed, as this function may
        // itself run in a work item of that lock class.
        #[cfg(CONFIG_DEBUG_KOBJECT_RELEASE)]
        // SAFETY: The kobject was put for the last time, so the work item is
        // initialised; the disk is valid for the duration of this call.
        while unsafe { bindings::work_busy(&raw mut (*disk).queue_kobj.release.work) } != 0 {
            kernel::time::delay::fsleep(kernel::time::Delta::from_millis(1));
        }
        #[cfg(not(CONFIG_DEBUG_KOBJECT_RELEASE))]
        let _ = disk;
        disk_freed();
    }

    /// # Safety
    ///
    /// Only the block layer calls it, for a disk made by [`super::Disk`].
    unsafe extern "C" fn open(disk: *mut bindings::gendisk, mode: bindings::blk_mode_t) -> c_int {
        // SAFETY: The block layer only opens disks that are not removed yet;
        // until then `Disk` keeps the `T` it put into `private_data`.
        let device = unsafe { &*(*disk).private_data.cast::<T>() };
        from_result(|| device.open(mode & BLK_OPEN_WRITE != 0).map(|()| 0))
    }

    /// # Safety
    ///
    /// Only the block layer calls it, for a disk made by [`super::Disk`] that is open.
    unsafe extern "C" fn getgeo(
        disk: *mut bindings::gendisk,
        geometry: *mut bindings::hd_geometry,
    ) -> c_int {
        // SAFETY: The block layer passes valid pointers, and has initialised the geometry.
        unsafe {
            let sectors = (&raw const (*(*disk).part0).bd_nr_sectors).read_volatile();
            (*geometry.cast::<HdGeometry>()).set(sectors);
        }
        0
    }

    /// # Safety
    ///
    /// Only users of the block layer call it, for a disk made by [`super::Disk`] that is open,
    /// with space for [`UNIQUE_ID_SIZE`] bytes.
    unsafe extern "C" fn get_unique_id(
        disk: *mut bindings::gendisk,
        id: *mut u8,
        kind: bindings::blk_unique_id,
    ) -> c_int {
        // SAFETY: As in `open`. The disk keeps the `T`: a caller has a reference to it.
        let device = unsafe { &*(*disk).private_data.cast::<T>() };
        let kind = match kind {
            bindings::blk_unique_id_BLK_UID_T10 => IdentityKind::T10,
            bindings::blk_unique_id_BLK_UID_EUI64 => IdentityKind::Eui64,
            bindings::blk_unique_id_BLK_UID_NAA => IdentityKind::Naa,
            _ => return EINVAL.to_errno(),
        };
        let bytes = match device.unique_id(kind) {
            Some(bytes) if bytes.len() <= UNIQUE_ID_SIZE => bytes,
            _ => return EINVAL.to_errno(),
        };
        // SAFETY: The caller has space for so many bytes.
        unsafe { id.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        // CAST: At most 16.
        bytes.len() as c_int
    }
}
