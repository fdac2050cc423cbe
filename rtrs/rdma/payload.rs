// SPDX-License-Identifier: GPL-2.0-only

//! Data on its way: whose it is and who is told when the transfer is over.

use super::dma::DmaDir;
use super::sg::MappedSg;
use super::sg::SgTable;
use crate::kernel_ext::completion::Completion;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::AtomicI32;
use core::sync::atomic::Ordering::Acquire;
use core::sync::atomic::Ordering::Release;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::time::Delta;

/// An owned transfer, small enough to be a pointer.
///
/// # Safety
///
/// - The memory that [`Payload::fill`] puts into a table stays valid, and is not
///   touched by others, until [`Payload::done`] or [`Payload::later`] was called.
/// - `from_raw(into_raw(x))` is `x`.
pub unsafe trait Payload: Send + Sized + 'static {
    /// Gives up the value for a pointer.
    fn into_raw(self) -> NonNull<c_void>;

    /// Takes the value back.
    ///
    /// # Safety
    ///
    /// `ptr` came from `into_raw` and is used for this once.
    unsafe fn from_raw(ptr: NonNull<c_void>) -> Self;

    /// Writes the message that goes with the data to `out`; answers its length.
    ///
    /// Called each time that the transfer is tried, so the message may say
    /// something else than the last time, or be refused with an error.
    fn message(&self, out: &mut [u8]) -> Result<usize>;

    /// Fails if [`Payload::message`] is going to be refused, as far as that is known
    /// without making the message. Cheap; in any context, and under spin locks.
    fn check(&self) -> Result {
        Ok(())
    }

    /// Puts the segments of the data into `table`; answers their number.
    fn fill(&self, table: &mut SgTable) -> Result<usize>;

    /// The transfer is over. In any context, softirq included.
    fn done(self, result: Result);

    /// The transfer did not begin, for lack of room in a device. To be called where it
    /// was submitted; the owner may submit it again in a while.
    fn later(self) {
        self.done(Err(ENOMEM));
    }
}

struct VTable {
    message: unsafe fn(NonNull<c_void>, &mut [u8]) -> Result<usize>,
    check: unsafe fn(NonNull<c_void>) -> Result,
    fill: unsafe fn(NonNull<c_void>, &mut SgTable) -> Result<usize>,
    done: unsafe fn(NonNull<c_void>, Result),
    later: unsafe fn(NonNull<c_void>),
}

/// An [`Payload`] of any type, without an allocation. When it is dropped before it
/// is done, it is done with `EIO`.
///
/// # Invariants
///
/// `ptr` came from `into_raw` of the type that `vtable` is for.
pub struct PayloadBox {
    ptr: NonNull<c_void>,
    vtable: &'static VTable,
}

// SAFETY: Every `Payload` is `Send`.
unsafe impl Send for PayloadBox {}
// SAFETY: Nothing but `fill`, `check` and `message` goes through a shared reference, and only
// the operation that has the data for itself calls them.
unsafe impl Sync for PayloadBox {}

struct VTableOf<T>(core::marker::PhantomData<T>);

impl<T: Payload> VTableOf<T> {
    const VTABLE: VTable = VTable {
        message: |ptr, out| {
            // SAFETY: `ptr` is of type `T`; the value is borrowed, not taken.
            let io = ManuallyDrop::new(unsafe { T::from_raw(ptr) });
            io.message(out)
        },
        check: |ptr| {
            // SAFETY: `ptr` is of type `T`; the value is borrowed, not taken.
            let io = ManuallyDrop::new(unsafe { T::from_raw(ptr) });
            io.check()
        },
        fill: |ptr, table| {
            // SAFETY: `ptr` is of type `T`; the value is borrowed, not taken.
            let io = ManuallyDrop::new(unsafe { T::from_raw(ptr) });
            io.fill(table)
        },
        done: |ptr, result| {
            // SAFETY: `ptr` is of type `T`, and the box is consumed with this.
            unsafe { T::from_raw(ptr) }.done(result)
        },
        later: |ptr| {
            // SAFETY: `ptr` is of type `T`, and the box is consumed with this.
            unsafe { T::from_raw(ptr) }.later()
        },
    };
}

impl PayloadBox {
    /// Hides the type.
    pub fn new<T: Payload>(io: T) -> Self {
        // INVARIANT: Pointer and table are of the same type.
        Self {
            ptr: io.into_raw(),
            vtable: &VTableOf::<T>::VTABLE,
        }
    }

    /// See [`Payload::message`].
    pub fn message(&self, out: &mut [u8]) -> Result<usize> {
        // SAFETY: By the type invariant.
        unsafe { (self.vtable.message)(self.ptr, out) }
    }

    /// See [`Payload::check`].
    pub fn check(&self) -> Result {
        // SAFETY: By the type invariant.
        unsafe { (self.vtable.check)(self.ptr) }
    }

    /// Makes the device see the data, by way of `table`, which comes back on failure.
    ///
    /// The mapping is to be taken back before the transfer is [done](Self::done).
    pub fn map(
        &self,
        mut table: SgTable,
        dir: DmaDir,
    ) -> core::result::Result<MappedSg, (SgTable, Error)> {
        // SAFETY: By the type invariant.
        match unsafe { (self.vtable.fill)(self.ptr, &mut table) } {
            // SAFETY: Just filled. By the contract of `Payload` the memory stays until `done`.
            Ok(entries) => unsafe { MappedSg::new(table, entries, dir) },
            Err(e) => Err((table, e)),
        }
    }

    /// See [`Payload::done`].
    pub fn done(self, result: Result) {
        let this = ManuallyDrop::new(self);
        // SAFETY: By the type invariant, and `this` is not used again.
        unsafe { (this.vtable.done)(this.ptr, result) }
    }

    /// See [`Payload::later`].
    pub fn later(self) {
        let this = ManuallyDrop::new(self);
        // SAFETY: By the type invariant, and `this` is not used again.
        unsafe { (this.vtable.later)(this.ptr) }
    }
}

impl Drop for PayloadBox {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; this is the last use.
        unsafe { (self.vtable.done)(self.ptr, Err(EIO)) }
    }
}

/// A transfer of plain memory that somebody waits for.
#[pin_data]
pub struct LinearPayload {
    message: KVec<u8>,
    memory: UnsafeCell<KVec<u8>>,
    len: u32,
    /// It was given to the transport, which happens once.
    launched: AtomicBool,
    /// 0 or a negative errno, once `over` is complete.
    errno: AtomicI32,
    #[pin]
    over: Completion,
}

// SAFETY: The memory is only touched by who makes it, then by the device until
// `over` is complete, and by the waiter after that.
unsafe impl Send for LinearPayload {}
// SAFETY: As above.
unsafe impl Sync for LinearPayload {}

impl LinearPayload {
    /// A message, and a buffer of `len` zeroes for the peer to write to; may be
    /// empty.
    pub fn new(message: &[u8], len: u32) -> Result<Arc<Self>> {
        let mut copy = KVec::new();
        copy.extend_from_slice(message, GFP_KERNEL)?;
        let mut memory = KVec::new();
        memory.resize(len as usize, 0, GFP_KERNEL)?;
        Arc::pin_init(
            try_pin_init!(Self {
                message: copy,
                memory: UnsafeCell::new(memory),
                len,
                launched: AtomicBool::new(false),
                errno: AtomicI32::new(0),
                over <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// For the transport. `None` if it has it, or had it, already.
    pub fn launch(this: &Arc<Self>) -> Option<PayloadBox> {
        let first = !this.launched.swap(true, Acquire);
        first.then(|| PayloadBox::new(LinearPayloadRef(this.clone())))
    }

    /// Waits until the transfer is over.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` after `limit`, `ERESTARTSYS` when the task was killed.
    pub fn wait_over(&self, limit: Delta) -> Result {
        match self.over.wait_killable_timeout(limit)? {
            true => Ok(()),
            false => Err(ETIMEDOUT),
        }
    }

    /// Copies what arrived to `dst`.
    ///
    /// # Errors
    ///
    /// `EBUSY` when the transfer is not over, else what it ended with.
    pub fn take(&self, dst: &mut [u8]) -> Result {
        if !self.over.is_done() {
            return Err(EBUSY);
        }
        match self.errno.load(Acquire) {
            0 => {}
            errno => return Err(Error::from_errno(errno)),
        }
        // SAFETY: The transfer is over, and there is no second one, so only waiters read
        // the memory.
        let memory = unsafe { &*self.memory.get() };
        let src = memory.get(..dst.len()).ok_or(EINVAL)?;
        dst.copy_from_slice(src);
        Ok(())
    }
}

/// The one reference to a [`LinearPayload`] that the transport gets.
struct LinearPayloadRef(Arc<LinearPayload>);

// SAFETY: The memory belongs to the `LinearPayload`, which this keeps alive, and
// nobody touches it before `done`.
unsafe impl Payload for LinearPayloadRef {
    fn into_raw(self) -> NonNull<c_void> {
        // SAFETY: References are not null.
        unsafe { NonNull::new_unchecked(Arc::into_raw(self.0).cast_mut().cast()) }
    }

    unsafe fn from_raw(ptr: NonNull<c_void>) -> Self {
        // SAFETY: As the caller promises.
        Self(unsafe { Arc::from_raw(ptr.as_ptr().cast_const().cast()) })
    }

    fn message(&self, out: &mut [u8]) -> Result<usize> {
        let message = &self.0.message;
        out.get_mut(..message.len())
            .ok_or(EMSGSIZE)?
            .copy_from_slice(message);
        Ok(message.len())
    }

    fn fill(&self, table: &mut SgTable) -> Result<usize> {
        if self.0.len == 0 {
            return Ok(0);
        }
        // SAFETY: kmalloc memory of `len` bytes, valid until `done`.
        unsafe { table.set_linear((*self.0.memory.get()).as_mut_ptr(), self.0.len) };
        Ok(1)
    }

    fn done(self, result: Result) {
        let errno = result.err().map_or(0, Error::to_errno);
        self.0.errno.store(errno, Release);
        self.0.over.complete_all();
    }
}
