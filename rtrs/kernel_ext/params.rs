// SPDX-License-Identifier: GPL-2.0-only

//! Module parameters that users can read.
//!
//! Parameters of the `module!` macro are invisible in `/sys/module`, and cannot be strings.
//! These have mode 0444: they are set when the module is loaded, and do not change after
//! that.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use core::cell::UnsafeCell;

use kernel::{
    fmt,
    prelude::*, //
};

use crate::bindings;

/// Size of the buffer of a string, its terminator included.
const TEXT_SIZE: usize = 256;

/// A parameter whose value is written by a parser of the kernel.
///
/// It is written before the code of the module runs, and only read after that.
pub struct Param<T> {
    name: &'static str,
    /// Logs an error as the module of the parameter.
    report: fn(fmt::Arguments<'_>),
    value: UnsafeCell<T>,
}

// SAFETY: Nothing writes once the code of the module runs.
unsafe impl<T: Sync> Sync for Param<T> {}

impl<T: Copy> Param<T> {
    #[doc(hidden)]
    pub const fn new(name: &'static str, report: fn(fmt::Arguments<'_>), default: T) -> Self {
        Self {
            name,
            report,
            value: UnsafeCell::new(default),
        }
    }

    #[doc(hidden)]
    pub const fn raw(&'static self) -> bindings::kernel_param__bindgen_ty_1 {
        bindings::kernel_param__bindgen_ty_1 {
            arg: self.value.get().cast(),
        }
    }

    /// Returns the value given at load, or the default.
    #[inline]
    pub fn get(&self) -> T {
        // SAFETY: Initialised, and a valid value as the parser is of the type.
        // Volatile, as the compiler does not see the write of the parser.
        unsafe { self.value.get().read_volatile() }
    }

    /// Checks the value, to be called when the module is loaded.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `valid` returns false; the log then says what the value `must` be.
    pub fn require(&self, valid: impl FnOnce(T) -> bool, must: &str) -> Result
    where
        T: fmt::Display,
    {
        let value = self.get();
        if valid(value) {
            return Ok(());
        }

        let name = self.name;
        (self.report)(fmt!("parameter {name}={value} refused: must be {must}\n"));
        Err(EINVAL)
    }
}

/// A string parameter of at most 255 bytes.
pub struct TextParam(UnsafeCell<[u8; TEXT_SIZE]>);

// SAFETY: Nothing writes once the code of the module runs.
unsafe impl Sync for TextParam {}

impl TextParam {
    #[doc(hidden)]
    pub const fn new(default: &'static str) -> Self {
        let mut text = [0; TEXT_SIZE];
        let default = default.as_bytes();
        assert!(default.len() < TEXT_SIZE);

        let mut i = 0;
        while i < default.len() {
            text[i] = default[i];
            i += 1;
        }
        Self(UnsafeCell::new(text))
    }

    #[doc(hidden)]
    pub const fn buffer(&'static self) -> TextBuffer {
        TextBuffer(bindings::kparam_string {
            // CAST: A small constant.
            maxlen: TEXT_SIZE as u32,
            string: self.0.get().cast(),
        })
    }

    /// Returns the text given at load, or the default.
    pub fn get(&self) -> &'static CStr
    where
        Self: 'static,
    {
        // SAFETY: Parameters are static, terminated within the buffer by the
        // parser, and not written any more.
        unsafe { CStr::from_char_ptr(self.0.get().cast()) }
    }
}

/// The argument of the parser of strings in the kernel.
#[doc(hidden)]
#[repr(transparent)]
pub struct TextBuffer(bindings::kparam_string);

// SAFETY: Only the parser uses it.
unsafe impl Sync for TextBuffer {}

impl TextBuffer {
    #[doc(hidden)]
    pub const fn raw(&'static self) -> bindings::kernel_param__bindgen_ty_1 {
        bindings::kernel_param__bindgen_ty_1 { str_: &self.0 }
    }
}

/// Converts a text to an array, to be placed in a section.
#[doc(hidden)]
pub const fn bytes<const N: usize>(text: &str) -> [u8; N] {
    let text = text.as_bytes();
    assert!(text.len() == N);

    let mut array = [0; N];
    let mut i = 0;
    while i < N {
        array[i] = text[i];
        i += 1;
    }
    array
}

/// Declares the parameters of a module.
///
/// Types are `bool`, `i32`, `u16`, `u32` and `str` (at most 255 bytes). Each parameter is a
/// static with a `get` function.
///
/// # Examples
///
/// ```ignore
/// module_params! {
///     module "rnbd_server";
///     /// The port that is listened on.
///     pub(crate) PORT = port_nr: u16 (1234), "Port to listen on (default: 1234)";
/// }
/// ```
#[expect(
    clippy::crate_in_macro_def,
    reason = "`LocalModule` of the caller is meant"
)]
#[macro_export]
macro_rules! module_params {
    (module $module:literal; $(
        $(#[$meta:meta])*
        $vis:vis $var:ident = $name:ident: $type:ident ($default:expr), $help:literal;
    )*) => {$(
        $crate::module_params!(@var $type, [$(#[$meta])* $vis] $var, $name, $default);

        // In the sections that the loader of modules expects.
        #[allow(unsafe_code)]
        const _: () = {
            $crate::module_params!(@raw $type, $var, RAW);

            #[allow(unsafe_code, reason = "the section is that of such objects")]
            #[link_section = "__param"]
            #[used(compiler)]
            static PARAM: ::kernel::module_param::KernelParam =
                ::kernel::module_param::KernelParam::new(::kernel::bindings::kernel_param {
                    name: ::kernel::str::as_char_ptr_in_const_context(
                        if ::core::cfg!(MODULE) {
                            ::kernel::c_str!(::core::stringify!($name))
                        } else {
                            ::kernel::c_str!(
                                ::core::concat!($module, ".", ::core::stringify!($name))
                            )
                        }
                    ),
                    mod_: <crate::LocalModule as ::kernel::ModuleMetadata>::THIS_MODULE.as_ptr(),
                    ops: $crate::module_params!(@ops $type),
                    perm: 0o444,
                    level: -1,
                    flags: 0,
                    __bindgen_anon_1: RAW.raw(),
                });

            $crate::module_params!(@info HELP, $module,
                ::core::concat!("parm=", ::core::stringify!($name), ":", $help, "\0"));
            $crate::module_params!(@info KIND, $module,
                ::core::concat!("parmtype=", ::core::stringify!($name), ":",
                    $crate::module_params!(@kind $type), "\0"));
        };
    )*};

    (@var str, [$($head:tt)*] $var:ident, $name:ident, $default:expr) => {
        $($head)* static $var: $crate::kernel_ext::params::TextParam =
            $crate::kernel_ext::params::TextParam::new($default);
    };
    (@var $type:ident, [$($head:tt)*] $var:ident, $name:ident, $default:expr) => {
        $($head)* static $var: $crate::kernel_ext::params::Param<$type> =
            $crate::kernel_ext::params::Param::new(
                ::core::stringify!($name),
                |message| ::kernel::pr_err!("{message}"),
                $default,
            );
    };

    (@raw str, $var:ident, $raw:ident) => {
        static $raw: $crate::kernel_ext::params::TextBuffer = $var.buffer();
    };
    (@raw $type:ident, $var:ident, $raw:ident) => {
        use $var as $raw;
    };

    (@ops bool) => { &raw const ::kernel::bindings::param_ops_bool };
    (@ops i32) => { &raw const ::kernel::bindings::param_ops_int };
    (@ops u16) => { &raw const ::kernel::bindings::param_ops_ushort };
    (@ops u32) => { &raw const ::kernel::bindings::param_ops_uint };
    (@ops str) => { &raw const ::kernel::bindings::param_ops_string };

    (@kind bool) => { "bool" };
    (@kind i32) => { "int" };
    (@kind u16) => { "ushort" };
    (@kind u32) => { "uint" };
    (@kind str) => { "string" };

    // Modules have these as they are, code built into the kernel with its name.
    (@info $var:ident, $module:literal, $text:expr) => {
        #[cfg(MODULE)]
        const $var: &str = $text;
        #[cfg(not(MODULE))]
        const $var: &str = ::core::concat!($module, ".", $text);
        const _: () = {
            #[allow(unsafe_code, reason = "the section is that of such texts")]
            #[link_section = ".modinfo"]
            #[used(compiler)]
            static INFO: [u8; $var.len()] = $crate::kernel_ext::params::bytes($var);
        };
    };
}
