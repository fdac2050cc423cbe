// SPDX-License-Identifier: GPL-2.0-only

//! Teardown of a path, in the only order that is safe.

use kernel::sync::{
    rcu::synchronize_rcu,
    Arc, //
};

use rnbd_proto::path_state::ServerState;

use crate::{
    kernel_ext::work::{
        self,
        OwnedWorkItem, //
    },
    pr_info_ratelimited, //
};

use super::path::{
    Path,
    TEARDOWN,
    TICK, //
};

impl OwnedWorkItem<TEARDOWN> for Path {
    /// Runs once: the path is closing, so no thread schedules it again.
    fn run(this: Arc<Self>) {
        let (links, data, orders) = (this.links(), this.data(), this.session().orders());

        work::stop_sync::<_, TICK>(&this);
        // Threads that saw the path open add connections under a lock. Once that was free, no
        // connection is added. A set-up that waits for connections, in a completion, stops to.
        links.stop_adding();
        // So does a set-up that waits for earlier paths.
        this.registry().path_closing();
        // Disconnects, waits for the hardware to return all work requests and for their
        // completions, and destroys the connections. Chunks still in use are with the service or
        // on their way to it.
        links.revoke();
        // Waits for readers and writers of the files; none of them waits for this.
        this.remove_dirs();
        // No request arrives any more. Those that wait for a request of another path are taken
        // back, the others end by themselves.
        orders.withdraw(|request| Arc::ptr_eq(request.conn().path(), &this));
        data.wait_for_requests(&*this);
        orders.wait_for_serve();
        data.stop_queues();

        if this.service().is_some() {
            this.session().path_down(&this.ends().peer());
        }
        pr_info_ratelimited!(this => "{this}: closed\n");
        this.enter(ServerState::Closed);
        // Other sessions may use the name from here on.
        this.registry().remove(&this);
        // Requests that ended a moment ago may still be dropping references.
        synchronize_rcu();
        // Dropping `this` frees the chunks' regions, their memory and the PD.
    }
}
