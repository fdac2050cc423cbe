// SPDX-License-Identifier: GPL-2.0-only

//! What becomes of the I/O of a session as its paths come and go.
//!
//! ```text
//!            a path came up, and the server knows the devices again
//!          +------------------------------------------------------+
//!          v                                                      |
//!        Open -- the last path went, others will connect --> Held
//!          |                                                   |  ^
//!          | the last path went, nobody will connect           |  | a path
//!          |                                                   v  | will connect
//!          +----------------------------------------------> Failing
//! ```
//!
//! A server forgets the devices of a session that has no path. So when the first
//! path is up again they are opened again before I/O goes on.
//!
//! I/O does not wait without end: after a time that users set it fails, too, until
//! the devices are open again. Paths that come up and go again meanwhile do not change
//! that.

/// What to do with I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Send it.
    Live,
    /// Keep it until a path is up and the devices are open again.
    Queueing,
    /// Fail it: no path will come up by itself, or not in time.
    Failing,
}

impl SessionState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Live, Self::Queueing, Self::Failing];
}

/// What a path can do for its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathAvailability {
    /// Carries I/O.
    Up,
    /// Is being connected, or will be.
    Connecting,
    /// Neither; only somebody's order changes that.
    Down,
}

/// Identifies a time between two total losses of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u32);

impl Epoch {
    /// As a number that is not 0.
    pub const fn as_nonzero(self) -> u64 {
        (1 << 32) | self.0 as u64
    }
}

/// Account of the paths of one session.
///
/// # Invariants
///
/// `up` and `trying` are the numbers of paths with that standing.
#[derive(Debug)]
pub struct SessionTracker {
    up: u32,
    connecting: u32,
    /// Whether the server knows the devices.
    devices_open: bool,
    /// Whether I/O has waited long enough since the server knew the devices.
    overdue: bool,
    epoch: u32,
}

impl Default for SessionTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl SessionTracker {
    /// A session without paths.
    pub const fn new() -> Self {
        Self {
            up: 0,
            connecting: 0,
            devices_open: false,
            overdue: false,
            epoch: 0,
        }
    }

    fn count(&mut self, standing: PathAvailability) -> Option<&mut u32> {
        match standing {
            PathAvailability::Up => Some(&mut self.up),
            PathAvailability::Connecting => Some(&mut self.connecting),
            PathAvailability::Down => None,
        }
    }

    /// A path changes its standing; new ones come from `Idle`, and go there.
    pub fn set_availability(&mut self, standing: &mut PathAvailability, to: PathAvailability) {
        let had_paths = self.up > 0;
        if let Some(count) = self.count(*standing) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.count(to) {
            *count = count.saturating_add(1);
        }
        *standing = to;
        if had_paths && self.up == 0 {
            self.devices_open = false;
            self.epoch = self.epoch.wrapping_add(1);
        }
    }

    /// What to do with I/O.
    pub const fn state(&self) -> SessionState {
        match (self.up, self.connecting) {
            (0, 0) => SessionState::Failing,
            _ if self.devices_open => SessionState::Live,
            _ if self.overdue => SessionState::Failing,
            _ => SessionState::Queueing,
        }
    }

    /// Whether a path is up.
    pub const fn is_up(&self) -> bool {
        self.up > 0
    }

    /// The time in which the devices must be opened, if that is due.
    pub const fn reopen_due(&self) -> Option<Epoch> {
        if self.up > 0 && !self.devices_open {
            Some(Epoch(self.epoch))
        } else {
            None
        }
    }

    /// The present time.
    pub const fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    /// The present time, if the server knows the devices in it.
    pub const fn open_epoch(&self) -> Option<Epoch> {
        if self.devices_open {
            Some(Epoch(self.epoch))
        } else {
            None
        }
    }

    /// I/O has waited long enough; it fails until the devices are open again.
    pub fn expire(&mut self) {
        self.overdue = !self.devices_open;
    }

    /// The server was told in `epoch`. False when all paths were lost since.
    pub fn mark_reopened(&mut self, epoch: Epoch) -> bool {
        let still = self.up > 0 && epoch.0 == self.epoch;
        if still {
            self.devices_open = true;
            self.overdue = false;
        }
        still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_flows_while_a_path_is_up_and_waits_while_one_will_be() {
        let mut tracker = SessionTracker::new();
        let (mut a, mut b) = (PathAvailability::Down, PathAvailability::Down);
        assert_eq!(tracker.state(), SessionState::Failing);
        tracker.set_availability(&mut a, PathAvailability::Connecting);
        assert_eq!(tracker.state(), SessionState::Queueing);
        tracker.set_availability(&mut a, PathAvailability::Up);
        let epoch = tracker.reopen_due().expect("devices are to be opened");
        assert_eq!(
            tracker.state(),
            SessionState::Queueing,
            "before the devices are open"
        );
        assert!(tracker.mark_reopened(epoch));
        assert_eq!(tracker.state(), SessionState::Live);

        tracker.set_availability(&mut b, PathAvailability::Up);
        assert_eq!(tracker.reopen_due(), None, "the server knows the devices");
        tracker.set_availability(&mut a, PathAvailability::Connecting);
        assert_eq!(tracker.state(), SessionState::Live, "one path is left");
        tracker.set_availability(&mut b, PathAvailability::Connecting);
        assert_eq!(tracker.state(), SessionState::Queueing);
        tracker.set_availability(&mut a, PathAvailability::Down);
        tracker.set_availability(&mut b, PathAvailability::Down);
        assert_eq!(tracker.state(), SessionState::Failing);
    }

    #[test]
    fn devices_opened_before_a_total_loss_do_not_count_after_it() {
        let mut tracker = SessionTracker::new();
        let mut path = PathAvailability::Down;
        tracker.set_availability(&mut path, PathAvailability::Up);
        let early = tracker.reopen_due().expect("devices are to be opened");
        tracker.set_availability(&mut path, PathAvailability::Connecting);
        assert!(!tracker.mark_reopened(early), "no path");
        tracker.set_availability(&mut path, PathAvailability::Up);
        assert!(!tracker.mark_reopened(early), "of another time");
        assert_eq!(tracker.state(), SessionState::Queueing);
        let now = tracker.reopen_due().expect("devices are to be opened");
        assert!(tracker.mark_reopened(now));
        assert_eq!(tracker.state(), SessionState::Live);
    }

    #[test]
    fn io_that_waited_long_enough_fails_until_the_devices_are_open() {
        let mut tracker = SessionTracker::new();
        let mut path = PathAvailability::Down;
        tracker.set_availability(&mut path, PathAvailability::Up);
        assert!(tracker.mark_reopened(tracker.epoch()));
        tracker.expire();
        assert_eq!(tracker.state(), SessionState::Live, "nothing waits");
        tracker.set_availability(&mut path, PathAvailability::Connecting);
        assert_eq!(tracker.state(), SessionState::Queueing);
        tracker.expire();
        assert_eq!(tracker.state(), SessionState::Failing);
        tracker.set_availability(&mut path, PathAvailability::Up);
        assert_eq!(
            tracker.state(),
            SessionState::Failing,
            "the devices are to be opened"
        );
        tracker.set_availability(&mut path, PathAvailability::Connecting);
        assert_eq!(
            tracker.state(),
            SessionState::Failing,
            "they were not opened"
        );
        tracker.set_availability(&mut path, PathAvailability::Up);
        assert!(tracker.mark_reopened(tracker.epoch()));
        assert_eq!(tracker.state(), SessionState::Live);
        tracker.set_availability(&mut path, PathAvailability::Connecting);
        assert_eq!(tracker.state(), SessionState::Queueing, "waits anew");
    }

    #[test]
    fn io_fails_in_the_end_where_paths_come_up_and_the_devices_cannot_be_opened() {
        let mut tracker = SessionTracker::new();
        let mut path = PathAvailability::Connecting;
        tracker.set_availability(&mut path, PathAvailability::Up);
        assert_eq!(tracker.state(), SessionState::Queueing);
        tracker.expire();
        assert_eq!(
            tracker.state(),
            SessionState::Failing,
            "though a path is up"
        );
        assert!(
            tracker.reopen_due().is_some(),
            "and that is still to be done"
        );
    }

    #[test]
    fn the_devices_are_known_in_the_time_in_which_they_were_opened() {
        let mut tracker = SessionTracker::new();
        let mut path = PathAvailability::Down;
        tracker.set_availability(&mut path, PathAvailability::Up);
        assert_eq!(tracker.open_epoch(), None);
        let early = tracker.epoch();
        assert!(tracker.mark_reopened(early));
        assert_eq!(tracker.open_epoch(), Some(early));
        tracker.set_availability(&mut path, PathAvailability::Connecting);
        tracker.set_availability(&mut path, PathAvailability::Up);
        assert_eq!(tracker.open_epoch(), None);
        assert_ne!(tracker.epoch().as_nonzero(), early.as_nonzero());
    }

    #[test]
    fn every_sequence_of_changes_keeps_the_account() {
        const ALL: [PathAvailability; 3] = [
            PathAvailability::Up,
            PathAvailability::Connecting,
            PathAvailability::Down,
        ];
        // Three paths, all sequences of five changes.
        for sequence in 0..9_u32.pow(5) {
            let mut tracker = SessionTracker::new();
            let mut paths = [PathAvailability::Down; 3];
            let mut code = sequence;
            for _ in 0..5 {
                let (path, to) = ((code % 9 / 3) as usize, ALL[(code % 3) as usize]);
                code /= 9;
                tracker.set_availability(&mut paths[path], to);
                let up = paths.contains(&PathAvailability::Up);
                let connecting = paths.contains(&PathAvailability::Connecting);
                assert_eq!(tracker.is_up(), up);
                match tracker.state() {
                    SessionState::Live => assert!(up),
                    SessionState::Queueing => assert!(up || connecting),
                    SessionState::Failing => assert!(!up && !connecting),
                }
                assert_eq!(
                    tracker.reopen_due().is_some(),
                    up && tracker.state() == SessionState::Queueing
                );
                if let (0, Some(epoch)) = (code % 2, tracker.reopen_due()) {
                    assert!(tracker.mark_reopened(epoch));
                }
            }
        }
    }
}
