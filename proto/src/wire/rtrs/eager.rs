// SPDX-License-Identifier: GPL-2.0-only

//! Eager requests: messages into memory that no client has a key to.
//!
//! A client that writes a request into a chunk must lose its key before the server looks at it,
//! and get a new one with the response. An eager request is a message instead, and needs neither:
//!
//! ```text
//! 0               40               64
//! | user message  | RTRS message   | data of a WRITE
//! ```
//!
//! The unused rest of both messages is zero. The immediate is that of the same request in a
//! chunk. The data begin at a fixed offset, so that a receive with two segments puts them at the
//! start of a page.
//!
//! A READ of few data has no descriptor: the data are the message that the response comes with,
//! and the client copies them. For more, the server writes to the client's buffer, as for a
//! request in a chunk; but only where keys stay the same ([`NextKey::Same`]), as the server has no
//! other memory for so many data than the chunk, to which the client has a key.

use crate::error::WireError;

use super::{
    request::{
        DataTransfer,
        RequestMsg,
        MAX_REQUEST_MSG_SIZE, //
    },
    NextKey, //
};

/// Space for the user message in bytes.
const USER_SIZE: usize = 40;
/// Size of the header, which has the user message and the RTRS message, in bytes.
pub const HEADER_SIZE: usize = USER_SIZE + MAX_REQUEST_MSG_SIZE;
/// Largest number of bytes of data in an eager request, or in the response to one.
pub const DATA_SIZE: u32 = 4096;

/// Returns whether a request with a user message of `user_len` bytes may be eager. `sent` and
/// `wanted` are the bytes of data that go to the server, and to the client.
#[inline]
pub const fn fits(user_len: usize, sent: u32, wanted: u32, next_key: NextKey) -> bool {
    user_len <= USER_SIZE
        && sent <= DATA_SIZE
        && (wanted <= DATA_SIZE || may_have_descriptor(next_key))
}

/// Returns whether an eager request may have a descriptor.
const fn may_have_descriptor(next_key: NextKey) -> bool {
    matches!(next_key, NextKey::Same)
}

/// Completes the header of `request`: writes the RTRS message. The user message is at the beginning
/// of `header` already, and the rest is zero.
///
/// # Errors
///
/// [`WireError::NoRoom`] when the user message is longer than there is space for.
#[inline]
pub fn encode(request: &RequestMsg, header: &mut [u8; HEADER_SIZE]) -> Result<(), WireError> {
    let (_, message) = header.split_at_mut(USER_SIZE);
    let need = request.user_len();
    if need > USER_SIZE {
        let got = USER_SIZE;
        return Err(WireError::NoRoom { need, got });
    }
    request.encode(message).map(|_| ())
}

/// Parses the `header` of a message of `len` bytes that arrived with `offset` in its immediate.
/// The user message is the first [`RequestMsg::user_len`] bytes of the header.
///
/// `chunk_size` is the number of bytes that the server has space for, and `next_key` what the key of
/// a chunk becomes.
///
/// # Errors
///
/// Those of [`RequestMsg::parse`]; [`WireError::Short`] and [`WireError::Long`] when the message
/// does not have the length that the request says, [`WireError::UserLength`] when the user message
/// is too long for the header, [`WireError::Offset`] for more data than there is space for,
/// [`WireError::DescriptorCount`] for a descriptor where there may be none.
#[inline]
pub fn parse(
    header: &[u8; HEADER_SIZE],
    len: usize,
    offset: u32,
    chunk_size: u32,
    next_key: NextKey,
) -> Result<RequestMsg, WireError> {
    if len < HEADER_SIZE {
        let need = HEADER_SIZE;
        return Err(WireError::Short { need, got: len });
    }
    let (_, message) = header.split_at(USER_SIZE);
    let request = RequestMsg::parse(message, offset)?;
    let user_len = request.usr_len();
    if usize::from(user_len) > USER_SIZE {
        let len = user_len;
        return Err(WireError::UserLength { len, offset });
    }

    let sent = request.len_to_server();
    let (request, carried) = match request.transfer() {
        DataTransfer::None if request.data_len() > 0 => {
            (request.with_data_in_response(), request.data_len())
        }
        DataTransfer::ToClient { .. } if !may_have_descriptor(next_key) => {
            return Err(WireError::DescriptorCount(1))
        }
        _ => (request, sent),
    };
    if offset > chunk_size || carried > DATA_SIZE {
        return Err(WireError::Offset(offset));
    }

    let need = HEADER_SIZE.saturating_add(sent as usize);
    if len < need {
        return Err(WireError::Short { need, got: len });
    }
    if len > need {
        return Err(WireError::Long { need, got: len });
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtrs::SgDesc;
    use proptest::prelude::*;

    const CHUNK: u32 = 128 * 1024;

    fn encoded(request: &RequestMsg) -> [u8; HEADER_SIZE] {
        let mut header = [0; HEADER_SIZE];
        header[..request.user_len()].fill(0xa5);
        encode(request, &mut header).unwrap();
        header
    }

    fn desc(len: u32) -> DataTransfer {
        DataTransfer::ToClient {
            desc: SgDesc::new(0x1000, 7, len).unwrap(),
            invalidate: false,
        }
    }

    /// Checked against bytes written down by hand.
    #[test]
    fn layout() {
        let transfer = DataTransfer::InResponse { len: 4096 };
        let header = encoded(&RequestMsg::new(4096, 32, transfer).unwrap());
        assert_eq!(header[..32], [0xa5; 32], "the user message stays");
        assert_eq!(header[32..40], [0; 8]);
        assert_eq!(header[40..48], [3, 0, 32, 0, 0, 0, 0, 0]);
        assert_eq!(header[48..], [0; 16]);
    }

    #[test]
    fn requests_that_fit_are_parsed_as_they_were_made() {
        for (data, user_len, transfer, sent) in [
            (0, 32, DataTransfer::None, 0),
            (0, 8, DataTransfer::ToServer, 0),
            (1, 32, DataTransfer::ToServer, 1),
            (4096, 40, DataTransfer::ToServer, 4096),
            (36, 36, DataTransfer::InResponse { len: 36 }, 0),
            (4096, 32, DataTransfer::InResponse { len: 4096 }, 0),
            (CHUNK - 32, 32, desc(CHUNK - 32), 0),
        ] {
            let wanted = transfer.len_to_client();
            assert!(fits(user_len.into(), sent, wanted, NextKey::Same));
            let request = RequestMsg::new(data, user_len, transfer).unwrap();
            let len = HEADER_SIZE + sent as usize;
            let parse =
                |next_key| parse(&encoded(&request), len, request.offset(), CHUNK, next_key);
            assert_eq!(parse(NextKey::Same), Ok(request));
            // Not to memory that the client can write.
            let stepped = match wanted > DATA_SIZE {
                true => Err(WireError::DescriptorCount(1)),
                false => Ok(request),
            };
            assert_eq!(parse(NextKey::Stepped), stepped);
            let fits = fits(user_len.into(), sent, wanted, NextKey::Stepped);
            assert_eq!(fits, stepped.is_ok());
        }
    }

    #[test]
    fn what_does_not_fit_is_neither_made_nor_accepted() {
        assert!(!fits(41, 0, 0, NextKey::Same));
        assert!(!fits(32, 4097, 0, NextKey::Same));
        let long = RequestMsg::new(0, 41, DataTransfer::None).unwrap();
        let refused = encode(&long, &mut [0; HEADER_SIZE]);
        assert_eq!(refused, Err(WireError::NoRoom { need: 41, got: 40 }));

        let write = RequestMsg::new(512, 32, DataTransfer::ToServer).unwrap();
        let read = RequestMsg::new(512, 32, DataTransfer::InResponse { len: 512 }).unwrap();
        let (short, long) = (
            |need, got| WireError::Short { need, got },
            |need, got| WireError::Long { need, got },
        );
        for (request, len, offset, error) in [
            (&write, 64 + 511, 544, short(64 + 512, 64 + 511)),
            (&write, 64 + 513, 544, long(64 + 512, 64 + 513)),
            (&write, 0, 544, short(64, 0)),
            (&write, 64 + 4097, 4097 + 32, WireError::Offset(4129)),
            (
                &write,
                64,
                31,
                WireError::UserLength {
                    len: 32,
                    offset: 31,
                },
            ),
            (&read, 65, 544, long(64, 65)),
            (&read, 63, 544, short(64, 63)),
            (&read, 64, 4097 + 32, WireError::Offset(4129)),
        ] {
            let parsed = parse(&encoded(request), len, offset, CHUNK, NextKey::Same);
            assert_eq!(parsed, Err(error));
        }

        let mut header = encoded(&read);
        header[42] = 41;
        let (len, offset) = (41, 512);
        assert_eq!(
            parse(&header, 64, offset, CHUNK, NextKey::Same),
            Err(WireError::UserLength { len, offset })
        );
        let large = RequestMsg::new(CHUNK, 32, desc(CHUNK)).unwrap();
        assert_eq!(
            parse(&encoded(&large), 64, large.offset(), CHUNK, NextKey::Same),
            Err(WireError::Offset(CHUNK + 32)),
            "more than the server has space for"
        );
    }

    proptest! {
        /// Whatever arrives, an accepted request has the length of its message, and fits.
        #[test]
        fn anything_is_refused_or_fits(
            header in prop::array::uniform32(any::<u8>()).prop_flat_map(|first| {
                prop::array::uniform32(any::<u8>()).prop_map(move |second| {
                    let mut header = [0; HEADER_SIZE];
                    header[..32].copy_from_slice(&first);
                    header[32..].copy_from_slice(&second);
                    header
                })
            }),
            kind in 0..6_u8,
            usr_len in 0..64_u8,
            sg_cnt in 0..3_u8,
            len in 0..9000_usize,
            offset in 0..9000_u32,
        ) {
            let mut header = header;
            header[40..48].copy_from_slice(&[kind, 0, usr_len, 0, 0, 0, sg_cnt, 0]);
            if let Ok(request) = parse(&header, len, offset, 8192, NextKey::Same) {
                prop_assert!(request.user_len() <= 40);
                prop_assert!(request.offset() <= 8192);
                let sent = request.len_to_server();
                prop_assert!(request.transfer().len_to_client() <= request.data_len());
                prop_assert_eq!(len, HEADER_SIZE + sent as usize);
                let wanted = request.transfer().len_to_client();
                prop_assert!(fits(request.user_len(), sent, wanted, NextKey::Same));
                if let DataTransfer::InResponse { len } = request.transfer() {
                    prop_assert!((1..=DATA_SIZE).contains(&len));
                }
            }
        }
    }
}
