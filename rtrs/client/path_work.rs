// SPDX-License-Identifier: GPL-2.0-only

//! What a path does in the background: it takes a lost link down, connects again,
//! and sends heartbeats.

use super::link::beat_interval;
use super::link::Link;
use super::path::Path;
use super::path::BEAT;
use super::path::CONNECT;
use super::path::LOST;
use crate::kernel_ext::work;
use crate::kernel_ext::work::OwnedWorkItem;
use kernel::sync::rcu;
use kernel::sync::Arc;
use rnbd_proto::path_state::ClientState;
use rnbd_proto::session_state::PathAvailability;

impl OwnedWorkItem<LOST> for Path {
    fn run(this: Arc<Self>) {
        let mut work = this.work.lock();
        let dead = {
            let section = rcu::read_lock();
            let link = this.link.get(&section);
            link.is_some_and(|link| !link.shared.is_alive())
        };
        if !dead {
            return;
        }
        let lost = this.enter_from(ClientState::Connected, ClientState::Reconnecting);
        if lost.is_err() {
            return;
        }
        let (next, standing) = this.next_attempt(&mut work);
        this.take_down(standing);
        this.plan(next);
    }
}

impl OwnedWorkItem<CONNECT> for Path {
    fn run(this: Arc<Self>) {
        let connected = {
            let mut work = this.work.lock();
            if this.is_given_up(&mut work) {
                this.session.path_changed(&this, PathAvailability::Down);
                this.plan(None);
                return;
            }
            this.connect_again(&mut work).is_ok()
        };
        if connected && this.bring_in() {
            this.settled();
        }
    }
}

impl OwnedWorkItem<BEAT> for Path {
    fn run(this: Arc<Self>) {
        let goes_on = {
            let section = rcu::read_lock();
            this.link.get(&section).is_some_and(Link::beat)
        };
        if goes_on {
            work::schedule_in::<_, BEAT>(&this, beat_interval());
        }
    }
}
