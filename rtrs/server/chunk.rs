// SPDX-License-Identifier: GPL-2.0-only

//! Chunks: the memory that a client writes its requests to, and what a request needs that comes in
//! a message.
//!
//! A chunk is one operation that is posted repeatedly: to register its memory, to invalidate the
//! client's key, and to send the response. The owner of its [`HeldOp`] owns the chunk and the
//! request in it.

mod response;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    chunk_state::{
        ChunkState,
        RequestLocation, //
    },
    device_caps::ChunkPages,
    error::WireError,
    limits::{
        BufId,
        ServerLimits,
        HEADER_SIZE, //
    },
    wire::rtrs::{
        self,
        ConnAccept,
        DataTransfer,
        NextKey,
        SgDesc,
        MAX_REQUEST_MSG_SIZE,
        RKEY_RSP_SIZE, //
    }, //
};

use crate::{
    kernel_ext::pages::Pages,
    rdma::{
        dma::{
            DmaBuf,
            DmaDir, //
        },
        dma_pages::DmaPages,
        mr::{
            Access,
            Mr, //
        },
        op::{
            HeldOp,
            Op, //
        },
        op_set::OpSet,
        pd::Pd,
        wr::SendChain, //
    }, //
};

use super::eager_buf::{
    self,
    EagerBuf, //
};

pub(super) use self::response::Response;

/// A chunk of a path, and whether it holds a request.
pub(super) struct ChunkSlot {
    op: Arc<Op<Chunk>>,
    state: ChunkState,
}

/// The purpose for which a chunk is posted.
#[derive(Clone, Copy)]
pub(super) enum Stage {
    /// Registers its memory for the first time.
    Register,
    /// Invalidates the client's key, for the request at [`Chunk::location`].
    Invalidate,
    /// Sends the response.
    Respond,
}

/// The memory and keys of a chunk, and the request in it.
pub(super) struct Chunk {
    id: BufId,
    stage: Stage,
    /// Where the request came in that was last written to it.
    location: RequestLocation,
    /// The connection in whose queue the memory was last registered, after set-up.
    home: Option<u16>,
    /// The request, as [`Chunk::read`] found it, or as it came in a message.
    request: rtrs::RequestMsg,
    /// Whether the request came in a message, so that the client's key stayed valid.
    eager: bool,
    /// The user message, copied to memory that the client cannot write; the rest is unused.
    user: KVec<u8>,
    user_len: usize,
    /// The new key as sent to the client, if keys are sent.
    key: Option<DmaBuf>,
    /// The data for the response to an eager READ, if requests are eager. No client has a key.
    reply: Option<DmaPages>,
    // Dropped before the memory that it describes.
    mr: Mr,
    mem: DmaPages,
}

impl ChunkSlot {
    /// Creates the chunks of a path. None is registered yet.
    pub(super) fn for_path(
        pd: &Arc<Pd>,
        limits: ServerLimits,
        offer: &ConnAccept,
    ) -> Result<KVec<Self>> {
        // Checked when the first connection was accepted.
        let region = pd
            .attrs()
            .chunk_pages(limits.chunk_size())
            .map_err(|_| EOPNOTSUPP)?;
        let mut slots = KVec::with_capacity(limits.queue_depth().get().into(), GFP_KERNEL)?;
        for id in limits.queue_depth().buffers() {
            let slot = Self {
                op: Op::new(Chunk::new(pd, limits, region, offer, id)?)?,
                state: ChunkState::new(),
            };
            slots.push(slot, GFP_KERNEL)?;
        }
        Ok(slots)
    }

    /// Creates the set of the operations of `slots`, for queue pairs to keep.
    pub(super) fn op_set(slots: &[Self]) -> Result<Arc<OpSet<Chunk>>> {
        let mut ops = KVec::with_capacity(slots.len(), GFP_KERNEL)?;
        for slot in slots {
            ops.push(slot.op.clone(), GFP_KERNEL)?;
        }
        OpSet::new(ops)
    }

    /// Takes the chunk. `None` while it is posted or another owner has it.
    pub(super) fn begin(&self) -> Option<HeldOp<Chunk>> {
        self.op.begin()
    }

    /// Returns the state that orders the client's use of the chunk.
    pub(super) fn state(&self) -> &ChunkState {
        &self.state
    }

    /// Returns the description that is sent to the client; `EBUSY` while the chunk is in use.
    pub(super) fn describe(&self) -> Result<SgDesc> {
        let chunk = self.begin().ok_or(EBUSY)?;
        let len = u32::try_from(chunk.mr.length())?;
        SgDesc::new(chunk.mr.iova(), chunk.mr.rkey(), len).map_err(|_| EINVAL)
    }
}

/// Returns the bytes of memory that a chunk takes, in whole pages.
pub(super) fn memory(limits: ServerLimits) -> usize {
    Pages::memory(limits.chunk_size() as usize)
}

impl Chunk {
    fn new(
        pd: &Arc<Pd>,
        limits: ServerLimits,
        region: ChunkPages,
        offer: &ConnAccept,
        id: BufId,
    ) -> Result<Self> {
        let pages = Pages::new(limits.chunk_size() as usize)?;
        let mem = DmaPages::new(pd, pages, DmaDir::Both)?;
        let mut mr = Mr::new(pd, region.count)?;
        mr.map(mem.mapped(), region.size)?;
        let key = match offer.next_key() {
            NextKey::Sent => Some(DmaBuf::new(pd, RKEY_RSP_SIZE, DmaDir::ToDevice)?),
            NextKey::Same | NextKey::Stepped => None,
        };
        let reply = match offer.eager() {
            true => Some(eager_buf::data_pages(pd, DmaDir::ToDevice)?),
            false => None,
        };
        Ok(Self {
            id,
            stage: Stage::Register,
            location: RequestLocation {
                connection: 0,
                offset: 0,
            },
            home: None,
            request: rtrs::RequestMsg::EMPTY,
            eager: false,
            user: KVec::zeroed(HEADER_SIZE as usize, GFP_KERNEL)?,
            user_len: 0,
            key,
            reply,
            mr,
            mem,
        })
    }

    /// Returns its id, which is also the message id of the request in it.
    #[inline]
    pub(super) fn id(&self) -> BufId {
        self.id
    }

    /// Returns the purpose for which it was last posted.
    #[inline]
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Returns where the request in it came in.
    #[inline]
    pub(super) fn location(&self) -> RequestLocation {
        self.location
    }

    /// Records that a request was written to it, and where it came in.
    pub(super) fn set_location(&mut self, location: RequestLocation) {
        self.location = location;
        self.eager = false;
    }

    /// Takes over an eager request, but for the data of a WRITE.
    pub(super) fn set_eager_request(&mut self, buf: &EagerBuf) {
        self.request = *buf.request();
        self.eager = true;
        self.user_len = self.request.user_len();
        if let Some(user) = self.user.get_mut(..self.user_len) {
            buf.copy_user(user);
        }
    }

    /// Returns whether the request in it is eager, and so was read when it arrived.
    #[inline]
    pub(super) fn is_eager(&self) -> bool {
        self.eager
    }

    /// Returns the connection in whose queue the memory was last registered, after set-up.
    #[inline]
    pub(super) fn home(&self) -> Option<u16> {
        self.home
    }

    /// Returns the request.
    #[inline]
    pub(super) fn request(&self) -> &rtrs::RequestMsg {
        &self.request
    }

    /// Returns the user message of the request.
    #[inline]
    pub(super) fn user(&self) -> &[u8] {
        self.user.get(..self.user_len).unwrap_or_default()
    }

    /// Returns the memory of the data, unless they are in a [receive](super::receive).
    #[inline]
    pub(super) fn pages(&self) -> &Pages {
        self.data().pages()
    }

    /// Returns the same with its mapping.
    #[inline]
    fn data(&self) -> &DmaPages {
        match (self.request.transfer(), &self.reply) {
            (DataTransfer::InResponse { .. }, Some(reply)) => reply,
            _ => &self.mem,
        }
    }

    /// Sets the stage before a post.
    pub(super) fn set_stage(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// Appends the registration of the memory.
    pub(super) fn build_registration<'a>(&'a self, chain: &mut SendChain<'a>) -> Result {
        chain.reg_mr(&self.mr, Access::RemoteWrite)
    }

    /// Appends the invalidation of the client's key.
    pub(super) fn build_invalidation<'a>(&'a self, chain: &mut SendChain<'a>) -> Result {
        chain.local_inv(self.mr.rkey())
    }

    /// Copies and parses the request at [`Chunk::location`]. Reads the memory only once, as a
    /// client that has a key may change it at any time.
    pub(super) fn read(&mut self) -> core::result::Result<(), WireError> {
        let offset = self.location.offset;
        let beyond = |_| WireError::Offset(offset);
        let size = u32::try_from(self.mem.pages().len()).map_err(|_| WireError::Offset(offset))?;
        let range = rtrs::RequestMsg::message_range(offset, size)?;
        self.mem.sync_for_cpu(0, range.end);

        let (mut message, room) = ([0; MAX_REQUEST_MSG_SIZE], MAX_REQUEST_MSG_SIZE);
        let message = message.get_mut(..range.len());
        let message = message.ok_or(no_room(range.len(), room))?;
        self.mem
            .pages()
            .read_at(range.start, message)
            .map_err(beyond)?;
        let request = rtrs::RequestMsg::parse(message, offset)?;

        let (range, room) = (request.user_range(), self.user.len());
        let user = self.user.get_mut(..range.len());
        let user = user.ok_or(no_room(range.len(), room))?;
        self.mem
            .pages()
            .read_at(range.start, user)
            .map_err(beyond)?;
        self.user_len = range.len();
        self.request = request;
        Ok(())
    }
}

fn no_room(need: usize, got: usize) -> WireError {
    WireError::NoRoom { need, got }
}
