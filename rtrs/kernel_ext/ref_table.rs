// SPDX-License-Identifier: GPL-2.0-only

//! A table whose values are looked up without a lock, and used without a count that CPUs
//! share.
//!
//! Look-ups read a slot under RCU and take a reference that the CPU counts on its own, in a
//! `percpu_ref`. So many CPUs can look up and use the same value without writing to the same
//! cache line. The price is paid when a value is removed, which takes an RCU grace period.
//!
//! | step | effect |
//! |---|---|
//! | [`RefTableEntry::new`] | look-ups find the value |
//! | [`RefTableEntry::unpublish`] | look-ups no longer find it |
//! | [`RefTableEntry::retire`] | the owner is notified when the last reference is dropped |
//! | drop of the entry | waits for the last reference, then drops the value |
//!
//! C header: [`include/linux/percpu-refcount.h`](srctree/include/linux/percpu-refcount.h)

use core::{
    cell::UnsafeCell,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicBool,
        AtomicPtr,
        Ordering::{
            Acquire,
            Relaxed,
            Release, //
        }, //
    }, //
};

use kernel::{
    container_of,
    error::to_result,
    prelude::*,
    sync::{
        rcu,
        Arc, //
    },
    types::Opaque, //
};

use crate::bindings;

use super::completion::Completion;

/// Notified when the last reference to a retired value is dropped.
pub trait LastRefDropped: Send + Sync {
    /// Called once, in any context, hard interrupts included.
    fn last_ref_dropped(self: Arc<Self>);
}

/// A table of values that are owned by their [`RefTableEntry`].
///
/// # Invariants
///
/// A slot is null or points to the [`Counted`] of an entry, which stays allocated until
/// an RCU grace period after it was removed from the slot.
pub struct RefTable<T> {
    slots: KVVec<AtomicPtr<Counted<T>>>,
}

/// A value and the number of its users.
///
/// # Invariants
///
/// `count` is initialised. Its initial reference is dropped by the first to set `retired`.
#[pin_data]
struct Counted<T> {
    value: T,
    retired: AtomicBool,
    /// Written by the first to set `retired`, then read by [`last_ref_dropped`].
    notify: UnsafeCell<Option<Arc<dyn LastRefDropped>>>,
    /// Completed when no reference is left.
    #[pin]
    unused: Completion,
    #[pin]
    count: Opaque<bindings::percpu_ref>,
}

/// Owns a value of a [`RefTable`].
///
/// # Invariants
///
/// `counted` is a `KBox` that this owns. Only slot `index` of `table` may point to it.
pub struct RefTableEntry<T> {
    table: Arc<RefTable<T>>,
    index: usize,
    counted: NonNull<Counted<T>>,
}

/// A reference to a value of a [`RefTable`].
///
/// # Invariants
///
/// Counted in `count`, so the value stays until drop.
pub struct TableRef<T>(NonNull<Counted<T>>);

// SAFETY: The table only points to values, which any task may look up and share.
unsafe impl<T: Send + Sync> Send for RefTable<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for RefTable<T> {}
// SAFETY: Owns a `T` that it shares with references on other tasks.
unsafe impl<T: Send + Sync> Send for RefTableEntry<T> {}
// SAFETY: As above; `retired` settles which task writes `notify`.
unsafe impl<T: Send + Sync> Sync for RefTableEntry<T> {}
// SAFETY: Shares a `T`, and the count may be dropped by any task.
unsafe impl<T: Send + Sync> Send for TableRef<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for TableRef<T> {}

impl<T: Send + Sync> RefTable<T> {
    /// Creates a table of `len` empty slots.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(len: usize) -> Result<Arc<Self>> {
        let mut slots = KVVec::with_capacity(len, GFP_KERNEL)?;

        for _ in 0..len {
            slots.push(AtomicPtr::new(ptr::null_mut()), GFP_KERNEL)?;
        }
        // INVARIANT: All slots are null.
        Ok(Arc::new(Self { slots }, GFP_KERNEL)?)
    }

    /// Looks up the value of slot `index`. From any context.
    #[inline]
    pub fn get(&self, index: usize) -> Option<TableRef<T>> {
        let slot = self.slots.get(index)?;
        let _section = rcu::read_lock();
        // Acquire: pairs with the release in `RefTableEntry::new`.
        let counted = NonNull::new(slot.load(Acquire))?;

        // SAFETY: By the type invariant the value stays allocated while the section lasts.
        let live = unsafe { bindings::percpu_ref_tryget_live_rcu((*counted.as_ptr()).count.get()) };

        // INVARIANT: Counted just now, if it is live.
        live.then(|| TableRef(counted))
    }
}

impl<T: Send + Sync> RefTableEntry<T> {
    /// Puts `value` in slot `index` of `table`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the slot is in use, `EINVAL` if it does not exist, `ENOMEM`.
    pub fn new(table: Arc<RefTable<T>>, index: usize, value: T) -> Result<Self> {
        let counted = KBox::pin_init(
            try_pin_init!(Counted {
                value,
                retired: AtomicBool::new(false),
                notify: UnsafeCell::new(None),
                unused <- Completion::new(),
                // Last, so that it is not left initialised by an error.
                count <- Opaque::try_ffi_init(|count: *mut bindings::percpu_ref| {
                    // SAFETY: `count` is valid for writes and stays in place; the function
                    // fits the count of a `Counted<T>`.
                    to_result(unsafe {
                        bindings::percpu_ref_init(
                            count,
                            Some(last_ref_dropped::<T>),
                            0,
                            bindings::GFP_KERNEL,
                        )
                    })
                }),
            }? Error),
            GFP_KERNEL,
        )?;
        // SAFETY: The value is not moved out before the count is no longer in use.
        let counted = KBox::into_raw(unsafe { Pin::into_inner_unchecked(counted) });
        // INVARIANT: Made from a `KBox`; published in no other slot than `index`.
        let entry = Self {
            table,
            index,
            // SAFETY: A `KBox` is not null.
            counted: unsafe { NonNull::new_unchecked(counted) },
        };

        // INVARIANT: The entry removes the pointer before it frees the value.
        entry
            .table
            .slots
            .get(index)
            .ok_or(EINVAL)?
            .compare_exchange(ptr::null_mut(), counted, Release, Relaxed)
            .map_err(|_| EBUSY)?;
        Ok(entry)
    }
}

impl<T> RefTableEntry<T> {
    /// Removes the value from the table: no look-up that starts after this finds it.
    pub fn unpublish(&self) {
        if let Some(slot) = self.table.slots.get(self.index) {
            // Fails if the value was removed before, or never stored.
            let _ = slot.compare_exchange(self.counted.as_ptr(), ptr::null_mut(), Relaxed, Relaxed);
        }
    }

    /// Removes the value from the table, and has `notify` called when the last reference is
    /// dropped, which takes an RCU grace period at least. Wraps `percpu_ref_kill`.
    ///
    /// Does nothing if the value was retired before. May sleep.
    pub fn retire(&self, notify: Arc<dyn LastRefDropped>) {
        self.kill(Some(notify));
    }

    fn kill(&self, notify: Option<Arc<dyn LastRefDropped>>) {
        let counted = self.counted();

        // Before the grace period of `percpu_ref_kill_and_confirm`, as look-ups that began
        // earlier may still use the pointer.
        self.unpublish();
        if counted.retired.swap(true, Relaxed) {
            return;
        }
        // SAFETY: By the type invariant of `Counted` the initial reference is dropped here
        // and nowhere else. Until then nothing else accesses `notify`.
        unsafe {
            *counted.notify.get() = notify;
            bindings::percpu_ref_kill_and_confirm(counted.count.get(), None);
        }
    }

    fn counted(&self) -> &Counted<T> {
        // SAFETY: Owned, by the type invariant.
        unsafe { self.counted.as_ref() }
    }
}

/// Called by the `percpu_ref` when no reference is left, in any context.
///
/// # Safety
///
/// `count` is the one of a [`Counted<T>`].
unsafe extern "C" fn last_ref_dropped<T>(count: *mut bindings::percpu_ref) {
    // SAFETY: By the safety requirements. The entry keeps the allocation until `unused` is
    // completed, which is the last access here. `notify` was written before the initial
    // reference was dropped, and nothing else accesses it any more.
    unsafe {
        let counted = container_of!(Opaque::cast_from(count), Counted<T>, count);

        if let Some(notify) = (*(*counted).notify.get()).take() {
            notify.last_ref_dropped();
        }
        (*counted).unused.complete_all();
    }
}

impl<T> Deref for RefTableEntry<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T> Drop for RefTableEntry<T> {
    fn drop(&mut self) {
        self.kill(None);
        self.counted().unused.wait();
        // SAFETY: The count has dropped to zero, so no reference is left. It did so after a
        // grace period that began with the value no longer in the table, so no look-up
        // uses the pointer. The allocation is owned by the type invariant.
        unsafe {
            bindings::percpu_ref_exit(self.counted().count.get());
            drop(KBox::from_raw(self.counted.as_ptr()));
        }
    }
}

impl<T> Deref for TableRef<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type invariant.
        unsafe { &(*self.0.as_ptr()).value }
    }
}

impl<T> Drop for TableRef<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Gives back the count of the type invariant.
        unsafe { bindings::percpu_ref_put((*self.0.as_ptr()).count.get()) };
    }
}
