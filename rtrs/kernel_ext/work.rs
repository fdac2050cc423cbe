// SPDX-License-Identifier: GPL-2.0-only

//! Work items that are fields of an object, run at once or after a delay.
//!
//! The kernel crate's `DelayedWork` can be queued but not cancelled. An [`OwnedWork`] is a
//! field of an object in an [`Arc`]. While it is pending or running it holds a reference to
//! the object, which cancelling drops. An idle work item holds none, so an object and its
//! work items form no reference cycle.
//!
//! # Examples
//!
//! ```ignore
//! #[pin_data]
//! struct Path {
//!     #[pin]
//!     heartbeat: OwnedWork<Path, HEARTBEAT>,
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

use kernel::{
    container_of,
    ffi::c_int,
    prelude::*,
    sync::{
        Arc,
        LockClassKey, //
    },
    time::{
        Delta,
        Jiffies, //
    },
    types::Opaque, //
};

use crate::bindings;

use super::workqueue::WorkqueueHandle;

/// A work item within an object of type `T`.
///
/// # Invariants
///
/// While the work is pending (also on its timer) or running, it owns one reference to the
/// object and one leaked [`QueueRef`](super::workqueue::QueueRef) of its workqueue.
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

/// An object with an [`OwnedWork`] field; implement it with [`impl_has_owned_work!`](crate::impl_has_owned_work).
///
/// # Safety
///
/// The two functions convert between a pointer to an object and one to its field.
pub unsafe trait HasOwnedWork<const ID: u64 = 0>: Sized {
    /// Returns the field of an object.
    ///
    /// # Safety
    ///
    /// `this` points to a live object.
    unsafe fn work_of(this: *const Self) -> *const OwnedWork<Self, ID>;

    /// Returns the object of a field.
    ///
    /// # Safety
    ///
    /// `work` is the field of a live object, with provenance over all of it.
    unsafe fn owner_of(work: *const OwnedWork<Self, ID>) -> *const Self;
}

/// The function of a work item.
pub trait OwnedWorkItem<const ID: u64 = 0>: HasOwnedWork<ID> + Send + Sync + 'static {
    /// Runs on the workqueue, where it may sleep. Never runs concurrently with itself.
    fn run(this: Arc<Self>);
}

/// Implements [`HasOwnedWork`](crate::kernel_ext::work::HasOwnedWork) for a field.
#[macro_export]
macro_rules! impl_has_owned_work {
    ($(impl$({$($generics:tt)*})? HasOwnedWork<$id:tt> for $owner:ty { self.$field:ident })*) => {$(
        #[allow(unsafe_code, reason = "the macro upholds the contract")]
        // SAFETY: Both directions use the same field; the compiler checks its type.
        unsafe impl$(<$($generics)*>)? $crate::kernel_ext::work::HasOwnedWork<$id> for $owner {
            #[inline]
            unsafe fn work_of(this: *const Self) -> *const $crate::kernel_ext::work::OwnedWork<Self, $id> {
                // SAFETY: The caller passes a live object.
                unsafe { &raw const (*this).$field }
            }

            #[inline]
            unsafe fn owner_of(work: *const $crate::kernel_ext::work::OwnedWork<Self, $id>) -> *const Self {
                // SAFETY: The caller passes the field of an object.
                unsafe { ::kernel::container_of!(work, Self, $field) }
            }
        }
    )*};
}

/// Initialises an [`OwnedWork`](crate::kernel_ext::work::OwnedWork) with a workqueue handle
/// and a name for lockdep.
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
    /// Creates an idle work item; use [`new_owned_work!`](crate::new_owned_work).
    pub fn new(
        queue: WorkqueueHandle,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
        timer_key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        // INVARIANT: Neither pending nor running.
        pin_init!(Self {
            dwork <- Opaque::ffi_init(move |slot: *mut bindings::delayed_work| {
                // SAFETY: `slot` is valid for writes and stays in place; `run` takes such a
                // work item, and the timer function the timer of a delayed work.
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

/// Runs a work item; the workqueue calls it.
///
/// # Safety
///
/// Called once for each time that the work item was queued and not cancelled.
unsafe extern "C" fn run<T: OwnedWorkItem<ID>, const ID: u64>(work: *mut bindings::work_struct) {
    // SAFETY: Only an `OwnedWork` has this function. By its type invariants it owns a
    // reference to its object and one to the workqueue, which are taken over here.
    let (object, queue_ref) = unsafe {
        let dwork = container_of!(work, bindings::delayed_work, work);
        let owned = container_of!(Opaque::cast_from(dwork), OwnedWork<T, ID>, dwork);
        let object = Arc::from_raw(T::owner_of(owned));
        (object, (*owned).queue.reclaim())
    };

    // The last reference to the object may be dropped in there.
    T::run(object);
    drop(queue_ref);
}

fn work<T: OwnedWorkItem<ID>, const ID: u64>(object: &Arc<T>) -> &OwnedWork<T, ID> {
    // SAFETY: The object outlives the borrow of a reference to it.
    unsafe { &*T::work_of(Arc::as_ptr(object)) }
}

/// Queues the work item to run after `delay` ([`queue_delayed_work`]). From any context.
///
/// Returns false, and changes nothing, if it is pending already, has been
/// [stopped](stop_sync), or the workqueue is being dropped.
///
/// [`queue_delayed_work`]: srctree/include/linux/workqueue.h
pub fn schedule_in<T: OwnedWorkItem<ID>, const ID: u64>(object: &Arc<T>, delay: Delta) -> bool {
    queue::<T, ID>(object, super::jiffies(delay))
}

/// Queues the work item to run at once; see [`schedule_in`].
pub fn schedule<T: OwnedWorkItem<ID>, const ID: u64>(object: &Arc<T>) -> bool {
    queue::<T, ID>(object, 0)
}

/// Queues the work item to run after `delay` jiffies; see [`schedule_in`].
#[inline]
fn queue<T: OwnedWorkItem<ID>, const ID: u64>(object: &Arc<T>, delay: Jiffies) -> bool {
    let work = work::<T, ID>(object);
    let Some(queue_ref) = work.queue.try_get() else {
        return false;
    };
    let reference = Arc::into_raw(object.clone());

    // SAFETY: `queue_ref` keeps the workqueue valid. `reference` keeps the object and the
    // work item in it, and passes to the work item.
    let queued = unsafe {
        bindings::queue_delayed_work_on(
            bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
            work.queue.as_raw(),
            work.dwork.get(),
            delay,
        )
    };

    if queued {
        // INVARIANT: Both references belong to the work item, which may have run and dropped
        // them already; here they are only forgotten.
        queue_ref.leak();
    } else {
        // SAFETY: The workqueue did not take the reference made above.
        drop(unsafe { Arc::from_raw(reference) });
    }
    queued
}

/// Queues the work item to run after `delay`, whenever it was to run before
/// ([`cancel_delayed_work`](srctree/include/linux/workqueue.h), then as [`schedule_in`]).
///
/// From any context. A work item that is running will run again. Returns false if it was
/// stopped, the workqueue is being dropped, or another caller queued it at the same moment.
pub fn reschedule_in<T: OwnedWorkItem<ID>, const ID: u64>(object: &Arc<T>, delay: Delta) -> bool {
    let work = work::<T, ID>(object);

    // SAFETY: Initialised in `OwnedWork::new`.
    if unsafe { bindings::cancel_delayed_work(work.dwork.get()) } {
        // SAFETY: The work item was pending and no longer is.
        unsafe { drop_references(object, work) };
    }
    schedule_in::<T, ID>(object, delay)
}

/// Cancels the work item and waits for it if it is running
/// ([`cancel_delayed_work_sync`](srctree/include/linux/workqueue.h)). May sleep.
///
/// Returns whether it was pending. The work item must not call this itself. It may be queued
/// again, also by other callers while this waits; see [`stop_sync`].
pub(crate) fn cancel_sync<T: OwnedWorkItem<ID>, const ID: u64>(object: &Arc<T>) -> bool {
    let work = work::<T, ID>(object);

    // SAFETY: Initialised in `OwnedWork::new`.
    let pending = unsafe { bindings::cancel_delayed_work_sync(work.dwork.get()) };
    if pending {
        // SAFETY: The work item was pending and no longer is.
        unsafe { drop_references(object, work) };
    }
    pending
}

/// Disables the work item: once this returns it neither runs nor can it be queued
/// ([`disable_delayed_work_sync`](srctree/include/linux/workqueue.h)). May sleep.
///
/// The work item must not call this itself.
pub fn stop_sync<T: OwnedWorkItem<ID>, const ID: u64>(object: &Arc<T>) {
    let work = work::<T, ID>(object);

    // SAFETY: Initialised in `OwnedWork::new`.
    if unsafe { bindings::disable_delayed_work_sync(work.dwork.get()) } {
        // SAFETY: The work item was pending and no longer is.
        unsafe { drop_references(object, work) };
    }
}

/// Drops the references that a pending work item owned before it was cancelled.
///
/// # Safety
///
/// `work`, a field of `object`, was pending and was cancelled.
unsafe fn drop_references<T: OwnedWorkItem<ID>, const ID: u64>(
    object: &Arc<T>,
    work: &OwnedWork<T, ID>,
) {
    // SAFETY: By the type invariants both belonged to the work item. The one to the object
    // is not the last, as the caller has `object`.
    unsafe {
        drop(work.queue.reclaim());
        drop(Arc::from_raw(Arc::as_ptr(object)));
    }
}
