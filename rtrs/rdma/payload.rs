// SPDX-License-Identifier: GPL-2.0-only

//! The data of a transfer: its owner, and the function called when the transfer ends.

use core::{
    cell::UnsafeCell,
    ffi::c_void,
    mem::ManuallyDrop,
    ptr::NonNull,
    sync::atomic::{
        AtomicBool,
        AtomicI32,
        Ordering::{
            Acquire,
            Release, //
        }, //
    }, //
};

use kernel::{
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use crate::kernel_ext::completion::Completion;

use super::{
    dma::DmaDir,
    sg::{
        MappedSg,
        SgTable, //
    }, //
};

/// An owned transfer that can be converted to a pointer.
///
/// # Safety
///
/// - The memory that [`Payload::fill`] puts into a table, which is that of [`Payload::copy_in`],
///   stays valid, and no other code accesses it, until [`Payload::done`] or [`Payload::later`] is
///   called.
/// - `from_raw(into_raw(x))` is `x`.
pub unsafe trait Payload: Send + Sync + Sized + 'static {
    /// Converts the value to a pointer.
    fn into_raw(self) -> NonNull<c_void>;

    /// Converts a pointer back to the value.
    ///
    /// # Safety
    ///
    /// `ptr` came from `into_raw` and is passed here once.
    unsafe fn from_raw(ptr: NonNull<c_void>) -> Self;

    /// Writes the message that goes with the data to `out`; returns its length.
    ///
    /// Called for each attempt of the transfer: the message may differ from that of the last
    /// attempt, or be refused with an error; with `EAGAIN` if the transfer can begin later.
    fn message(&self, out: &mut [u8]) -> Result<usize>;

    /// Fails if [`Payload::message`] is going to be refused, as far as that is known
    /// without making the message. Cheap; in any context, and under spin locks.
    fn check(&self) -> Result {
        Ok(())
    }

    /// Puts the segments of the data into `table`; returns their number.
    fn fill(&self, table: &mut SgTable) -> Result<usize>;

    /// Copies `data`, all of what the peer sent, to the memory of the transfer, in place of a device.
    /// At most one call at a time, and none while the memory is mapped. In any context.
    ///
    /// # Errors
    ///
    /// Any if the memory is of another length, or not to be written.
    fn copy_in(&self, data: &[u8]) -> Result;

    /// Called when the transfer has ended. In any context, softirq included.
    fn done(self, result: Result);

    /// Called when the transfer could not begin as a device has no free resources, or as
    /// [`Payload::message`] holds it back. Runs in the context of the submission; the owner may
    /// submit the transfer again after a while.
    fn later(self) {
        self.done(Err(ENOMEM));
    }
}

struct VTable {
    message: unsafe fn(NonNull<c_void>, &mut [u8]) -> Result<usize>,
    check: unsafe fn(NonNull<c_void>) -> Result,
    fill: unsafe fn(NonNull<c_void>, &mut SgTable) -> Result<usize>,
    copy_in: unsafe fn(NonNull<c_void>, &[u8]) -> Result,
    done: unsafe fn(NonNull<c_void>, Result),
    later: unsafe fn(NonNull<c_void>),
}

/// A [`Payload`] of any type, without an allocation. If it is dropped before it is done, it
/// is done with `EIO`.
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
// SAFETY: Every `Payload` is `Sync`, and its functions that take it by value consume the box.
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
        copy_in: |ptr, data| {
            // SAFETY: `ptr` is of type `T`; the value is borrowed, not taken.
            let io = ManuallyDrop::new(unsafe { T::from_raw(ptr) });
            io.copy_in(data)
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
    /// Erases the type.
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

    /// Maps the data for the device with `table`, which is returned with the error on failure.
    ///
    /// The caller unmaps it before the transfer is [done](Self::done).
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

    /// See [`Payload::copy_in`].
    pub(crate) fn copy_in(&self, data: &[u8]) -> Result {
        // SAFETY: By the type invariant.
        unsafe { (self.vtable.copy_in)(self.ptr, data) }
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

/// A transfer of linear memory that a task waits for.
#[pin_data]
pub(crate) struct LinearPayload {
    message: KVec<u8>,
    memory: UnsafeCell<KVec<u8>>,
    len: u32,
    /// Whether it was passed to the transport, which happens once.
    launched: AtomicBool,
    /// 0 or a negative errno, once `over` is completed.
    errno: AtomicI32,
    #[pin]
    over: Completion,
}

// SAFETY: The memory is only accessed by the constructor, then by the device, or the transport in
// its place, until `over` is completed, and by waiters after that.
unsafe impl Send for LinearPayload {}
// SAFETY: As above.
unsafe impl Sync for LinearPayload {}

impl LinearPayload {
    /// Creates a transfer of `message`, with a buffer of `len` zeroes (or none) that the peer
    /// writes to.
    pub(crate) fn new(message: &[u8], len: u32) -> Result<Arc<Self>> {
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

    /// Returns the transfer for the transport, once. `None` after that.
    pub(crate) fn launch(this: &Arc<Self>) -> Option<PayloadBox> {
        let first = !this.launched.swap(true, Acquire);
        first.then(|| PayloadBox::new(LinearPayloadRef(this.clone())))
    }

    /// Waits until the transfer has ended.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` after `limit`, `ERESTARTSYS` when the task was killed.
    pub(crate) fn wait_over(&self, limit: Delta) -> Result {
        match self.over.wait_killable_timeout(limit)? {
            true => Ok(()),
            false => Err(ETIMEDOUT),
        }
    }

    /// Copies received data to `dst`.
    ///
    /// # Errors
    ///
    /// `EBUSY` when the transfer has not ended, otherwise its own error.
    pub(crate) fn take(&self, dst: &mut [u8]) -> Result {
        if !self.over.is_done() {
            return Err(EBUSY);
        }
        match self.errno.load(Acquire) {
            0 => {}
            errno => return Err(Error::from_errno(errno)),
        }
        // SAFETY: The transfer has ended, and there is no second one, so the memory is only
        // read.
        let memory = unsafe { &*self.memory.get() };
        let src = memory.get(..dst.len()).ok_or(EINVAL)?;
        dst.copy_from_slice(src);
        Ok(())
    }
}

/// The reference to a [`LinearPayload`] that the transport owns.
struct LinearPayloadRef(Arc<LinearPayload>);

// SAFETY: The memory belongs to the `LinearPayload`, which this keeps alive, and no code
// accesses it before `done`.
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

    fn copy_in(&self, data: &[u8]) -> Result {
        // SAFETY: Before `done` nothing but the transport accesses the memory, which does it once
        // at a time.
        let memory = unsafe { &mut *self.0.memory.get() };
        if memory.len() != data.len() {
            return Err(EIO);
        }
        memory.copy_from_slice(data);
        Ok(())
    }

    fn done(self, result: Result) {
        let errno = result.err().map_or(0, Error::to_errno);
        self.0.errno.store(errno, Release);
        self.0.over.complete_all();
    }
}
