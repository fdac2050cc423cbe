// SPDX-License-Identifier: GPL-2.0-only

//! Messages as they are on the wire. All numbers are little endian.

/// Compares size and field offsets of a message with those that a C compiler gives for its
/// struct in the C header.
#[cfg(test)]
macro_rules! assert_layout {
    ($message:ty, $size:expr, { $($field:ident: $offset:expr),* $(,)? }) => {
        assert_eq!(size_of::<$message>(), $size);
        $(assert_eq!(core::mem::offset_of!($message, $field), $offset, stringify!($field));)*
    };
}

pub mod name;
pub mod rnbd;
pub mod rtrs;

use crate::error::WireError;

/// Reads a message of type `T` from the start of `bytes`.
#[inline]
pub(crate) fn read<T>(bytes: &[u8]) -> Result<T, WireError>
where
    T: zerocopy::FromBytes,
{
    match T::read_from_prefix(bytes) {
        Ok((message, _)) => Ok(message),
        Err(_) => Err(WireError::Short {
            need: size_of::<T>(),
            got: bytes.len(),
        }),
    }
}

/// Writes `message` to the start of `buf` and returns its length.
#[inline]
pub(crate) fn write<T>(message: &T, buf: &mut [u8]) -> Result<usize, WireError>
where
    T: zerocopy::IntoBytes + zerocopy::Immutable,
{
    match message.write_to_prefix(buf) {
        Ok(()) => Ok(size_of::<T>()),
        Err(_) => Err(WireError::NoRoom {
            need: size_of::<T>(),
            got: buf.len(),
        }),
    }
}
