// SPDX-License-Identifier: GPL-2.0-only

//! Work items that are part of an object, run now or after a delay.
//!
//! The kernel crate's `DelayedWork` can be queued but not cancelled. A [`OwnedWork`]
//! is a field of an object in an [`Arc`]; while it is pending or running it holds
//! a reference to the object, which cancelling gives back. An idle task holds
//! none, so objects and their tasks make no cycle.
//!
//! # Examples
//!
//! ```ignore
//! #[pin_data]
//! struct Path {
//!     #[pin]
//!     heartbeat: Task<Path, HEARTBEAT>,
//! }
//!
//! const HEARTBEAT: u64 = 0;
//!
//! impl_has_owned_work! { impl HasOwnedWork<HEARTBEAT> for Path { self.heartbeat } }
//!
//! impl OwnedWorkItem<HEARTBEAT> for Path {
//!     fn run(this: Arc<Self>) {
//!         work::schedule_in::<_, HEARTBEAT>(&this, Delta::from_secs(5));
//!     }
//! }
//!
//! Arc::pin_init(pin_init!(Path { heartbeat <- new_owned_work!(queue, "heartbeat") }), GFP_KERNEL)
//! ```
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use core::marker::PhantomData;

use kernel::container_of;
use kernel::ffi::c_int;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::LockClassKey;
use kernel::time::Delta;
use kernel::types::Opaque;

use super::workqueue::WorkqueueHandle;
use crate::bindings;

/// A work item within an object of type `T`.
///
/// # Invariants
///
/// While the work is pending (also on its timer) or running, one reference of the
/// object and one parked permit of the queue belong to it.
#[pin_data]
pub struct OwnedWork<T, const ID: u64 = 0> {
    #[pin]
    dwork: Opaque<bindings::delayed_work>,
    queue: WorkqueueHandle,
    _owner: PhantomData<fn(T)>,
}

// SAFETY: Work items may be used from any context.
unsafe impl<T, const ID: u64> Send for OwnedWork<T, ID> {}
// SAFETY: Work items do their own locking.
unsafe impl<T, const ID: u64> Sync for OwnedWork<T, ID> {}

/// Objects with a [`OwnedWork`] field; use [`impl_has_owned_work!`](crate::impl_has_owned_work).
///
/// # Safety
///
/// The two functions lead from an object to its field and back.
pub unsafe trait HasOwnedWork<const ID: u64 = 0>: Sized {
    /// The field.
    ///
    /// # Safety
    ///
    /// `this` points into a live object.
    unsafe fn task_of(this: *const Self) -> *const OwnedWork<Self, ID>;

    /// The object.
    ///
    /// # Safety
    ///
    /// `task` is the field of a live object, with provenance over all of it.
    unsafe fn owner_of(task: *const OwnedWork<Self, ID>) -> *const Self;
}

/// What the task does.
pub trait OwnedWorkItem<const ID: u64 = 0>: HasOwnedWork<ID> + Send + Sync + 'static {
    /// Runs on the queue, where it may sleep. Never twice at a time.
    fn run(this: Arc<Self>);
}

/// Implements [`HasOwnedWork`](crate::kernel_ext::work::HasOwnedWork) for a field.
#[macro_export]
macro_rules! impl_has_owned_work {
    ($(impl HasOwnedWork<$id:tt> for $owner:ty { self.$field:ident })*) => {$(
        #[allow(unsafe_code, reason = "the macro upholds the contract")]
        // SAFETY: Both directions are over the same field; its type is checked.
        unsafe impl $crate::kernel_ext::work::HasOwnedWork<$id> for $owner {
            #[inline]
            unsafe fn task_of(this: *const Self) -> *const $crate::kernel_ext::work::OwnedWork<Self, $id> {
                // SAFETY: The caller passes a live object.
                unsafe { &raw const (*this).$field }
            }

            #[inline]
            unsafe fn owner_of(task: *const $crate::kernel_ext::work::OwnedWork<Self, $id>) -> *const Self {
                // SAFETY: The caller passes the field of an object.
                unsafe { ::kernel::container_of!(task, Self, $field) }
            }
        }
    )*};
}

/// An initialiser of a [`OwnedWork`](crate::kernel_ext::work::Task): queue handle and name.
#[macro_export]
macro_rules! new_owned_work {
    ($queue:expr, $name:literal) => {
        $crate::kernel_ext::work::OwnedWork::new(
            $queue,
            ::kernel::c_str!($name),
            ::kernel::static_lock_class!(),
            ::kernel::static_lock_class!(),
        )
    };
}

impl<T: OwnedWorkItem<ID>, const ID: u64> OwnedWork<T, ID> {
    /// Creates an idle task; use [`new_owned_work!`](crate::new_owned_work).
    pub fn new(
        queue: WorkqueueHandle,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
        timer_key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        // INVARIANT: Neither pending nor running.
        pin_init!(Self {
            dwork <- Opaque::ffi_init(move |slot: *mut bindings::delayed_work| {
                // SAFETY: `slot` is valid for writes and stays in place; `run` fits a
                // task, and the timer function a timer within a delayed work.
                unsafe {
                    bindings::init_work_with_key(
                        &raw mut (*slot).work,
                        Some(run::<T, ID>),
                        false,
                        name.as_char_ptr(),
                        key.as_ptr(),
                    );
                    bindings::timer_init_key(
                        &raw mut (*slot).timer,
                        Some(bindings::delayed_work_timer_fn),
                        bindings::TIMER_IRQSAFE,
                        name.as_char_ptr(),
                        timer_key.as_ptr(),
                    );
                }
            }),
            queue,
            _owner: PhantomData,
        })
    }
}

/// Entry of the work queue.
///
/// # Safety
///
/// Called once for each time that the task was queued and not cancelled.
unsafe extern "C" fn run<T: OwnedWorkItem<ID>, const ID: u64>(work: *mut bindings::work_struct) {
    // SAFETY: Only the work of a task has this function. By the type invariants
    // a reference of its object and a permit belong to the work, and are taken
    // over here: `schedule_in` turned them raw.
    let (object, permit) = unsafe {
        let dwork = container_of!(work, bindings::delayed_work, work);
        let task = container_of!(Opaque::cast_from(dwork), OwnedWork<T, ID>, dwork);
        let object = Arc::from_raw(T::owner_of(task));
        (object, (*task).queue.unpark())
    };

    T::run(object);
    drop(permit);
}

fn task<T: OwnedWorkItem<ID>, const ID: u64>(object: &Arc<T>) -> &OwnedWork<T, ID> {
    // SAFETY: The object lives as long as the borrow of its reference.
    unsafe { &*T::task_of(Arc::as_ptr(object)) }
}

/// Queues the task for `delay` from now. From any context.
///
/// False, with nothing changed, if it is pending already, has been
/// [stopped](stop_sync), or the queue is being dropped.
pub fn schedule_in<T: OwnedWorkItem<ID>, const ID: u64>(object: &Arc<T>, delay: Delta) -> bool {
    let task = task::<T, ID>(object);
    let Some(permit) = task.queue.permit() else {
        return false;
    };
    let reference = Arc::into_raw(object.clone());

    // SAFETY: The permit keeps the queue. The object, and the work in it, are kept
    // by `reference`, which passes to the work.
    let queued = unsafe {
        bindings::queue_delayed_work_on(
            bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
            task.queue.as_raw(),
            task.dwork.get(),
            super::jiffies(delay),
        )
    };

    if queued {
        // INVARIANT: Reference and permit belong to the work, which may have used
        // them up already; what is left to do is to forget them here.
        permit.park();
    } else {
        // SAFETY: The queue did not take the reference made above.
        drop(unsafe { Arc::from_raw(reference) });
    }
    queued
}

/// Queues the task now; see [`schedule_in`].
pub fn schedule<T: OwnedWorkItem<ID>, const ID: u64>(object: &Arc<T>) -> bool {
    schedule_in::<T, ID>(object, Delta::ZERO)
}

/// Queues the task for `delay` from now, in place of when it was to run before.
///
/// From any context. A task that is running runs again. False if it was stopped,
/// the queue is being dropped, or someone else queued it at the same moment.
pub fn reschedule_in<T: OwnedWorkItem<ID>, const ID: u64>(object: &Arc<T>, delay: Delta) -> bool {
    let task = task::<T, ID>(object);

    // SAFETY: Initialised in `OwnedWork::new`.
    if unsafe { bindings::cancel_delayed_work(task.dwork.get()) } {
        // SAFETY: The work was pending and is no more.
        unsafe { reclaim(object, task) };
    }
    schedule_in::<T, ID>(object, delay)
}

/// Cancels the task and waits for it if it is running. May sleep.
///
/// True if it was pending. Not to be called by the task itself. The task may be
/// queued again, also by others while this waits; see [`stop_sync`].
pub fn cancel_sync<T: OwnedWorkItem<ID>, const ID: u64>(object: &Arc<T>) -> bool {
    let task = task::<T, ID>(object);

    // SAFETY: Initialised in `OwnedWork::new`.
    let pending = unsafe { bindings::cancel_delayed_work_sync(task.dwork.get()) };
    if pending {
        // SAFETY: The work was pending and is no more.
        unsafe { reclaim(object, task) };
    }
    pending
}

/// Cancels the task for good: once this returns it neither runs nor can be queued.
///
/// May sleep. Not to be called by the task itself.
pub fn stop_sync<T: OwnedWorkItem<ID>, const ID: u64>(object: &Arc<T>) {
    let task = task::<T, ID>(object);

    // SAFETY: Initialised in `OwnedWork::new`.
    if unsafe { bindings::disable_delayed_work_sync(task.dwork.get()) } {
        // SAFETY: The work was pending and is no more.
        unsafe { reclaim(object, task) };
    }
}

/// Gives back what belonged to a pending work that was cancelled.
///
/// # Safety
///
/// The work of `task`, a field of `object`, was pending and was cancelled.
unsafe fn reclaim<T: OwnedWorkItem<ID>, const ID: u64>(object: &Arc<T>, task: &OwnedWork<T, ID>) {
    // SAFETY: By the type invariants both belonged to the work. The reference is
    // not the last one, as the caller has `object`.
    unsafe {
        drop(task.queue.unpark());
        drop(Arc::from_raw(Arc::as_ptr(object)));
    }
}
