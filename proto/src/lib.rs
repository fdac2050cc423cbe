// SPDX-License-Identifier: GPL-2.0-only

//! Wire formats, text grammars and pure decisions of RTRS and RNBD.
//!
//! The crate works on plain values: it neither allocates nor blocks and uses no kernel
//! object. The modules link it; on a development host cargo tests and fuzzes it.
//!
//! Input of a peer or a user is parsed once, into a type that cannot hold an invalid value.
//! A parser that refuses its input returns the reason ([`error::WireError`],
//! [`text::map_device::OptionError`]).
//!
//! - [`wire`]: layouts of the messages. C headers:
//!   [`drivers/infiniband/ulp/rtrs/rtrs-pri.h`](srctree/drivers/infiniband/ulp/rtrs/rtrs-pri.h),
//!   [`drivers/block/rnbd/rnbd-proto.h`](srctree/drivers/block/rnbd/rnbd-proto.h).
//! - [`imm`]: the 32 bits that travel with an RDMA write or send.
//! - [`text`]: contents of sysfs files.
//! - Each of the other modules makes one decision: it takes an event and returns what to do.

// Kbuild passes `no_std` itself and sets every `CONFIG_*` as a `cfg`.
#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]
// The documentation of this tree includes private items.
#![allow(rustdoc::private_intra_doc_links)]

pub mod async_event;
mod atomic;
pub mod auth;
pub mod block_command;
pub mod chunk_state;
pub mod claimed_addr;
pub mod client_flushes;
pub mod device_caps;
pub mod error;
pub mod export_rules;
pub mod failover_limit;
pub mod glob;
pub mod heartbeat;
pub mod imm;
pub mod imm_support;
pub mod latency;
pub mod limits;
pub mod log_budget;
pub mod mpath_policy;
pub mod op_set_state;
pub mod op_state;
pub mod openers;
pub mod path_memory;
pub mod path_state;
pub mod peer_group;
pub mod quota;
pub mod reconnect_backoff;
pub mod recv_window;
pub mod reject_reason;
pub mod reopen_failure;
pub mod request_timeout;
pub mod resend_order;
pub mod response_credits;
pub mod search_path;
pub mod send_queue_size;
pub mod session_identity;
pub mod session_settings;
pub mod session_state;
pub mod sq_credits;
pub mod stats;
pub mod subnet;
pub mod tag_share;
pub mod text;
pub mod wire;
