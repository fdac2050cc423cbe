// SPDX-License-Identifier: GPL-2.0-only

//! Set-up of paths: their connections, the exchange of INFO messages, their chunks.

mod accept;
pub(super) mod bring_up;
mod info_req;
mod info_rsp;
mod qp_config;

pub(super) use accept::{
    accept,
    rejection, //
};
