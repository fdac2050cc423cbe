// SPDX-License-Identifier: GPL-2.0-only

//! Device classes, and devices that exist only for their files in sysfs.
//!
//! C header: [`include/linux/device/class.h`](srctree/include/linux/device/class.h)

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    prelude::*,
    sync::Arc, //
};

use crate::bindings;

use super::kobject::{
    AsSysfsParent,
    Kobject,
    SysfsParent, //
};

/// A handle of an owned `struct class`: `/sys/class/<name>`.
///
/// The last handle to be dropped unregisters the class; each of its devices holds one.
#[derive(Clone)]
pub struct Class(Arc<ClassInner>);

/// # Invariants
///
/// The class was registered by `class_create`.
struct ClassInner(NonNull<bindings::class>);

// SAFETY: Classes may be used and destroyed on any task.
unsafe impl Send for ClassInner {}
// SAFETY: The driver core does its own locking.
unsafe impl Sync for ClassInner {}

impl Class {
    /// Registers a class ([`class_create`](srctree/include/linux/device/class.h)).
    ///
    /// # Errors
    ///
    /// `EEXIST` when another class has the name, `ENOMEM`.
    pub fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is static, as the class keeps the pointer.
        let class = from_err_ptr(unsafe { bindings::class_create(name.as_char_ptr()) })?;

        // INVARIANT: `class_create` registered it.
        let inner = ClassInner(NonNull::new(class).ok_or(ENOMEM)?);
        Ok(Self(Arc::new(inner, GFP_KERNEL)?))
    }
}

impl Drop for ClassInner {
    fn drop(&mut self) {
        // SAFETY: Made by `class_create`; its devices are gone, as each holds a handle.
        unsafe { bindings::class_destroy(self.0.as_ptr()) };
    }
}

/// A handle of a device without hardware: `/sys/devices/virtual/<class>/<name>`.
///
/// The last handle to be dropped unregisters the device. Files, directories and links below
/// it hold one each.
#[derive(Clone)]
pub struct ClassDevice(Arc<DeviceInner>);

/// # Invariants
///
/// The device was registered by `device_create`.
struct DeviceInner {
    dev: NonNull<bindings::device>,
    /// A class must outlive its devices.
    _class: Class,
}

// SAFETY: Devices may be used and unregistered on any task.
unsafe impl Send for DeviceInner {}
// SAFETY: The driver core does its own locking.
unsafe impl Sync for DeviceInner {}

impl ClassDevice {
    /// Registers a device ([`device_create`](srctree/include/linux/device.h)).
    ///
    /// Calls for the same class and name must not run concurrently: the driver core would log
    /// a stack dump.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an invalid name, `EEXIST` when the class has a device of that name,
    /// `ENOMEM`.
    pub fn new(class: &Class, name: &CStr) -> Result<Self> {
        super::check_name(name)?;
        let raw = class.0 .0.as_ptr();

        // SAFETY: The class is registered; `device_match_name` takes a C string.
        let twin = unsafe {
            bindings::class_find_device(
                raw,
                core::ptr::null(),
                name.as_char_ptr().cast(),
                Some(match_name),
            )
        };
        if !twin.is_null() {
            // SAFETY: Drops the reference that the search took.
            unsafe { bindings::put_device(twin) };
            return Err(EEXIST);
        }

        // SAFETY: The class is registered and kept by the device; format and
        // argument agree, and the name is copied.
        let dev = from_err_ptr(unsafe {
            bindings::device_create(
                raw,
                core::ptr::null_mut(),
                0,
                core::ptr::null_mut(),
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;

        // INVARIANT: `device_create` registered it.
        let inner = DeviceInner {
            dev: NonNull::new(dev).ok_or(ENOMEM)?,
            _class: class.clone(),
        };
        Ok(Self(Arc::new(inner, GFP_KERNEL)?))
    }

    /// The C object.
    pub(super) fn as_raw(&self) -> *mut bindings::device {
        self.0.dev.as_ptr()
    }
}

/// Compares the name of a device with a C string.
///
/// The kernel's `device_match_name` ignores a trailing newline.
///
/// # Safety
///
/// `dev` is a valid device and `name` a C string.
unsafe extern "C" fn match_name(
    dev: *mut bindings::device,
    name: *const kernel::ffi::c_void,
) -> kernel::ffi::c_int {
    // SAFETY: By the safety requirements.
    let (have, want) = unsafe {
        (
            CStr::from_char_ptr(bindings::dev_name(dev)),
            CStr::from_char_ptr(name.cast()),
        )
    };
    i32::from(have == want)
}

impl Drop for DeviceInner {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariants; the only reference is dropped.
        unsafe { bindings::device_unregister(self.dev.as_ptr()) };
    }
}

// SAFETY: The handle keeps the device, and so its kobject.
unsafe impl Kobject for ClassDevice {
    fn as_kobj(&self) -> *mut bindings::kobject {
        // SAFETY: The device is valid by the type invariants; only a pointer is computed.
        unsafe { &raw mut (*self.as_raw()).kobj }
    }
}

impl AsSysfsParent for ClassDevice {
    fn parent(&self) -> SysfsParent {
        SysfsParent::device(self)
    }
}
