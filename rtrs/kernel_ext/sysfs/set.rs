// SPDX-License-Identifier: GPL-2.0-only

//! Created files: their C attributes, and how these lead to Rust objects.

use core::ptr::NonNull;

use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        UniqueArc, //
    }, //
};

use crate::bindings;

use super::{
    entry,
    Buf,
    Files,
    StoreCtx, //
};

/// Callbacks of a set of files, with the type of their object erased.
pub(super) trait Callbacks: Send + Sync {
    /// Shows file number `index`.
    fn show(&self, index: usize, buf: &mut Buf<'_>) -> Result;

    /// Stores to file number `index`.
    fn store(&self, index: usize, input: &[u8], ctx: &StoreCtx<'_>) -> Result;
}

/// A declaration of files together with the object that they show.
struct Bound<T: 'static> {
    data: Arc<T>,
    files: &'static Files<T>,
}

impl<T: Send + Sync> Callbacks for Bound<T> {
    fn show(&self, index: usize, buf: &mut Buf<'_>) -> Result {
        let show = self.files.attrs.get(index).and_then(|attr| attr.show);

        show.ok_or(EIO)?(self.data.as_arc_borrow(), buf)
    }

    fn store(&self, index: usize, input: &[u8], ctx: &StoreCtx<'_>) -> Result {
        let store = self.files.attrs.get(index).and_then(|attr| attr.store);

        store.ok_or(EIO)?(self.data.as_arc_borrow(), input, ctx)
    }
}

/// An attribute of the type that the kind of its kobject requires.
#[repr(C)]
union RawAttr {
    attr: bindings::attribute,
    /// In a plain directory.
    kobj: bindings::kobj_attribute,
    /// In a device.
    dev: bindings::device_attribute,
}

/// One file. The attribute comes first, as the C side passes its address only.
#[repr(C)]
pub(super) struct Node {
    raw: RawAttr,
    set: *const FileSet,
    pub(super) index: usize,
}

/// The kind of kobject that a set of files is created in.
#[derive(Clone, Copy)]
pub(super) enum AttributeKind {
    Plain,
    Device,
}

/// The memory of files. The owner of the files holds one reference, and each running store
/// callback another, as it may outlive the files.
///
/// # Invariants
///
/// `nodes` does not change once the set is shared, and the `set` of each node
/// points to this set, within its `Arc`.
pub(super) struct FileSet {
    nodes: KVec<Node>,
    callbacks: KBox<dyn Callbacks>,
    owner: *mut bindings::module,
}

// SAFETY: The callbacks are `Send`, the pointers are only handed to C functions.
unsafe impl Send for FileSet {}
// SAFETY: The callbacks are `Sync`, and nodes are not changed.
unsafe impl Sync for FileSet {}

impl FileSet {
    /// Prepares the files of `data`, not yet created.
    pub(super) fn new<T: Send + Sync>(
        kind: AttributeKind,
        data: Arc<T>,
        files: &'static Files<T>,
    ) -> Result<Arc<Self>> {
        let mut nodes = KVec::with_capacity(files.attrs.len(), GFP_KERNEL)?;
        for (index, attr) in files.attrs.iter().enumerate() {
            let mode = match (attr.show, attr.store) {
                (Some(_), Some(_)) => 0o644,
                (_, None) => 0o444,
                (None, _) => 0o200,
            };
            #[cfg_attr(not(CONFIG_DEBUG_LOCK_ALLOC), expect(clippy::needless_update))]
            let raw = bindings::attribute {
                name: attr.name.as_char_ptr(),
                mode,
                #[cfg(CONFIG_DEBUG_LOCK_ALLOC)]
                key: attr.key.as_ptr(),
                ..Default::default()
            };
            nodes.push(Node::new(kind, raw, index), GFP_KERNEL)?;
        }

        let callbacks: KBox<dyn Callbacks> = KBox::new(Bound { data, files }, GFP_KERNEL)?;
        Self::bind(nodes, callbacks, files.owner.as_ptr())
    }

    /// Sets the pointer of each node to its set.
    fn bind(
        nodes: KVec<Node>,
        callbacks: KBox<dyn Callbacks>,
        owner: *mut bindings::module,
    ) -> Result<Arc<Self>> {
        let set = Self {
            nodes,
            callbacks,
            owner,
        };
        let mut set = UniqueArc::new(set, GFP_KERNEL)?;

        let this = UniqueArc::as_ptr(&set);
        for node in &mut set.nodes {
            // INVARIANT: Points to the set, at the address it keeps.
            node.set = this;
        }
        Ok(set.into())
    }

    /// Returns the callbacks of the files.
    pub(super) fn callbacks(&self) -> &dyn Callbacks {
        &*self.callbacks
    }

    /// Returns the module that has the callbacks.
    pub(super) fn owner(&self) -> *mut bindings::module {
        self.owner
    }

    /// Creates the files in `kobj`, and adds their number to `created`, in which those are counted
    /// that were created before an error.
    ///
    /// # Safety
    ///
    /// `kobj` is in sysfs and stays there, and this set allocated, until
    /// [`remove`](Self::remove) has returned. It is the kobject of a device
    /// exactly if the set was made as [`AttributeKind::Device`].
    pub(super) unsafe fn create(
        &self,
        kobj: NonNull<bindings::kobject>,
        created: &mut usize,
    ) -> Result {
        for node in &self.nodes {
            // SAFETY: The kobject is in sysfs; the attribute lives until removed.
            to_result(unsafe {
                bindings::sysfs_create_file_ns(kobj.as_ptr(), node.attr(), core::ptr::null())
            })?;
            *created += 1;
        }
        Ok(())
    }

    /// Removes the first `created` files and waits for their callbacks, except those that broke
    /// their active protection.
    ///
    /// # Safety
    ///
    /// These were created in `kobj`.
    pub(super) unsafe fn remove(&self, kobj: NonNull<bindings::kobject>, created: usize) {
        for node in self.nodes.iter().take(created) {
            // SAFETY: By the safety requirements.
            unsafe { node.remove(kobj) };
        }
    }
}

impl Node {
    fn new(kind: AttributeKind, attr: bindings::attribute, index: usize) -> Self {
        let raw = match kind {
            AttributeKind::Plain => RawAttr {
                #[cfg(before_7_3)]
                kobj: bindings::kobj_attribute {
                    attr,
                    show: Some(entry::kobj_show),
                    store: Some(entry::kobj_store),
                },
                #[cfg(not(before_7_3))]
                kobj: bindings::kobj_attribute {
                    attr,
                    __bindgen_anon_1: bindings::kobj_attribute__bindgen_ty_1 {
                        show: Some(entry::kobj_show),
                    },
                    __bindgen_anon_2: bindings::kobj_attribute__bindgen_ty_2 {
                        store: Some(entry::kobj_store),
                    },
                },
            },
            AttributeKind::Device => RawAttr {
                dev: bindings::device_attribute {
                    attr,
                    __bindgen_anon_1: bindings::device_attribute__bindgen_ty_1 {
                        show: Some(entry::dev_show),
                    },
                    __bindgen_anon_2: bindings::device_attribute__bindgen_ty_2 {
                        store: Some(entry::dev_store),
                    },
                },
            },
        };

        Self {
            raw,
            set: core::ptr::null(),
            index,
        }
    }

    /// Returns the set of this node.
    ///
    /// # Safety
    ///
    /// A reference of the set outlives the borrow.
    pub(super) unsafe fn set(&self) -> ArcBorrow<'_, FileSet> {
        // SAFETY: Points into an `Arc` by the type invariants of the set.
        unsafe { ArcBorrow::from_raw(self.set) }
    }

    /// Returns the attribute, with provenance over the whole node.
    pub(super) fn attr(&self) -> *const bindings::attribute {
        core::ptr::from_ref(self).cast()
    }

    /// # Safety
    ///
    /// The file was created in `kobj`.
    unsafe fn remove(&self, kobj: NonNull<bindings::kobject>) {
        // SAFETY: The kobject is still in sysfs, by the contract of `FileSet::create`.
        unsafe {
            bindings::sysfs_remove_file_ns(kobj.as_ptr(), self.attr(), core::ptr::null());
        }
    }
}
