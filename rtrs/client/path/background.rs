// SPDX-License-Identifier: GPL-2.0-only

//! Background work of a path: taking a lost link down, reconnecting, heartbeats.

use kernel::sync::{
    rcu,
    Arc, //
};

use crate::{
    client::link::Link,
    common::heartbeat,
    kernel_ext::work::{
        self,
        OwnedWorkItem, //
    }, //
};

use super::{
    Path,
    CONNECT,
    HEARTBEAT,
    LOST, //
};

impl OwnedWorkItem<LOST> for Path {
    fn run(this: Arc<Self>) {
        this.handle_lost_link();
    }
}

impl OwnedWorkItem<CONNECT> for Path {
    fn run(this: Arc<Self>) {
        this.planned_reconnect();
    }
}

impl OwnedWorkItem<HEARTBEAT> for Path {
    fn run(this: Arc<Self>) {
        let alive = {
            let section = rcu::read_lock();
            this.link(&section).is_some_and(Link::heartbeat)
        };
        if alive {
            work::schedule_in::<_, HEARTBEAT>(&this, heartbeat::INTERVAL);
        }
    }
}
