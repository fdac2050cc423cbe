// SPDX-License-Identifier: GPL-2.0-only

//! Wire formats, text grammars and pure decisions of RTRS and RNBD.
//!
//! Everything in here works on plain values: it neither allocates, nor blocks,
//! nor knows a kernel object. The modules link it, and on a development host it
//! is tested, property-tested and fuzzed by cargo.
//!
//! What a peer or a user sends is turned once into a type that cannot hold an
//! invalid value; what is refused is refused with a reason ([`error::WireError`],
//! [`text::map_device::OptionError`]).
//!
//! - [`wire`]: message layouts. C headers:
//!   [`drivers/infiniband/ulp/rtrs/rtrs-pri.h`](srctree/drivers/infiniband/ulp/rtrs/rtrs-pri.h),
//!   [`drivers/block/rnbd/rnbd-proto.h`](srctree/drivers/block/rnbd/rnbd-proto.h).
//! - [`imm`]: the 32 bits that travel with an RDMA write or send.
//! - [`text`]: what is written to and read from sysfs.
//! - The other modules decide: each takes what happened and says what to do.

// Kbuild passes `no_std` itself and sets every `CONFIG_*` as a `cfg`.
#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]

pub mod async_event;
mod atomic;
pub mod block_command;
pub mod chunk_state;
pub mod device_caps;
pub mod error;
pub mod export_rules;
pub mod glob;
pub mod heartbeat;
pub mod imm;
pub mod latency;
pub mod limits;
pub mod mpath_policy;
pub mod op_state;
pub mod openers;
pub mod path_state;
pub mod quota;
pub mod reconnect_backoff;
pub mod request_timeout;
pub mod resend_order;
pub mod search_path;
pub mod session_state;
pub mod sq_credits;
pub mod stats;
pub mod subnet;
pub mod text;
pub mod wire;
