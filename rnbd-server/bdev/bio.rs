// SPDX-License-Identifier: GPL-2.0-only

//! Bios, each allocated together with its owner.
//!
//! C header: [`include/linux/bio.h`](srctree/include/linux/bio.h)

use core::{
    marker::PhantomData,
    mem::{
        offset_of,
        MaybeUninit, //
    },
    ptr, //
};

use kernel::{
    container_of,
    error::to_result,
    ffi::c_int,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

use rtrs::{
    bindings,
    kernel_ext::pages::Pages, //
};

use super::{
    BlockDevice,
    Opf,
    PostFlush, //
};

/// The owner of a bio: owns, or keeps alive, everything that the bio points to.
pub(crate) trait BioOwner: Send + Sized + 'static {
    /// The bio set that the bio is allocated from; always the same one.
    fn bio_set(&self) -> &BioSet<Self>;

    /// The device that the bio is submitted to.
    fn device(&self) -> &BlockDevice;

    /// The memory of the data, which begins at the start of the pages; `None` if there is none.
    fn pages(&self) -> Option<&Pages>;

    /// Called when the bio was allocated and is about to be submitted.
    fn submitting(&mut self);

    /// Called when the bio has completed without an error, and again after each flush: whether
    /// the cache of the device must be flushed before [`Self::complete`]. Any context, hard
    /// interrupts included.
    fn must_flush(&mut self) -> bool;

    /// Where a bio waits to be submitted as that flush.
    fn post_flush(&self) -> &Arc<PostFlush<Self>>;

    /// Called when the bio has completed. Any context, hard interrupts included.
    fn complete(self, result: Result);
}

/// Most bytes of zeroes that a bio can write: a page for each of the most vectors.
pub(crate) const MAX_ZEROES: u32 = 256 * PAGE;

/// Bytes of a page.
// CAST: A small constant.
const PAGE: u32 = kernel::page::PAGE_SIZE as u32;

const _: () = assert!(MAX_ZEROES / PAGE == bindings::BIO_MAX_VECS);

/// The data of a bio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BioData {
    /// The pages of the owner, if the operation has data.
    Pages,
    /// Zeroes, at most [`MAX_ZEROES`].
    Zeroes,
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
    /// The data.
    pub(crate) data: BioData,
}

impl BioCommand {
    /// Number of vectors that the bio needs.
    fn vectors(&self) -> u16 {
        let pages = match self.data {
            BioData::Pages => u32::from(self.opf.has_data() && self.len > 0),
            BioData::Zeroes => self.len.div_ceil(PAGE),
        };
        u16::try_from(pages).unwrap_or(u16::MAX)
    }
}

/// An allocation of a [`BioSet`]: the owner lies in the front pad of its bio.
///
/// # Invariants
///
/// While the block layer has the bio, the owner is initialised and neither changed nor
/// moved.
#[repr(C)]
struct OwnedBio<T> {
    owner: MaybeUninit<T>,
    /// Must be last, see `bioset_init`.
    bio: Opaque<bindings::bio>,
}

impl<T> OwnedBio<T> {
    /// Bytes in front of the bio.
    const FRONT_PAD: u32 = {
        let front_pad = offset_of!(Self, bio);

        // The slab of a bio set has the alignment of `kmalloc`, which is at least that of
        // 64-bit integers.
        assert!(align_of::<Self>() <= align_of::<u64>());
        assert!(size_of::<Self>() == front_pad + size_of::<bindings::bio>());
        assert!(front_pad <= u32::MAX as usize);
        // CAST: Lossless, as asserted above.
        front_pad as u32
    };
}

/// A set that bios with owners of type `T` are allocated from, with a small reserve:
/// `struct bio_set` of C.
///
/// Each device has a set of its own: bios of one device may wait for those of another that
/// it is stacked on, so they must not share a reserve.
///
/// # Invariants
///
/// `set` is initialised, with [`OwnedBio::FRONT_PAD`].
pub(crate) struct BioSet<T> {
    set: Pin<KBox<Opaque<bindings::bio_set>>>,
    _owner: PhantomData<fn(T)>,
}

// SAFETY: A bio set may be used and freed by any task.
unsafe impl<T> Send for BioSet<T> {}
// SAFETY: A bio set does its own locking.
unsafe impl<T> Sync for BioSet<T> {}

impl<T: BioOwner> BioSet<T> {
    /// Creates a bio set; wraps `bioset_init`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let flags = bindings::BIOSET_NEED_BVECS | bindings::BIOSET_PERCPU_CACHE;
        let set = KBox::pin_init(
            Opaque::try_ffi_init(|set: *mut bindings::bio_set| {
                // SAFETY: `set` is valid for writes and stays in place. C expects it
                // zeroed.
                to_result(unsafe {
                    set.write_bytes(0, 1);
                    bindings::bioset_init(
                        set,
                        bindings::BIO_POOL_SIZE,
                        OwnedBio::<T>::FRONT_PAD,
                        // CAST: Small constants.
                        flags as c_int,
                    )
                })
            }),
            GFP_KERNEL,
        )?;

        // INVARIANT: Initialised above.
        Ok(Self {
            set,
            _owner: PhantomData,
        })
    }
}

impl<T> Drop for BioSet<T> {
    fn drop(&mut self) {
        // SAFETY: Initialised by the type invariant. No bio is left: the owner of each bio
        // in flight keeps the set alive, and the bio is freed before its owner.
        unsafe { bindings::bioset_exit(self.set.get()) };
    }
}

/// Submits a bio for `owner`. [`BioOwner::complete`] is called when the bio has completed,
/// which may be before this returns. May sleep, unless `command` has
/// [`OpFlag::NOWAIT`](super::OpFlag::NOWAIT).
///
/// Wraps `bio_alloc_bioset`, which does not fail with `GFP_NOIO`: without memory it waits
/// for a bio of the set's reserve to complete, which a device that hangs does not.
///
/// # Errors
///
/// With the owner: `EAGAIN` if there is no memory for a bio with `NOWAIT`; `EINVAL` if the pages
/// are shorter than the data; `EOPNOTSUPP` for more than [`MAX_ZEROES`].
pub(crate) fn submit<T: BioOwner>(owner: T, command: &BioCommand) -> Result<(), (T, Error)> {
    let zeroes = command.data == BioData::Zeroes;
    if zeroes && command.len > MAX_ZEROES {
        return Err((owner, EOPNOTSUPP));
    }
    let has_data = !zeroes && command.opf.has_data() && command.len > 0;
    let set = owner.bio_set().set.get();
    let device = owner.device().as_raw();
    let gfp = match command.opf.is_nowait() {
        true => bindings::GFP_NOWAIT,
        false => bindings::GFP_NOIO,
    };
    // SAFETY: The set is initialised by its type invariant, with vectors, and the device is
    // open; the owner keeps both.
    let bio = unsafe {
        bindings::bio_alloc_bioset(device, command.vectors(), command.opf.as_raw(), gfp, set)
    };
    if bio.is_null() {
        return Err((owner, EAGAIN));
    }
    // SAFETY: The front pad of a `BioSet<T>` makes its bios part of an `OwnedBio<T>`, which
    // is only used here until the bio is submitted.
    let slot =
        unsafe { &mut (*container_of!(Opaque::cast_from(bio), OwnedBio<T>, bio).cast_mut()).owner };
    // INVARIANT: The owner stays in place until `end_io` moves it out.
    let owner = slot.write(owner);

    owner.submitting();
    // Borrowed where the owner lies now, the references stay valid until it is moved.
    let owner: &T = owner;
    let pages = owner.pages();
    let same = ptr::eq(owner.bio_set().set.get(), set) && ptr::eq(owner.device().as_raw(), device);

    // CAST: Lossless where Linux runs.
    if !same || (has_data && command.len as usize > pages.map_or(0, Pages::len)) {
        // SAFETY: The owner was written above and is moved out once, before its memory is
        // freed with the bio, which was not submitted.
        return unsafe {
            let owner = slot.assume_init_read();

            bindings::bio_put(bio);
            Err((owner, EINVAL))
        };
    }

    // SAFETY: The bio was allocated above, with vectors for the data. What it points to is
    // borrowed from the owner, which stays in place until `end_io`, or is the page of zeroes.
    unsafe {
        if let (true, Some(pages)) = (has_data, pages) {
            bindings::bio_add_virt_nofail(bio, pages.as_ptr().cast(), command.len);
        } else if zeroes {
            add_zeroes(bio, command.len);
        } else {
            (*bio).bi_iter.bi_size = command.len;
        }
        (*bio).bi_iter.bi_sector = command.sector;
        (*bio).bi_ioprio = command.prio;
        (*bio).bi_end_io = Some(end_io::<T>);
        bindings::submit_bio(bio);
    }
    Ok(())
}

/// Adds `len` bytes of zeroes to `bio`.
///
/// # Safety
///
/// `bio` is new, with a vector for each page.
unsafe fn add_zeroes(bio: *mut bindings::bio, len: u32) {
    let mut left = len;

    while left > 0 {
        let part = left.min(PAGE);
        // SAFETY: By the safety requirements; the page of zeroes exists for ever, and a bio
        // that writes only reads it.
        unsafe { bindings::__bio_add_page(bio, bindings::ZERO_PAGE(0), part, 0) };
        left = left.wrapping_sub(part);
    }
}

/// Submits a bio that has completed once more, as a flush of the cache of its device. May
/// sleep.
///
/// # Safety
///
/// The bio was submitted by [`submit`] with an owner of type `T`, has completed, and still has
/// its owner. It is handed over.
pub(super) unsafe fn submit_flush<T: BioOwner>(bio: *mut bindings::bio) {
    // SAFETY: The bio is part of an `OwnedBio<T>`, whose owner is initialised by its type
    // invariant. The owner keeps the device open. The reset keeps the bio's set and count of
    // references, and drops the state of the earlier operation.
    unsafe {
        let owned = container_of!(Opaque::cast_from(bio), OwnedBio<T>, bio);
        let device = (*owned).owner.assume_init_ref().device().as_raw();

        bindings::bio_reset(bio, device, Opf::FLUSH.as_raw());
        (*bio).bi_end_io = Some(end_io::<T>);
        bindings::submit_bio(bio);
    }
}

/// Frees a completed bio and tells its owner, or has the cache flushed before.
///
/// # Safety
///
/// The bio was submitted by [`submit`] with an owner of type `T`, and has completed.
unsafe extern "C" fn end_io<T: BioOwner>(bio: *mut bindings::bio) {
    // SAFETY: By the safety requirements the bio is part of an `OwnedBio<T>`.
    let owned = unsafe { container_of!(Opaque::cast_from(bio), OwnedBio<T>, bio).cast_mut() };
    // SAFETY: The bio is valid until it is put.
    let result = to_result(unsafe { bindings::blk_status_to_errno((*bio).bi_status) });

    if result.is_ok() {
        // SAFETY: The owner is initialised by the type invariant; the block layer has given
        // the bio back, so nothing else refers to it.
        let owner = unsafe { (*owned).owner.assume_init_mut() };

        if owner.must_flush() {
            let post_flush = owner.post_flush().clone();

            // SAFETY: The bio has completed and has its owner, and is not used after this.
            return unsafe { post_flush.queue(bio) };
        }
    }

    // SAFETY: Initialised by the type invariant; moved out once, before its memory is freed
    // with the bio.
    let owner = unsafe { (*owned).owner.assume_init_read() };

    // The owner keeps the bio set alive, so the bio goes first.
    //
    // SAFETY: This is the only reference to the bio.
    unsafe { bindings::bio_put(bio) };
    owner.complete(result);
}
