// SPDX-License-Identifier: GPL-2.0-only

//! Requests on their way: receive, invalidate the client's key, dispatch to the
//! service, respond.

pub(super) mod dispatch;
pub(super) mod eager;
pub(super) mod invalidate;
pub(super) mod recv;
pub(super) mod respond;
