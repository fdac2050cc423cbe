// SPDX-License-Identifier: GPL-2.0-only

//! Tracepoints of the transport, see `Documentation/tracing.md`.
//!
//! While a tracepoint is off, its arguments are not formatted: each function here then costs a
//! call and a branch. None is called for a request that succeeds.
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

use core::fmt::Write as _;

use kernel::{
    fmt,
    prelude::*, //
};

use crate::bindings;

/// The side of the transport that an event happens on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The machine that maps devices.
    Client,
    /// The machine that exports devices.
    Server,
}

impl Side {
    fn name(self) -> &'static CStr {
        match self {
            Self::Client => c"client",
            Self::Server => c"server",
        }
    }
}

/// Room for the name of a session and two addresses.
const TEXT_SIZE: usize = 384;

/// A text for C, truncated to the size.
///
/// # Invariants
///
/// The last byte is 0.
struct Text {
    bytes: [u8; TEXT_SIZE],
    len: usize,
}

impl Text {
    fn new(value: &dyn fmt::Display) -> Self {
        // INVARIANT: All are 0.
        let mut text = Self {
            bytes: [0; TEXT_SIZE],
            len: 0,
        };
        // A truncated text is better than none.
        let _ = write!(text, "{}", Shown(value));
        text
    }

    fn as_char_ptr(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }
}

/// What has the kernel's `Display`, for macros of `core`.
struct Shown<'a>(&'a dyn fmt::Display);

impl core::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

impl core::fmt::Write for Text {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        // INVARIANT: The last byte is not written.
        let room = self.bytes.get_mut(self.len..TEXT_SIZE - 1);
        for (to, from) in room.unwrap_or_default().iter_mut().zip(s.bytes()) {
            *to = from;
            self.len += 1;
        }
        Ok(())
    }
}

/// Traces that a session enters a state.
pub(crate) fn session(side: Side, session: &CStr, state: &dyn fmt::Display) {
    // SAFETY: Only reads a static key.
    if unsafe { bindings::rtrs_trace_session_enabled() } {
        fire_session(side, session, state);
    }
}

// Not inlined, to keep the stack frames of callers small.
#[cold]
#[inline(never)]
fn fire_session(side: Side, session: &CStr, state: &dyn fmt::Display) {
    let state = Text::new(state);
    let (side, session) = (side.name().as_char_ptr(), session.as_char_ptr());
    // SAFETY: All strings are terminated.
    unsafe { bindings::rtrs_trace_session(side, session, state.as_char_ptr()) };
}

/// Traces that a path enters a state.
pub(crate) fn path(side: Side, path: &dyn fmt::Display, state: &dyn fmt::Display) {
    // SAFETY: Only reads a static key.
    if unsafe { bindings::rtrs_trace_path_enabled() } {
        fire_path(side, path, state);
    }
}

#[cold]
#[inline(never)]
fn fire_path(side: Side, path: &dyn fmt::Display, state: &dyn fmt::Display) {
    let path = Text::new(path);
    let state = Text::new(state);
    let side = side.name().as_char_ptr();
    // SAFETY: All strings are terminated.
    unsafe { bindings::rtrs_trace_path(side, path.as_char_ptr(), state.as_char_ptr()) };
}

/// A request that failed.
pub(crate) struct Failed<'a> {
    /// The path, or the session if the request was not sent on any.
    pub place: &'a dyn fmt::Display,
    /// `read` or `write`.
    pub op: &'static CStr,
    /// Message id.
    pub id: u32,
    /// Bytes of data.
    pub bytes: u32,
    /// The result of the request.
    pub error: Error,
}

/// Traces that a request fails.
pub(crate) fn io_error(side: Side, failed: &Failed<'_>) {
    // SAFETY: Only reads a static key.
    if unsafe { bindings::rtrs_trace_io_error_enabled() } {
        fire_io_error(side, failed);
    }
}

#[cold]
#[inline(never)]
fn fire_io_error(side: Side, failed: &Failed<'_>) {
    let place = Text::new(failed.place);
    // SAFETY: All strings are terminated.
    unsafe {
        bindings::rtrs_trace_io_error(
            side.name().as_char_ptr(),
            place.as_char_ptr(),
            failed.op.as_char_ptr(),
            failed.id,
            failed.bytes,
            failed.error.to_errno(),
        )
    };
}
