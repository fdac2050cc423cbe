// SPDX-License-Identifier: GPL-2.0-only

//! Requests on their way: receive, submit, dispatch to the service, respond.

pub(super) mod dispatch;
pub(super) mod recv;
pub(super) mod respond;
pub(super) mod submit;
