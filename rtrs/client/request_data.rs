// SPDX-License-Identifier: GPL-2.0-only

//! The data of a request, mapped for the device, and its memory region.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    limits::REGISTRATION_UNIT,
    wire::rtrs::{
        eager,
        DataTransfer,
        SgDesc, //
    }, //
};

use crate::rdma::{
    dma::DmaDir,
    mr::{
        Access,
        Mr, //
    },
    payload::PayloadBox,
    pd::Pd,
    sg::{
        MappedSg,
        SgTable,
        MAX_SEGMENTS, //
    },
    sge::Sge,
    wr::{
        Remote,
        SendChain,
        MAX_DATA_SGES, //
    }, //
};

use super::io_request::Direction;

/// The segments of the data. It has a tag of its own, which takes one instruction to look at.
#[repr(u8)]
enum Segments {
    /// None. The table is free for use.
    Unmapped(SgTable),
    /// Mapped for the device.
    Mapped(MappedSg),
    /// Being mapped or unmapped.
    Changing,
}

/// The data of a request.
pub(super) struct RequestData {
    segments: Segments,
    mr: Mr,
    /// Whether the keys of `mr` are valid, so that they must be invalidated
    /// before the data can be given back.
    registered: bool,
}

/// Direction of the data, and where in the server's memory the request goes.
pub(super) struct RequestRoute {
    pub(super) dir: Direction,
    pub(super) addr: u64,
    pub(super) rkey: u32,
    pub(super) len: u32,
}

impl RequestData {
    /// Makes one without data. Data may touch up to `units` registration units.
    pub(super) fn new(pd: &Arc<Pd>, units: u32) -> Result<Self> {
        Ok(Self {
            segments: Segments::Unmapped(SgTable::new(pd, MAX_SEGMENTS)?),
            mr: Mr::new(pd, units)?,
            registered: false,
        })
    }

    /// Whether there are data that are mapped.
    pub(super) fn is_mapped(&self) -> bool {
        matches!(self.segments, Segments::Mapped(_))
    }

    /// Whether the memory region is registered, or will be when the request is sent.
    pub(super) fn is_registered(&self) -> bool {
        self.registered
    }

    /// Returns the key under which the server may write the data.
    pub(super) fn rkey(&self) -> u32 {
        self.mr.rkey()
    }

    /// Maps the `len` bytes of `payload`, and registers them for a READ, or if they have more
    /// than `data_sges` segments. Returns the transfer as the server is told of it;
    /// `invalidate` is whether it invalidates the key after a READ.
    ///
    /// The data of an `eager` READ that fit into the response are not mapped.
    pub(super) fn prepare(
        &mut self,
        dir: Direction,
        len: u32,
        payload: &PayloadBox,
        data_sges: usize,
        invalidate: bool,
        eager: bool,
    ) -> Result<DataTransfer> {
        match dir {
            Direction::Read if len == 0 => return Ok(DataTransfer::None),
            Direction::Write if len == 0 => return Ok(DataTransfer::ToServer),
            Direction::Read if eager && len <= eager::DATA_SIZE => {
                return Ok(DataTransfer::InResponse { len })
            }
            _ => {}
        }
        let segments = self.map(dir, payload)?;
        match dir {
            Direction::Write => {
                if segments > data_sges.min(MAX_DATA_SGES) {
                    self.register()?;
                }
                Ok(DataTransfer::ToServer)
            }
            Direction::Read => {
                self.register()?;
                let len = u32::try_from(self.mr.length())?;
                let desc = SgDesc::new(self.mr.iova(), self.mr.rkey(), len).map_err(|_| EIO)?;
                Ok(DataTransfer::ToClient { desc, invalidate })
            }
        }
    }

    /// Maps the data of `payload` for the device and returns the number of segments.
    fn map(&mut self, dir: Direction, payload: &PayloadBox) -> Result<usize> {
        let changing = core::mem::replace(&mut self.segments, Segments::Changing);
        let Segments::Unmapped(table) = changing else {
            return Err(EIO);
        };
        let dma_dir = match dir {
            Direction::Read => DmaDir::FromDevice,
            Direction::Write => DmaDir::ToDevice,
        };
        match payload.map(table, dma_dir) {
            Ok(map) => {
                let segments = map.segments();
                self.segments = Segments::Mapped(map);
                Ok(segments)
            }
            Err((table, e)) => {
                self.segments = Segments::Unmapped(table);
                Err(e)
            }
        }
    }

    /// Covers the mapped data with the memory region, under a new key, which becomes valid
    /// when the request is sent.
    fn register(&mut self) -> Result {
        match &self.segments {
            Segments::Mapped(map) => self.mr.map(map, REGISTRATION_UNIT)?,
            _ => return Err(EINVAL),
        }
        self.registered = true;
        Ok(())
    }

    /// Maps a sink in place of data that were unmapped, and describes it by the memory region,
    /// under the key, address and length of the data.
    pub(super) fn map_sink(&mut self) -> Result {
        let changing = core::mem::replace(&mut self.segments, Segments::Changing);
        let Segments::Unmapped(table) = changing else {
            return Err(EIO);
        };
        // CAST: Only the offset in the page counts.
        let (start, len) = (self.mr.iova() as usize, usize::try_from(self.mr.length())?);
        match table.map_sink(start, len) {
            Ok(map) => {
                let described = self.mr.replace(&map, REGISTRATION_UNIT);
                self.segments = Segments::Mapped(map);
                described?;
                self.registered = true;
                Ok(())
            }
            Err((table, e)) => {
                self.segments = Segments::Unmapped(table);
                Err(e)
            }
        }
    }

    /// Appends the registration of a sink, to which the server may write.
    pub(super) fn build_sink<'a>(&'a self, chain: &mut SendChain<'a>) -> Result {
        chain.reg_mr(&self.mr, Access::RemoteWrite)
    }

    /// Builds the chain of work requests that sends `header`, and the data of a WRITE behind it, as
    /// a message.
    pub(super) fn build_eager<'a>(
        &'a self,
        chain: &mut SendChain<'a>,
        dir: Direction,
        header: Sge<'a>,
        imm: u32,
    ) -> Result {
        match (&self.segments, dir) {
            (Segments::Mapped(map), Direction::Write) => chain.send_imm_before(header, map, imm),
            (Segments::Mapped(_), Direction::Read) => {
                chain.reg_mr(&self.mr, Access::RemoteWrite)?;
                chain.send_imm(&[header], imm)
            }
            _ => chain.send_imm(&[header], imm),
        }
    }

    /// Builds the chain of work requests that writes the data and `header`, or the header
    /// alone, to the server's memory.
    pub(super) fn build<'a>(
        &'a self,
        chain: &mut SendChain<'a>,
        route: &RequestRoute,
        header: Sge<'a>,
        imm: u32,
    ) -> Result {
        let to = Remote {
            addr: route.addr,
            rkey: route.rkey,
        };
        match (&self.segments, route.dir) {
            (Segments::Mapped(_), Direction::Read) => {
                chain.reg_mr(&self.mr, Access::RemoteWrite)?;
                // Data of the reply will come first in the chunk.
                let addr = route.addr.checked_add(u64::from(route.len)).ok_or(EINVAL)?;
                chain.rdma_write_imm(&[header], Remote { addr, ..to }, imm)
            }
            (Segments::Mapped(_), Direction::Write) if self.registered => {
                chain.reg_mr(&self.mr, Access::Local)?;
                chain.rdma_write_imm(&[self.mr.sge()?, header], to, imm)
            }
            (Segments::Mapped(map), Direction::Write) => {
                chain.rdma_write_imm_behind(map, header, to, imm)
            }
            _ => chain.rdma_write_imm(&[header], to, imm),
        }
    }

    /// Appends the invalidation of the key.
    pub(super) fn build_invalidation<'a>(&'a self, chain: &mut SendChain<'a>) -> Result {
        chain.local_inv(self.mr.rkey())
    }

    /// Unmaps the data, if there are any. The key is not valid any more.
    pub(super) fn unmap(&mut self) {
        self.segments = match core::mem::replace(&mut self.segments, Segments::Changing) {
            Segments::Mapped(map) => Segments::Unmapped(map.unmap()),
            other => other,
        };
        self.registered = false;
    }
}
