// SPDX-License-Identifier: GPL-2.0-only

//! The identity of a disk: a name that no other disk has, wherever it is attached.

use core::fmt;

/// Largest length of an identity in bytes.
pub const MAX_IDENTITY: usize = 64;

/// How an identity is to be understood. The first three are designator types of SCSI (SPC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// A text that begins with a vendor.
    T10,
    /// An IEEE extended unique identifier, of 8 bytes or more.
    Eui64,
    /// A name of a network address authority.
    Naa,
    /// The text of a UUID.
    Uuid,
    /// Any other text.
    Text,
}

impl IdentityKind {
    const fn to_wire(self) -> u8 {
        match self {
            Self::T10 => 1,
            Self::Eui64 => 2,
            Self::Naa => 3,
            Self::Uuid => 4,
            Self::Text => 5,
        }
    }

    const fn from_wire(raw: u8) -> Option<Self> {
        match raw {
            1 => Some(Self::T10),
            2 => Some(Self::Eui64),
            3 => Some(Self::Naa),
            4 => Some(Self::Uuid),
            5 => Some(Self::Text),
            _ => None,
        }
    }

    /// Returns the prefix that SCSI and NVMe disks show.
    const fn prefix(self) -> &'static str {
        match self {
            Self::T10 => "t10",
            Self::Eui64 => "eui",
            Self::Naa => "naa",
            Self::Uuid => "uuid",
            Self::Text => "text",
        }
    }
}

/// The identity of a disk.
///
/// # Invariants
///
/// `len` is at least 1 and at most [`MAX_IDENTITY`]; the bytes after it are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    kind: IdentityKind,
    len: u8,
    bytes: [u8; MAX_IDENTITY],
}

impl Identity {
    /// Creates the identity `bytes`. [`None`] if it is empty or too long.
    pub fn new(kind: IdentityKind, bytes: &[u8]) -> Option<Self> {
        let len = u8::try_from(bytes.len()).ok().filter(|len| *len > 0)?;
        let mut field = [0; MAX_IDENTITY];
        field.get_mut(..bytes.len())?.copy_from_slice(bytes);
        // INVARIANT: Not empty, and it fits.
        Some(Self {
            kind,
            len,
            bytes: field,
        })
    }

    /// Decodes the fields of a message. [`None`] also for a kind that is not known.
    pub(super) fn from_wire(kind: u8, len: u8, field: &[u8; MAX_IDENTITY]) -> Option<Self> {
        Self::new(IdentityKind::from_wire(kind)?, field.get(..len.into())?)
    }

    pub(super) fn wire_kind(&self) -> u8 {
        self.kind.to_wire()
    }

    pub(super) fn wire_len(&self) -> u8 {
        self.len
    }

    pub(super) fn field(&self) -> [u8; MAX_IDENTITY] {
        self.bytes
    }

    /// Returns how the identity is to be understood.
    pub const fn kind(&self) -> IdentityKind {
        self.kind
    }

    /// Returns the bytes of the identity.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }
}

/// Writes the identity as the file `wwid` of a disk shows it: on one line, without spaces.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.kind.prefix())?;
        self.as_bytes().iter().try_for_each(|byte| match self.kind {
            IdentityKind::Eui64 | IdentityKind::Naa => write!(f, "{byte:02x}"),
            _ if byte.is_ascii_graphic() => write!(f, "{}", char::from(*byte)),
            _ => f.write_str("_"),
        })
    }
}

/// The identity of a device: of a disk, or of a partition of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    pub(super) disk: Identity,
    pub(super) partition: u32,
}

impl DeviceIdentity {
    /// Returns the bytes of the identity, if it is of `kind` and of a whole disk.
    pub fn designator(&self, kind: IdentityKind) -> Option<&[u8]> {
        (self.partition == 0 && self.disk.kind() == kind).then(|| self.disk.as_bytes())
    }
}

/// Writes the identity as [`Identity`], followed by the number of a partition.
impl fmt::Display for DeviceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)?;
        match self.partition {
            0 => Ok(()),
            number => write!(f, "-part{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_shown_on_one_line() {
        for (kind, bytes, shown) in [
            (IdentityKind::Naa, &[0x50, 0x0c, 0xff][..], "naa.500cff"),
            (IdentityKind::Eui64, &[0; 8], "eui.0000000000000000"),
            (
                IdentityKind::T10,
                b"Linux   disk\n\xff",
                "t10.Linux___disk__",
            ),
            (IdentityKind::Uuid, b"12ab-34", "uuid.12ab-34"),
            (IdentityKind::Text, b"serial", "text.serial"),
        ] {
            let identity = Identity::new(kind, bytes).expect("an identity");
            assert_eq!(identity.to_string(), shown);
            assert_eq!((identity.kind(), identity.as_bytes()), (kind, bytes));
        }
    }

    #[test]
    fn a_partition_has_another_identity_than_its_disk() {
        let disk = Identity::new(IdentityKind::Naa, &[0x50; 8]).expect("an identity");
        let of = |partition| DeviceIdentity { disk, partition };
        assert_eq!(of(0).to_string(), "naa.5050505050505050");
        assert_eq!(of(3).to_string(), "naa.5050505050505050-part3");
        assert_eq!(of(0).designator(IdentityKind::Naa), Some(&[0x50; 8][..]));
        assert_eq!(of(0).designator(IdentityKind::Eui64), None);
        assert_eq!(of(3).designator(IdentityKind::Naa), None);
    }

    #[test]
    fn an_identity_has_a_length() {
        assert_eq!(Identity::new(IdentityKind::Text, b""), None);
        assert_eq!(Identity::new(IdentityKind::Text, &[b'a'; 65]), None);
        assert!(Identity::new(IdentityKind::Text, &[b'a'; 64]).is_some());
        assert_eq!(Identity::from_wire(0, 1, &[0; MAX_IDENTITY]), None);
        assert_eq!(Identity::from_wire(6, 1, &[0; MAX_IDENTITY]), None);
        assert_eq!(Identity::from_wire(3, 65, &[0; MAX_IDENTITY]), None);
    }
}
