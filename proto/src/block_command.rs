// SPDX-License-Identifier: GPL-2.0-only

//! What a server has its device do for a block request, or why it does not.
//!
//! Nothing that a block layer takes for granted about its callers may depend on a peer: a
//! client that keeps to what it was told of the device is refused nothing here.

use crate::error::EINVAL;
use crate::error::EIO;
use crate::error::EROFS;
use crate::wire::rnbd::AccessMode;
use crate::wire::rnbd::BlockOp;
use crate::wire::rnbd::IoFlags;
use crate::wire::rnbd::IoMsg;

/// Bytes of a sector, as a shift.
const SECTOR_SHIFT: u32 = 9;

/// Where the class is in an I/O priority.
pub const PRIO_CLASS_SHIFT: u32 = 13;
/// The last class that there is. Schedulers have tables of them.
pub const PRIO_CLASS_MAX: u32 = 3;

/// The device that a request is for, as it is at this moment.
#[derive(Clone, Copy, Debug)]
pub struct TargetDisk {
    /// How the client opened it.
    pub mode: AccessMode,
    /// Sectors of 512 bytes; none if it is gone.
    pub sectors: u64,
    /// Bytes of a block, a power of two and not less than a sector.
    pub block_size: u32,
}

/// The data that came with a request, or that the client wants.
#[derive(Clone, Copy, Debug)]
pub struct RequestData {
    /// Whether it goes to the client.
    pub to_client: bool,
    /// Bytes.
    pub len: usize,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// It changes a device that was opened to be read.
    ReadOnly,
    /// The data is not as long as the range, or goes the wrong way.
    Data,
    /// A part of a block.
    Partial,
    /// It goes beyond the end of the device, which may be nearer than it was.
    BeyondEnd,
    /// An I/O priority of a class that there is not.
    Priority,
    /// Flags that the operation cannot have.
    Flags,
}

impl CommandError {
    /// The error number (positive) for the client.
    pub const fn errno(self) -> i32 {
        match self {
            Self::ReadOnly => EROFS,
            // What a block layer says to its own callers.
            Self::BeyondEnd => EIO,
            Self::Data | Self::Partial | Self::Priority | Self::Flags => EINVAL,
        }
    }
}

/// An operation with the flags that count for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockCommand {
    /// What is to be done.
    pub op: BlockOp,
    /// How.
    pub flags: IoFlags,
}

impl BlockCommand {
    /// What `disk` is to do for `io`, which came with `data`.
    #[inline]
    pub fn new(io: &IoMsg, data: RequestData, disk: TargetDisk) -> Result<Self, CommandError> {
        if io.op().modifies() && !disk.mode.writes() {
            return Err(CommandError::ReadOnly);
        }
        check_data(io, data)?;
        check_range(io, disk)?;
        if u32::from(io.prio()) >> PRIO_CLASS_SHIFT > PRIO_CLASS_MAX {
            return Err(CommandError::Priority);
        }
        Ok(Self {
            op: io.op(),
            flags: flags(io)?,
        })
    }
}

#[inline]
fn check_data(io: &IoMsg, data: RequestData) -> Result<(), CommandError> {
    let expected = if io.op().has_data() { io.len() } else { 0 };
    let right_way = match io.op() {
        BlockOp::Read => data.to_client,
        // Block layers count a flush as a read of nothing.
        BlockOp::Flush => true,
        _ => !data.to_client,
    };

    if right_way && usize::try_from(expected) == Ok(data.len) {
        Ok(())
    } else {
        Err(CommandError::Data)
    }
}

#[inline]
fn check_range(io: &IoMsg, disk: TargetDisk) -> Result<(), CommandError> {
    let within_block = disk.block_size.wrapping_sub(1);
    let within_sectors = u64::from((disk.block_size >> SECTOR_SHIFT).wrapping_sub(1));
    let end = io.sector().checked_add(u64::from(io.len() >> SECTOR_SHIFT));

    if io.len() & within_block != 0 || io.sector() & within_sectors != 0 {
        return Err(CommandError::Partial);
    }
    if end.is_none_or(|end| end > disk.sectors) {
        return Err(CommandError::BeyondEnd);
    }
    Ok(())
}

#[inline]
fn flags(io: &IoMsg) -> Result<IoFlags, CommandError> {
    let only = |flag| match io.flags().contains(flag) {
        true => flag,
        false => IoFlags::NONE,
    };

    match io.op() {
        // Clients set all sorts of flags with it, to no effect.
        BlockOp::Flush => Ok(IoFlags::NONE),
        BlockOp::Write => Ok(only(IoFlags::SYNC) | only(IoFlags::FUA) | only(IoFlags::PREFLUSH)),
        // The block layer warns about any operation but a write with these.
        _ if io.flags().contains(IoFlags::FUA) || io.flags().contains(IoFlags::PREFLUSH) => {
            Err(CommandError::Flags)
        }
        BlockOp::WriteZeroes => Ok(only(IoFlags::SYNC) | only(IoFlags::NOUNMAP)),
        BlockOp::Read | BlockOp::Discard | BlockOp::SecureErase => Ok(only(IoFlags::SYNC)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rnbd::DeviceId;

    const OPS: [BlockOp; 6] = [
        BlockOp::Read,
        BlockOp::Write,
        BlockOp::Flush,
        BlockOp::Discard,
        BlockOp::SecureErase,
        BlockOp::WriteZeroes,
    ];
    const MODES: [AccessMode; 3] = [
        AccessMode::ReadOnly,
        AccessMode::ReadWrite,
        AccessMode::Migration,
    ];
    const DISK: TargetDisk = TargetDisk {
        mode: AccessMode::ReadWrite,
        sectors: 64,
        block_size: 4096,
    };

    /// The request, and the data with which a client sends it.
    fn request(
        op: BlockOp,
        flags: IoFlags,
        sector: u64,
        len: u32,
        prio: u16,
    ) -> (IoMsg, RequestData) {
        let len = if op == BlockOp::Flush { 0 } else { len };
        let io = IoMsg::new(DeviceId(1), op, flags, sector, len, prio).expect("a request");
        let data = RequestData {
            to_client: op == BlockOp::Read,
            len: if op.has_data() { len as usize } else { 0 },
        };
        (io, data)
    }

    fn ask(
        op: BlockOp,
        flags: IoFlags,
        sector: u64,
        len: u32,
        disk: TargetDisk,
    ) -> Result<IoFlags, i32> {
        let (io, data) = request(op, flags, sector, len, 0);
        let command = BlockCommand::new(&io, data, disk).map_err(CommandError::errno)?;
        assert_eq!(command.op, op);
        Ok(command.flags)
    }

    #[test]
    fn a_device_that_is_open_to_be_read_is_not_changed() {
        let table = [
            (BlockOp::Read, Ok(IoFlags::NONE)),
            (BlockOp::Flush, Ok(IoFlags::NONE)),
            (BlockOp::Write, Err(EROFS)),
            (BlockOp::Discard, Err(EROFS)),
            (BlockOp::SecureErase, Err(EROFS)),
            (BlockOp::WriteZeroes, Err(EROFS)),
        ];
        for (op, read_only) in table {
            for mode in MODES {
                let expected = match mode {
                    AccessMode::ReadOnly => read_only,
                    AccessMode::ReadWrite | AccessMode::Migration => Ok(IoFlags::NONE),
                };
                let disk = TargetDisk { mode, ..DISK };
                assert_eq!(
                    ask(op, IoFlags::NONE, 8, 4096, disk),
                    expected,
                    "{op:?} {mode:?}"
                );
            }
        }
    }

    #[test]
    fn read_only_is_said_before_anything_else_is_found_wrong() {
        let disk = TargetDisk {
            mode: AccessMode::ReadOnly,
            sectors: 0,
            ..DISK
        };
        assert_eq!(ask(BlockOp::Write, IoFlags::NONE, 1, 512, disk), Err(EROFS));
    }

    #[test]
    fn the_range_is_of_whole_blocks_inside_of_the_device() {
        let table = [
            (0, 4096, Ok(IoFlags::NONE)),
            (56, 4096, Ok(IoFlags::NONE)),
            (0, 64 * 512, Ok(IoFlags::NONE)),
            (0, 512, Err(EINVAL)),
            (1, 4096, Err(EINVAL)),
            (0, 4096 + 512, Err(EINVAL)),
            (64, 4096, Err(EIO)),
            (56, 8192, Err(EIO)),
            (1 << 40, 4096, Err(EIO)),
            // Wrong in both ways: that it is no request for such a device comes first.
            (65, 4096, Err(EINVAL)),
        ];
        for op in OPS.into_iter().filter(|op| *op != BlockOp::Flush) {
            for (sector, len, expected) in table {
                let said = ask(op, IoFlags::NONE, sector, len, DISK);
                assert_eq!(said, expected, "{op:?} of {len} at {sector}");
            }
        }
    }

    #[test]
    fn a_device_that_is_gone_can_be_flushed_only() {
        let gone = TargetDisk { sectors: 0, ..DISK };
        for op in OPS {
            let expected = match op {
                BlockOp::Flush => Ok(IoFlags::NONE),
                _ => Err(EIO),
            };
            assert_eq!(ask(op, IoFlags::NONE, 0, 4096, gone), expected, "{op:?}");
        }
    }

    #[test]
    fn flags_that_an_operation_cannot_have_are_refused_or_do_not_count() {
        let (none, sync) = (IoFlags::NONE, IoFlags::SYNC);
        // The operation, and what becomes of SYNC, FUA, PREFLUSH and NOUNMAP with it.
        let table = [
            (
                BlockOp::Read,
                [Ok(sync), Err(EINVAL), Err(EINVAL), Ok(none)],
            ),
            (
                BlockOp::Write,
                [Ok(sync), Ok(IoFlags::FUA), Ok(IoFlags::PREFLUSH), Ok(none)],
            ),
            (BlockOp::Flush, [Ok(none), Ok(none), Ok(none), Ok(none)]),
            (
                BlockOp::Discard,
                [Ok(sync), Err(EINVAL), Err(EINVAL), Ok(none)],
            ),
            (
                BlockOp::SecureErase,
                [Ok(sync), Err(EINVAL), Err(EINVAL), Ok(none)],
            ),
            (
                BlockOp::WriteZeroes,
                [Ok(sync), Err(EINVAL), Err(EINVAL), Ok(IoFlags::NOUNMAP)],
            ),
        ];
        let flags = [sync, IoFlags::FUA, IoFlags::PREFLUSH, IoFlags::NOUNMAP];
        for (op, expected) in table {
            for (flag, expected) in flags.into_iter().zip(expected) {
                let said = ask(op, flag, 0, 4096, DISK);
                assert_eq!(said, expected, "{op:?} with {flag:?}");
            }
        }
        let all = sync | IoFlags::FUA | IoFlags::PREFLUSH;
        assert_eq!(ask(BlockOp::Write, all, 0, 4096, DISK), Ok(all));
    }

    #[test]
    fn the_data_is_as_long_as_the_range_and_goes_the_right_way() {
        for op in OPS {
            let (io, right) = request(op, IoFlags::NONE, 0, 4096, 0);
            let more = RequestData {
                len: right.len + 512,
                ..right
            };
            let turned = RequestData {
                to_client: !right.to_client,
                ..right
            };
            assert!(BlockCommand::new(&io, right, DISK).is_ok(), "{op:?}");
            let said = BlockCommand::new(&io, more, DISK);
            assert_eq!(said, Err(CommandError::Data), "{op:?} with more data");
            if op.has_data() {
                let none = RequestData { len: 0, ..right };
                let said = BlockCommand::new(&io, none, DISK);
                assert_eq!(said, Err(CommandError::Data), "{op:?} without data");
            }
            let said = BlockCommand::new(&io, turned, DISK);
            let expected = if op == BlockOp::Flush {
                Ok(op)
            } else {
                Err(CommandError::Data)
            };
            assert_eq!(said.map(|command| command.op), expected, "{op:?} turned");
        }
    }

    #[test]
    fn priorities_have_a_class_that_exists() {
        for (prio, expected) in [
            (0, Ok(())),
            (0x1fff, Ok(())),
            ((3 << 13) | 7, Ok(())),
            (4 << 13, Err(CommandError::Priority)),
            (u16::MAX, Err(CommandError::Priority)),
        ] {
            let (io, data) = request(BlockOp::Read, IoFlags::NONE, 0, 4096, prio);
            let said = BlockCommand::new(&io, data, DISK).map(|_| ());
            assert_eq!(said, expected, "{prio:#x}");
        }
    }
}
