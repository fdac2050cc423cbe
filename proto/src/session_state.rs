// SPDX-License-Identifier: GPL-2.0-only

//! State of a session: whether its I/O is sent, queued or failed as paths come and go.
//!
//! ```text
//!           a path is up, and the devices are open again
//!       +--------------------------------------------------+
//!       v                                                  |
//!     Live ---- last path lost, a path reconnects ----> Queueing
//!       |                                                 | ^
//!       | last path lost,                      timeout or | | a path
//!       | no path reconnects                no path left  v | reconnects
//!       +---------------------------------------------> Failing
//! ```
//!
//! A server closes the devices of a session without paths. So when the first path is up again
//! the client opens the devices again before it sends I/O.
//!
//! I/O is not queued forever: after a time that users set the session is failing until the
//! devices are open again, and then live. A path that only comes up and is lost again does not
//! change that.

/// The state of a session, which decides what happens to its I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// I/O is sent.
    Live,
    /// I/O is queued until a path is up and the devices are open again.
    Queueing,
    /// I/O fails: no path reconnects by itself, or none did in time.
    Failing,
}

impl SessionState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Live, Self::Queueing, Self::Failing];
}

/// What a path contributes to the state of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathAvailability {
    /// It carries I/O.
    Up,
    /// It is being connected, or will be.
    Connecting,
    /// Neither; only a user can change that.
    Down,
}

/// Number of a period between two losses of the session's last path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u32);

impl Epoch {
    /// Returns a number that is not 0 and identifies the epoch.
    pub const fn as_nonzero(self) -> u64 {
        (1 << 32) | self.0 as u64
    }
}

/// Tracks the paths of one session.
///
/// # Invariants
///
/// `up` and `connecting` are the numbers of paths with that availability.
#[derive(Debug)]
pub struct SessionTracker {
    up: u32,
    connecting: u32,
    /// Whether the devices are open at the server.
    devices_open: bool,
    /// Whether I/O was queued for too long since the devices were last open.
    timed_out: bool,
    epoch: u32,
}

impl Default for SessionTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl SessionTracker {
    /// Creates a session without paths.
    pub const fn new() -> Self {
        Self {
            up: 0,
            connecting: 0,
            devices_open: false,
            timed_out: false,
            epoch: 0,
        }
    }

    fn count(&mut self, availability: PathAvailability) -> Option<&mut u32> {
        match availability {
            PathAvailability::Up => Some(&mut self.up),
            PathAvailability::Connecting => Some(&mut self.connecting),
            PathAvailability::Down => None,
        }
    }

    /// Changes the availability of a path. It begins and ends as [`PathAvailability::Down`].
    pub fn set_availability(&mut self, availability: &mut PathAvailability, to: PathAvailability) {
        let had_paths = self.up > 0;
        if let Some(count) = self.count(*availability) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.count(to) {
            *count = count.saturating_add(1);
        }
        *availability = to;
        if had_paths && self.up == 0 {
            self.devices_open = false;
            self.epoch = self.epoch.wrapping_add(1);
        }
    }

    /// Returns the state of the session.
    pub const fn state(&self) -> SessionState {
        match (self.up, self.connecting) {
            (0, 0) => SessionState::Failing,
            _ if self.devices_open => SessionState::Live,
            _ if self.timed_out => SessionState::Failing,
            _ => SessionState::Queueing,
        }
    }

    /// Returns whether a path is up.
    pub const fn is_up(&self) -> bool {
        self.up > 0
    }

    /// Returns the present epoch if the devices must be opened in it.
    pub const fn reopen_due(&self) -> Option<Epoch> {
        if self.up > 0 && !self.devices_open {
            Some(Epoch(self.epoch))
        } else {
            None
        }
    }

    /// Returns the present epoch.
    pub const fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    /// Returns the present epoch if the devices are open in it.
    pub const fn open_epoch(&self) -> Option<Epoch> {
        if self.devices_open {
            Some(Epoch(self.epoch))
        } else {
            None
        }
    }

    /// Ends queueing: I/O fails until the devices are open again.
    pub fn expire(&mut self) {
        self.timed_out = !self.devices_open;
    }

    /// Records that the devices were opened in `epoch`. Returns false if all paths were lost since.
    pub fn mark_reopened(&mut self, epoch: Epoch) -> bool {
        let is_current = self.up > 0 && epoch.0 == self.epoch;
        if is_current {
            self.devices_open = true;
            self.timed_out = false;
        }
        is_current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_is_sent_while_a_path_is_up_and_queued_while_one_reconnects() {
        let mut tracker = SessionTracker::new();
        let (mut a, mut b) = (PathAvailability::Down, PathAvailability::Down);
        assert_eq!(tracker.state(), SessionState::Failing);
        tracker.set_availability(&mut a, PathAvailability::Connecting);
        assert_eq!(tracker.state(), SessionState::Queueing);
        tracker.set_availability(&mut a, PathAvailability::Up);
        let epoch = tracker.reopen_due().expect("devices must be opened");
        assert_eq!(
            tracker.state(),
            SessionState::Queueing,
            "before the devices are open"
        );
        assert!(tracker.mark_reopened(epoch));
        assert_eq!(tracker.state(), SessionState::Live);

        tracker.set_availability(&mut b, PathAvailability::Up);
        assert_eq!(tracker.reopen_due(), None, "the devices are open");
        tracker.set_availability(&mut a, PathAvailability::Connecting);
        assert_eq!(tracker.state(), SessionState::Live, "one path is left");
        tracker.set_availability(&mut b, PathAvailability::Connecting);
        assert_eq!(tracker.state(), SessionState::Queueing);
        tracker.set_availability(&mut a, PathAvailability::Down);
        tracker.set_availability(&mut b, PathAvailability::Down);
        assert_eq!(tracker.state(), SessionState::Failing);
    }

    #[test]
    fn devices_opened_before_the_last_path_was_lost_do_not_count_after_it() {
        let mut tracker = SessionTracker::new();
        let mut path = PathAvailability::Down;
        tracker.set_availability(&mut path, PathAvailability::Up);
        let early = tracker.reopen_due().expect("devices must be opened");
        tracker.set_availability(&mut path, PathAvailability::Connecting);
        assert!(!tracker.mark_reopened(early), "no path");
        tracker.set_availability(&mut path, PathAvailability::Up);
        assert!(!tracker.mark_reopened(early), "of another epoch");
        assert_eq!(tracker.state(), SessionState::Queueing);
        let late = tracker.reopen_due().expect("devices must be opened");
        assert!(tracker.mark_reopened(late));
        assert_eq!(tracker.state(), SessionState::Live);
    }

    #[test]
    fn io_that_was_queued_too_long_fails_until_the_devices_are_open() {
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
            "the devices are not open"
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
        assert_eq!(tracker.state(), SessionState::Queueing, "queued again");
    }

    #[test]
    fn io_fails_in_the_end_if_paths_are_up_and_the_devices_cannot_be_opened() {
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
        assert!(tracker.reopen_due().is_some(), "they still must be opened");
    }

    #[test]
    fn the_devices_are_open_in_the_epoch_in_which_they_were_opened() {
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
    fn every_sequence_of_changes_gives_the_right_state() {
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
