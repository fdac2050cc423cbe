// SPDX-License-Identifier: GPL-2.0-only

//! What the server of a session has to tell, which the block driver asks for.

use super::session::Session;
use super::session::NEWS;
use crate::impl_has_task;
use crate::support::task;
use crate::support::task::TaskItem;
use kernel::sync::Arc;
use kernel::time::Delta;
use rnbd_proto::news::News;

/// Between two times that the server is asked, at least: it may have news all the time.
const PAUSE: Delta = Delta::from_secs(1);

impl Session {
    /// Calls [`super::Events::news`] from now on when the server has other news than
    /// `from`, with which it greeted; never if it does not tell any.
    ///
    /// To be called after each greeting, and before the server is asked for what the
    /// news may be about.
    pub fn listen(&self, from: Option<News>) {
        self.listener.begin(from);
    }

    /// A heartbeat of the server carried `news`. In any context.
    pub(super) fn hear(self: &Arc<Self>, news: News) {
        if self.listener.hear(news) {
            task::schedule_in::<_, NEWS>(self, PAUSE);
        }
    }
}

impl_has_task! { impl HasTask<NEWS> for Session { self.news } }

impl TaskItem<NEWS> for Session {
    fn run(this: Arc<Self>) {
        let Some(due) = this.listener.due() else {
            return;
        };
        if this.events.news(&this).is_ok() {
            this.listener.done(due);
        }
    }
}
