// SPDX-License-Identifier: GPL-2.0-only

//! Checks a block request before a server submits it to its device.
//!
//! The block layer trusts its callers in several ways; a request of a peer is checked for all
//! of them here. A client that keeps to the description of its device is never refused.

use crate::{
    error::{
        EINVAL,
        EIO,
        EROFS, //
    },
    wire::rnbd::{
        BlockOp,
        IoFlags,
        IoMsg, //
    }, //
};

/// Size of a sector, as a shift.
const SECTOR_SHIFT: u32 = 9;

/// Shift of the class in an I/O priority.
pub const PRIO_CLASS_SHIFT: u32 = 13;
/// The last I/O priority class. I/O schedulers have tables with one entry per class.
pub const PRIO_CLASS_MAX: u32 = 3;

/// The real-time class, whose requests go before all others of the device.
const PRIO_CLASS_REAL_TIME: u16 = 1;
/// The class of requests without a priority of their own.
const PRIO_CLASS_BEST_EFFORT: u16 = 2;

/// Which I/O priorities clients have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrioPolicy {
    /// Those that they ask for.
    All,
    /// No real-time ones: these become best-effort ones of the same level.
    NoRealTime,
}

impl PrioPolicy {
    /// Returns the priority of a request that asks for `prio`, which has a class that exists.
    #[inline]
    pub const fn apply(self, prio: u16) -> u16 {
        let below_class = prio & ((1 << PRIO_CLASS_SHIFT) - 1);

        match (self, prio >> PRIO_CLASS_SHIFT) {
            (Self::NoRealTime, PRIO_CLASS_REAL_TIME) => {
                (PRIO_CLASS_BEST_EFFORT << PRIO_CLASS_SHIFT) | below_class
            }
            (_, _) => prio,
        }
    }
}

/// The present state of the device that a request is for.
#[derive(Clone, Copy, Debug)]
pub struct TargetDisk {
    /// Whether the client opened the device for writing, and it can be written at present.
    pub writable: bool,
    /// Size in sectors of 512 bytes; 0 if the device is gone.
    pub sectors: u64,
    /// Size of a logical block in bytes: a power of two, at least a sector.
    pub block_size: u32,
}

/// The data of a request: received with it, or to be returned.
#[derive(Clone, Copy, Debug)]
pub struct RequestData {
    /// Whether the data goes to the client.
    pub to_client: bool,
    /// Length in bytes.
    pub len: usize,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The request changes a device that was opened read-only, or has become read-only.
    ReadOnly,
    /// The length or the direction of the data does not fit the request.
    Data,
    /// The range is not a whole number of blocks.
    Partial,
    /// The range ends beyond the end of the device, which may have shrunk.
    BeyondEnd,
    /// The I/O priority class does not exist.
    Priority,
    /// The operation cannot have these flags.
    Flags,
}

impl CommandError {
    /// Returns the error number (positive) for the client.
    pub const fn errno(self) -> i32 {
        match self {
            Self::ReadOnly => EROFS,
            // The error that the block layer returns to its own callers.
            Self::BeyondEnd => EIO,
            Self::Data | Self::Partial | Self::Priority | Self::Flags => EINVAL,
        }
    }
}

/// An operation with the flags that apply to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockCommand {
    /// The operation.
    pub op: BlockOp,
    /// Its flags.
    pub flags: IoFlags,
}

impl BlockCommand {
    /// Checks the request `io`, with its `data`, against `disk`.
    #[inline]
    pub fn new(io: &IoMsg, data: RequestData, disk: TargetDisk) -> Result<Self, CommandError> {
        if io.op().modifies() && !disk.writable {
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
    let right_direction = match io.op() {
        BlockOp::Read => data.to_client,
        // The block layer counts a flush as a read without data.
        BlockOp::Flush => true,
        _ => !data.to_client,
    };

    if right_direction && usize::try_from(expected) == Ok(data.len) {
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
    let keep = |flag| match io.flags().contains(flag) {
        true => flag,
        false => IoFlags::NONE,
    };

    match io.op() {
        // Clients set various flags, which have no effect.
        BlockOp::Flush => Ok(IoFlags::NONE),
        BlockOp::Write => Ok(keep(IoFlags::SYNC)
            | keep(IoFlags::FUA)
            | keep(IoFlags::PREFLUSH)
            | keep(IoFlags::ATOMIC)),
        // The block layer warns if any operation other than a write has the first two of these
        // flags, and refuses to split any with the last one.
        _ if [IoFlags::FUA, IoFlags::PREFLUSH, IoFlags::ATOMIC]
            .into_iter()
            .any(|flag| io.flags().contains(flag)) =>
        {
            Err(CommandError::Flags)
        }
        BlockOp::WriteZeroes => Ok(keep(IoFlags::SYNC) | keep(IoFlags::NOUNMAP)),
        BlockOp::Read | BlockOp::Discard | BlockOp::SecureErase => Ok(keep(IoFlags::SYNC)),
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
    const DISK: TargetDisk = TargetDisk {
        writable: true,
        sectors: 64,
        block_size: 4096,
    };

    /// Returns a request with the data that a client sends.
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

    fn check(
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
    fn a_device_that_is_open_read_only_is_not_changed() {
        let table = [
            (BlockOp::Read, Ok(IoFlags::NONE)),
            (BlockOp::Flush, Ok(IoFlags::NONE)),
            (BlockOp::Write, Err(EROFS)),
            (BlockOp::Discard, Err(EROFS)),
            (BlockOp::SecureErase, Err(EROFS)),
            (BlockOp::WriteZeroes, Err(EROFS)),
        ];
        for (op, read_only) in table {
            for writable in [false, true] {
                let expected = match writable {
                    false => read_only,
                    true => Ok(IoFlags::NONE),
                };
                let disk = TargetDisk { writable, ..DISK };
                assert_eq!(
                    check(op, IoFlags::NONE, 8, 4096, disk),
                    expected,
                    "{op:?} {writable:?}"
                );
            }
        }
    }

    #[test]
    fn read_only_is_reported_before_any_other_error() {
        let disk = TargetDisk {
            writable: false,
            sectors: 0,
            ..DISK
        };
        assert_eq!(
            check(BlockOp::Write, IoFlags::NONE, 1, 512, disk),
            Err(EROFS)
        );
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
            // Both unaligned and beyond the end: unaligned is reported.
            (65, 4096, Err(EINVAL)),
        ];
        for op in OPS.into_iter().filter(|op| *op != BlockOp::Flush) {
            for (sector, len, expected) in table {
                let result = check(op, IoFlags::NONE, sector, len, DISK);
                assert_eq!(result, expected, "{op:?} of {len} at {sector}");
            }
        }
    }

    #[test]
    fn a_device_that_is_gone_can_only_be_flushed() {
        let gone = TargetDisk { sectors: 0, ..DISK };
        for op in OPS {
            let expected = match op {
                BlockOp::Flush => Ok(IoFlags::NONE),
                _ => Err(EIO),
            };
            assert_eq!(check(op, IoFlags::NONE, 0, 4096, gone), expected, "{op:?}");
        }
    }

    #[test]
    fn flags_that_an_operation_cannot_have_are_refused_or_dropped() {
        let (none, sync) = (IoFlags::NONE, IoFlags::SYNC);
        // The operation, and the results with SYNC, FUA, PREFLUSH, NOUNMAP and ATOMIC.
        let table = [
            (
                BlockOp::Read,
                [Ok(sync), Err(EINVAL), Err(EINVAL), Ok(none), Err(EINVAL)],
            ),
            (
                BlockOp::Write,
                [
                    Ok(sync),
                    Ok(IoFlags::FUA),
                    Ok(IoFlags::PREFLUSH),
                    Ok(none),
                    Ok(IoFlags::ATOMIC),
                ],
            ),
            (BlockOp::Flush, [Ok(none); 5]),
            (
                BlockOp::Discard,
                [Ok(sync), Err(EINVAL), Err(EINVAL), Ok(none), Err(EINVAL)],
            ),
            (
                BlockOp::SecureErase,
                [Ok(sync), Err(EINVAL), Err(EINVAL), Ok(none), Err(EINVAL)],
            ),
            (
                BlockOp::WriteZeroes,
                [
                    Ok(sync),
                    Err(EINVAL),
                    Err(EINVAL),
                    Ok(IoFlags::NOUNMAP),
                    Err(EINVAL),
                ],
            ),
        ];
        let flags = [
            sync,
            IoFlags::FUA,
            IoFlags::PREFLUSH,
            IoFlags::NOUNMAP,
            IoFlags::ATOMIC,
        ];
        for (op, expected) in table {
            for (flag, expected) in flags.into_iter().zip(expected) {
                let result = check(op, flag, 0, 4096, DISK);
                assert_eq!(result, expected, "{op:?} with {flag:?}");
            }
        }
        let all = sync | IoFlags::FUA | IoFlags::PREFLUSH;
        assert_eq!(check(BlockOp::Write, all, 0, 4096, DISK), Ok(all));
    }

    #[test]
    fn the_data_has_the_length_and_direction_of_the_request() {
        for op in OPS {
            let (io, right) = request(op, IoFlags::NONE, 0, 4096, 0);
            let more = RequestData {
                len: right.len + 512,
                ..right
            };
            let reversed = RequestData {
                to_client: !right.to_client,
                ..right
            };
            assert!(BlockCommand::new(&io, right, DISK).is_ok(), "{op:?}");
            let result = BlockCommand::new(&io, more, DISK);
            assert_eq!(result, Err(CommandError::Data), "{op:?} with more data");
            if op.has_data() {
                let none = RequestData { len: 0, ..right };
                let result = BlockCommand::new(&io, none, DISK);
                assert_eq!(result, Err(CommandError::Data), "{op:?} without data");
            }
            let result = BlockCommand::new(&io, reversed, DISK);
            let expected = if op == BlockOp::Flush {
                Ok(op)
            } else {
                Err(CommandError::Data)
            };
            assert_eq!(
                result.map(|command| command.op),
                expected,
                "{op:?} with reversed data"
            );
        }
    }

    #[test]
    fn the_real_time_class_is_for_those_who_may() {
        for (asked, given) in [
            (0, 0),
            (0x2003, 0x4003),
            (0x2000, 0x4000),
            // A hint in the bits between class and level stays.
            (0x200b, 0x400b),
            (0x4006, 0x4006),
            (0x6007, 0x6007),
        ] {
            assert_eq!(PrioPolicy::NoRealTime.apply(asked), given, "{asked:#x}");
            assert_eq!(PrioPolicy::All.apply(asked), asked);
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
            let result = BlockCommand::new(&io, data, DISK).map(|_| ());
            assert_eq!(result, expected, "{prio:#x}");
        }
    }
}
