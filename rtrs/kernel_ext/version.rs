// SPDX-License-Identifier: GPL-2.0-only

//! The version of the three modules, as `modinfo` shows it.
//!
//! The `module!` macro of the kernel crate knows no `version`.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

/// The version of this source tree. `NEWS` says what changed in it.
#[macro_export]
macro_rules! tree_version {
    () => {
        "0.9.0"
    };
}

/// Gives a module its version, as the C macro `MODULE_VERSION` does.
///
/// # Examples
///
/// ```ignore
/// module_version!("rnbd_server");
/// ```
#[macro_export]
macro_rules! module_version {
    ($module:literal) => {
        $crate::module_params!(@info VERSION, $module,
            ::core::concat!("version=", $crate::tree_version!(), "\0"));
    };
}
