// SPDX-License-Identifier: GPL-2.0-only

//! Preallocated bios.
//!
//! C header: [`include/linux/bio.h`](srctree/include/linux/bio.h)

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr;
use core::ptr::NonNull;
use core::sync::atomic::AtomicUsize;

use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::time::delay::fsleep;
use kernel::time::Delta;
use kernel::types::Opaque;
use rnbd_proto::bitmap;
use rnbd_proto::bitmap::IdMap;
use rnbd_proto::limits::BufId;
use rnbd_proto::limits::QueueDepth;
use rtrs::kernel_ext::cpu;
use rtrs::kernel_ext::pages::Pages;

use super::BlockDevice;
use super::Opf;

/// The owner of a bio: owns, or keeps alive, everything that the bio points to.
pub(crate) trait BioOwner: Send + Sized + 'static {
    /// The device that the bio is submitted to.
    fn device(&self) -> &BlockDevice;

    /// The memory of the data, which begins at the start of the pages.
    fn pages(&self) -> &Pages;

    /// Called when the bio has completed. Any context, hard interrupts included.
    fn complete(self, result: Result);
}

/// The operation and range of a bio.
pub(crate) struct BioCommand {
    /// Operation and flags.
    pub(crate) opf: Opf,
    /// First sector.
    pub(crate) sector: u64,
    /// Bytes of the range, and of the data if the operation has data.
    pub(crate) len: u32,
    /// I/O priority.
    pub(crate) prio: u16,
}

/// The map of slots in use.
type FreeMap = IdMap<KVec<AtomicUsize>>;

/// A bio with room for one segment, which is enough: the pages of an [`BioOwner`] are
/// contiguous.
///
/// # Invariants
///
/// While the slot is taken, only who took it, and then the block layer, use its
/// fields. While the block layer has the bio, `io` is initialised.
#[repr(align(64))]
struct Slot<T> {
    bio: Opaque<bindings::bio>,
    segment: Opaque<bindings::bio_vec>,
    io: UnsafeCell<MaybeUninit<T>>,
    /// Where the slot is to be given back, as what. Set while taken.
    home: UnsafeCell<Option<(NonNull<FreeMap>, BufId)>>,
}

/// Bios for a number of [`BioOwner`]s at once.
///
/// Drop waits for those in flight.
pub(crate) struct BioPool<T: BioOwner> {
    slots: KVVec<Slot<T>>,
    /// In a place of its own, as slots in flight refer to it.
    taken: KBox<FreeMap>,
    depth: QueueDepth,
}

// SAFETY: A slot is used by its owner only, who may be any task; `T` is `Send`.
unsafe impl<T: BioOwner> Send for BioPool<T> {}
// SAFETY: As above; whose a slot is, is settled by atomics.
unsafe impl<T: BioOwner> Sync for BioPool<T> {}

impl<T: BioOwner> BioPool<T> {
    /// A pool of `depth` bios.
    pub(crate) fn new(depth: QueueDepth) -> Result<Self> {
        let count = usize::from(depth.get());
        let mut slots = KVVec::with_capacity(count, GFP_KERNEL)?;
        let mut words = KVec::with_capacity(bitmap::words(depth), GFP_KERNEL)?;

        for _ in 0..count {
            slots.push(
                Slot {
                    bio: Opaque::uninit(),
                    segment: Opaque::uninit(),
                    io: UnsafeCell::new(MaybeUninit::uninit()),
                    home: UnsafeCell::new(None),
                },
                GFP_KERNEL,
            )?;
        }
        for _ in 0..bitmap::words(depth) {
            words.push(AtomicUsize::new(0), GFP_KERNEL)?;
        }
        Ok(Self {
            slots,
            taken: KBox::new(IdMap::new(depth, words).ok_or(EINVAL)?, GFP_KERNEL)?,
            depth,
        })
    }

    /// Submits a bio for `io`; [`BioOwner::complete`] is called when it is finished, perhaps
    /// before this returns. May sleep.
    ///
    /// # Errors
    ///
    /// `io` is given back with
    ///
    /// - `EBUSY` if all bios are in flight;
    /// - `EINVAL` if there is more data than pages.
    pub(crate) fn submit(&self, io: T, command: &BioCommand) -> Result<(), (T, Error)> {
        // CAST: Lossless where Linux runs.
        let Some(id) = self.taken.take(cpu::current() as usize) else {
            return Err((io, EBUSY));
        };
        let Some(slot) = self.slots.get(id.index()) else {
            self.taken.put(id);
            return Err((io, EINVAL));
        };
        let bio = slot.bio.get();
        let has_data = command.opf.has_data() && command.len > 0;

        // SAFETY: The slot was taken, so nobody else uses its fields, and its memory
        // stays allocated where it is until the slot is given back, as does the map: the
        // vector never grows, and the drop of the pool waits. What the bio points to is borrowed from
        // `io` where it lies in the slot, and it lies there until `end_io`.
        unsafe {
            let io = (*slot.io.get()).write(io);
            let pages = io.pages();

            // CAST: Lossless where Linux runs.
            if has_data && command.len as usize > pages.len() {
                let io = (*slot.io.get()).assume_init_read();

                self.taken.put(id);
                return Err((io, EINVAL));
            }
            *slot.home.get() = Some((NonNull::from(&*self.taken), id));
            bindings::bio_init(
                bio,
                io.device().as_raw(),
                slot.segment.get(),
                1,
                command.opf.as_raw(),
            );
            if has_data {
                bindings::bio_add_virt_nofail(bio, pages.as_ptr().cast(), command.len);
            } else {
                (*bio).bi_iter.bi_size = command.len;
            }
            (*bio).bi_iter.bi_sector = command.sector;
            (*bio).bi_ioprio = command.prio;
            (*bio).bi_private = ptr::from_ref(slot).cast_mut().cast();
            (*bio).bi_end_io = Some(Self::end_io);
            // INVARIANT: `io` was written above, and the slot is the block layer's now.
            bindings::submit_bio(bio);
        }
        Ok(())
    }

    /// Takes a bio back from the block layer.
    ///
    /// # Safety
    ///
    /// The bio was submitted by [`Self::submit`] and is finished.
    unsafe extern "C" fn end_io(bio: *mut bindings::bio) {
        // SAFETY: `submit` has set this up, and the slot is valid as it is still taken.
        let slot = unsafe { &*(*bio).bi_private.cast::<Slot<T>>() };
        // SAFETY: The bio is finished, so its status is set; nobody uses it any more, so
        // what the block layer has attached to it can be let go.
        let result = unsafe {
            let status = (*bio).bi_status;

            bindings::bio_uninit(bio);
            to_result(bindings::blk_status_to_errno(status))
        };
        // SAFETY: By the type invariant `io` is initialised and ours alone. It is moved
        // out here, and not used from the slot again.
        let io = unsafe { (*slot.io.get()).assume_init_read() };
        // A slot is free before its I/O is answered, so a peer that waits for answers
        // never finds the pool empty.
        //
        // SAFETY: The slot is still taken, and the pool is there until it is not. This is
        // the last access to both.
        unsafe {
            if let Some((taken, id)) = *slot.home.get() {
                taken.as_ref().put(id);
            }
        }
        io.complete(result);
    }
}

impl<T: BioOwner> Drop for BioPool<T> {
    fn drop(&mut self) {
        // Owners wait for their I/O before they come here, so this hardly ever loops. It
        // is here as memory that the block layer uses must not go in any case.
        while self.depth.buffers().any(|id| self.taken.is_taken(id)) {
            fsleep(Delta::from_millis(1));
        }
    }
}
