// SPDX-License-Identifier: GPL-2.0-only

//! What single device drivers lack or do wrong: one file for each, with the reason and the
//! place to turn it off.

pub(super) mod inline_imm;
pub(super) mod link_down;
pub(super) mod rxe;
