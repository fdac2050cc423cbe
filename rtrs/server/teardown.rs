// SPDX-License-Identifier: GPL-2.0-only

//! The end of a path, in the one order that is safe.

use kernel::sync::rcu::synchronize_rcu;
use kernel::sync::Arc;
use kernel::time::Delta;
use kernel::time::Instant;
use kernel::time::Monotonic;
use kernel::time::NSEC_PER_SEC;
use rnbd_proto::path_state::ServerState;

use super::path::Path;
use super::path::TEARDOWN;
use super::path::TICK;
use crate::kernel_ext::work;
use crate::kernel_ext::work::OwnedWorkItem;
use crate::pr_info_ratelimited;
use crate::pr_warn_ratelimited;

/// How often it is said that a path has requests left.
const PERIOD: Delta = Delta::from_secs(30);

impl OwnedWorkItem<TEARDOWN> for Path {
    /// Runs once: the path is closing, so nobody schedules it again.
    fn run(this: Arc<Self>) {
        work::stop_sync::<_, TICK>(&this);
        // Who saw the path open adds connections under this lock; nobody does
        // any more once it was free.
        drop(this.joining.lock());
        // A set-up that waits for its connections, or for paths before it, within
        // a completion.
        this.gathered.complete_all();
        this.shared.stop_waiting();
        // Disconnects, waits for the hardware to give back all that was posted
        // and for the completions that run, and destroys the connections. What
        // is left of the chunks is with the service.
        this.links.revoke();
        // Waits for readers and writers of the files; none of them waits for this.
        // Not under the lock, though nobody else takes it any more.
        let dir = this.dir.lock().take();
        drop(dir);
        // Nothing arrives any more. What waits for a request of another path is
        // taken back, all else ends by itself.
        this.session.lanes.withdraw(&this);
        this.await_requests();
        this.session.lanes.await_task();
        for id in 0..this.count() {
            if let Some(inbox) = this.inbox(id) {
                inbox.stop();
            }
        }

        if this.service.as_ref().is_some() {
            this.session.path_down(&this.ends().peer());
        }
        pr_info_ratelimited!("{this}: closed\n");
        this.enter(ServerState::Closed);
        // The name of the session may be used by others from here on.
        this.shared.remove(&this);
        // Requests that ended a moment ago may still be dropping references.
        synchronize_rcu();
        // With `this` go the chunks' regions, their memory and the PD.
    }
}

impl Path {
    /// Waits until every chunk has been idle once. As nothing arrives any more
    /// they stay so. Says from time to time that there are requests left.
    fn await_requests(&self) {
        let Some(slots) = self.slots.as_ref() else {
            return;
        };
        let began = Instant::<Monotonic>::now();
        for (index, slot) in slots.iter().enumerate() {
            while slot.op.begin().is_none() {
                if !self.returned.wait_timeout(PERIOD) {
                    let seconds = began.elapsed().as_nanos() / NSEC_PER_SEC;
                    let rest = slots.get(index..).unwrap_or_default();
                    let left = rest.iter().filter(|slot| slot.op.begin().is_none()).count();
                    pr_warn_ratelimited!(
                        "{self}: still waiting for requests, {left} left, for {seconds} s\n"
                    );
                }
            }
        }
    }
}
