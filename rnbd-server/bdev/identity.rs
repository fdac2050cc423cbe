// SPDX-License-Identifier: GPL-2.0-only

//! The identity of a block device, by which it is known wherever it is attached.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use kernel::prelude::*;

use rnbd_proto::wire::rnbd::{
    Identity,
    IdentityKind, //
};

use rtrs::bindings;

use super::BlockDevice;

/// Size of a unique id of the block layer in bytes.
const UNIQUE_ID_SIZE: usize = 16;

/// Kinds of unique ids, the better ones first.
const KINDS: [(bindings::blk_unique_id, IdentityKind); 3] = [
    (bindings::blk_unique_id_BLK_UID_NAA, IdentityKind::Naa),
    (bindings::blk_unique_id_BLK_UID_EUI64, IdentityKind::Eui64),
    (bindings::blk_unique_id_BLK_UID_T10, IdentityKind::T10),
];

impl BlockDevice {
    /// The number of the partition; 0 for a whole disk.
    pub(crate) fn partition(&self) -> u32 {
        // SAFETY: The structure is valid while the device is open; the number never changes.
        let flags = unsafe { (*self.as_raw()).__bd_flags.counter };
        flags.unsigned_abs() & bindings::BD_PARTNO
    }

    /// The identity of the disk; of a partition of a disk that has none, the UUID in the
    /// partition table.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.unique_id().or_else(|| self.partition_uuid())
    }

    fn unique_id(&self) -> Option<Identity> {
        // SAFETY: An open device has a disk, with operations.
        let (disk, operations) = unsafe {
            let disk = (*self.as_raw()).bd_disk;
            (disk, &*(*disk).fops)
        };
        // SAFETY: The name of a disk is a C string that never changes.
        let name = unsafe { CStr::from_char_ptr((&raw const (*disk).disk_name).cast()) };
        // A device-mapper device returns the id of a device below it, of which it may be a part.
        if name.to_bytes().starts_with(b"dm-") {
            return None;
        }
        let get = operations.get_unique_id?;

        KINDS.into_iter().find_map(|(raw, kind)| {
            let mut id = [0u8; UNIQUE_ID_SIZE];
            // SAFETY: The disk is open, and there is space for an id.
            let len = unsafe { get(disk, id.as_mut_ptr(), raw) };
            let id = id.get(..usize::try_from(len).ok()?)?;
            Identity::new(kind, id)
        })
    }

    fn partition_uuid(&self) -> Option<Identity> {
        // SAFETY: The structure is valid while the device is open. A partition has its
        // information, if there is any, until it is freed.
        let info = unsafe { (*self.as_raw()).bd_meta_info.as_ref()? };
        // SAFETY: The UUID is a C string.
        let uuid = unsafe { CStr::from_char_ptr(info.uuid.as_ptr()) };
        Identity::new(IdentityKind::Uuid, uuid.to_bytes())
    }
}
