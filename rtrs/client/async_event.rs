// SPDX-License-Identifier: GPL-2.0-only

//! What the server of a session has to tell, which the block driver asks for.

use super::session::Session;
use super::session::ASYNC_EVENT;
use crate::impl_has_owned_work;
use crate::kernel_ext::work;
use crate::kernel_ext::work::OwnedWorkItem;
use kernel::sync::Arc;
use kernel::time::Delta;
use rnbd_proto::async_event::EventCount;

/// Between two times that the server is asked, at least: it may have news all the time.
const PAUSE: Delta = Delta::from_secs(1);

impl Session {
    /// Calls [`super::Events::news`] from now on when the server has other news than
    /// `from`, with which it greeted; never if it does not tell any.
    ///
    /// To be called after each greeting, and before the server is asked for what the
    /// news may be about.
    pub fn listen(&self, from: Option<EventCount>) {
        self.listener.start(from);
    }

    /// A heartbeat of the server carried `news`. In any context.
    pub(super) fn hear(self: &Arc<Self>, news: EventCount) {
        if self.listener.receive(news) {
            work::schedule_in::<_, ASYNC_EVENT>(self, PAUSE);
        }
    }
}

impl_has_owned_work! { impl HasOwnedWork<ASYNC_EVENT> for Session { self.news } }

impl OwnedWorkItem<ASYNC_EVENT> for Session {
    fn run(this: Arc<Self>) {
        let Some(due) = this.listener.pending() else {
            return;
        };
        if this.events.async_event(&this).is_ok() {
            this.listener.handled(due);
        }
    }
}
