// SPDX-License-Identifier: GPL-2.0-only

//! The functions that sysfs calls: from C attributes to the callbacks of their set.

use core::cell::OnceCell;

use kernel::{
    ffi::c_char,
    page::PAGE_SIZE,
    sync::Arc, //
};

use crate::bindings;

use super::{
    set::{
        FileSet,
        Node, //
    },
    Buf,
    StoreCtx, //
};

/// Shows a file in a plain directory.
///
/// # Safety
///
/// To be called by sysfs, for a node of a set of that kind.
pub(super) unsafe extern "C" fn kobj_show(
    _kobj: *mut bindings::kobject,
    attr: *mut bindings::kobj_attribute,
    buf: *mut c_char,
) -> isize {
    // SAFETY: By the safety requirements; sysfs passes one zeroed page.
    unsafe { show(attr.cast(), buf.cast()) }
}

/// Shows a file in a device.
///
/// # Safety
///
/// To be called by sysfs, for a node of a set of that kind.
pub(super) unsafe extern "C" fn dev_show(
    _dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    buf: *mut c_char,
) -> isize {
    // SAFETY: As in `kobj_show`.
    unsafe { show(attr.cast(), buf.cast()) }
}

/// Stores to a file in a plain directory.
///
/// # Safety
///
/// To be called by sysfs, for a node of a set of that kind.
pub(super) unsafe extern "C" fn kobj_store(
    kobj: *mut bindings::kobject,
    attr: *mut bindings::kobj_attribute,
    buf: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: By the safety requirements; sysfs passes `count` bytes.
    unsafe { store(kobj, attr.cast(), buf.cast(), count) }
}

/// Stores to a file in a device.
///
/// # Safety
///
/// To be called by sysfs, for a node of a set of that kind.
pub(super) unsafe extern "C" fn dev_store(
    dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    buf: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: As in `kobj_store`; the device is valid, so the field is in bounds.
    unsafe { store(&raw mut (*dev).kobj, attr.cast(), buf.cast(), count) }
}

/// # Safety
///
/// Called by sysfs for a file of a set, with a zeroed page.
unsafe fn show(node: *const Node, page: *mut u8) -> isize {
    // SAFETY: Removal of the file waits for this call, and the set outlives the
    // file. The page is exclusive to this call and initialised.
    let (node, set, page) = unsafe {
        let node = &*node;
        // sysfs takes a full page for an overflow.
        let page = core::slice::from_raw_parts_mut(page, PAGE_SIZE - 1);
        (node, node.set(), page)
    };

    let mut buf = Buf::new(page);
    match set.callbacks().show(node.index, &mut buf) {
        // CAST: Less than a page.
        Ok(()) => buf.len as isize,
        Err(err) => err.to_errno() as isize,
    }
}

/// # Safety
///
/// Called by sysfs for a file of a set in `kobj`, with `count` readable bytes.
unsafe fn store(
    kobj: *mut bindings::kobject,
    node: *const Node,
    input: *const u8,
    count: usize,
) -> isize {
    // SAFETY: The file is there, and its set with it, as long as protection has
    // not been broken; the reference taken here lasts for the rest of the call.
    let (attr, index, set, input) = unsafe {
        let node = &*node;
        let set: Arc<FileSet> = node.set().into();
        let input = core::slice::from_raw_parts(input, count);
        (node.attr(), node.index, set, input)
    };
    let ctx = StoreCtx {
        set: &set,
        kobj,
        attr,
        broken: OnceCell::new(),
    };

    let line = input.strip_suffix(b"\n").unwrap_or(input);
    let result = set.callbacks().store(index, line, &ctx);

    let broken = ctx.broken.into_inner();
    if let Some(broken) = &broken {
        // SAFETY: Broken by this call. sysfs wants it mended before it returns.
        unsafe { bindings::sysfs_unbreak_active_protection(broken.node.as_ptr()) };
    }

    // May be the last reference if the file is gone, and then runs code of the
    // modules, which therefore are let go after it. The unloading of this module waits for the
    // return from here, see `CallbacksReturned`; this must not sleep before that.
    drop(set);
    drop(broken);

    match result {
        // CAST: sysfs passes at most a page.
        Ok(()) => count as isize,
        Err(err) => err.to_errno() as isize,
    }
}
