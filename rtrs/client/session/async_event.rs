// SPDX-License-Identifier: GPL-2.0-only

//! Asynchronous events of the server, which the block driver then asks about.

use kernel::{
    sync::Arc,
    time::Delta, //
};

use rnbd_proto::async_event::EventCount;

use crate::{
    impl_has_owned_work,
    kernel_ext::work::{
        self,
        OwnedWorkItem, //
    }, //
};

use super::{
    Session,
    ASYNC_EVENT, //
};

/// Delay before the server is asked, as it may have new events all the time.
const DELAY: Delta = Delta::from_secs(1);

impl Session {
    /// Calls [`Events::async_event`](super::Events::async_event) from now on when the server
    /// sends another event count than `count`, which was in its SESS_INFO_RSP; never if it had
    /// none.
    ///
    /// To be called after each exchange of versions, and before the server is asked about devices.
    pub fn listen(&self, count: Option<EventCount>) {
        self.listener.start(count);
    }

    /// Handles the event count of a heartbeat. In any context.
    pub(super) fn note_event_count(self: &Arc<Self>, count: EventCount) {
        if self.listener.receive(count) {
            work::schedule_in::<_, ASYNC_EVENT>(self, DELAY);
        }
    }
}

impl_has_owned_work! { impl HasOwnedWork<ASYNC_EVENT> for Session { self.event_work } }

impl OwnedWorkItem<ASYNC_EVENT> for Session {
    fn run(this: Arc<Self>) {
        let Some(event) = this.listener.pending() else {
            return;
        };
        if this.events.clone().async_event(&this).is_ok() {
            this.listener.handled(event);
        }
    }
}
