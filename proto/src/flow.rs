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
pub enum Flow {
    /// Send it.
    Open,
    /// Keep it until a path is up and the devices are open again.
    Held,
    /// Fail it: no path will come up by itself, or not in time.
    Failing,
}

impl Flow {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Open, Self::Held, Self::Failing];
}

/// What a path can do for its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Carries I/O.
    Up,
    /// Is being connected, or will be.
    Trying,
    /// Neither; only somebody's order changes that.
    Idle,
}

/// Identifies a time between two total losses of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u32);

impl Epoch {
    /// As a number that is not 0.
    pub const fn mark(self) -> u64 {
        (1 << 32) | self.0 as u64
    }
}

/// Account of the paths of one session.
///
/// # Invariants
///
/// `up` and `trying` are the numbers of paths with that standing.
#[derive(Debug)]
pub struct Life {
    up: u32,
    trying: u32,
    /// Whether the server knows the devices.
    introduced: bool,
    /// Whether I/O has waited long enough since the server knew the devices.
    overdue: bool,
    epoch: u32,
}

impl Default for Life {
    fn default() -> Self {
        Self::new()
    }
}

impl Life {
    /// A session without paths.
    pub const fn new() -> Self {
        Self {
            up: 0,
            trying: 0,
            introduced: false,
            overdue: false,
            epoch: 0,
        }
    }

    fn count(&mut self, standing: Standing) -> Option<&mut u32> {
        match standing {
            Standing::Up => Some(&mut self.up),
            Standing::Trying => Some(&mut self.trying),
            Standing::Idle => None,
        }
    }

    /// A path changes its standing; new ones come from `Idle`, and go there.
    pub fn change(&mut self, standing: &mut Standing, to: Standing) {
        let had_paths = self.up > 0;
        if let Some(count) = self.count(*standing) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.count(to) {
            *count = count.saturating_add(1);
        }
        *standing = to;
        if had_paths && self.up == 0 {
            self.introduced = false;
            self.epoch = self.epoch.wrapping_add(1);
        }
    }

    /// What to do with I/O.
    pub const fn flow(&self) -> Flow {
        match (self.up, self.trying) {
            (0, 0) => Flow::Failing,
            _ if self.introduced => Flow::Open,
            _ if self.overdue => Flow::Failing,
            _ => Flow::Held,
        }
    }

    /// Whether a path is up.
    pub const fn is_up(&self) -> bool {
        self.up > 0
    }

    /// The time in which the devices must be opened, if that is due.
    pub const fn introduction(&self) -> Option<Epoch> {
        if self.up > 0 && !self.introduced {
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
    pub const fn known(&self) -> Option<Epoch> {
        if self.introduced {
            Some(Epoch(self.epoch))
        } else {
            None
        }
    }

    /// I/O has waited long enough; it fails until the devices are open again.
    pub fn expire(&mut self) {
        self.overdue = !self.introduced;
    }

    /// The server was told in `epoch`. False when all paths were lost since.
    pub fn introduced(&mut self, epoch: Epoch) -> bool {
        let still = self.up > 0 && epoch.0 == self.epoch;
        if still {
            self.introduced = true;
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
        let mut life = Life::new();
        let (mut a, mut b) = (Standing::Idle, Standing::Idle);
        assert_eq!(life.flow(), Flow::Failing);
        life.change(&mut a, Standing::Trying);
        assert_eq!(life.flow(), Flow::Held);
        life.change(&mut a, Standing::Up);
        let epoch = life.introduction().expect("devices are to be opened");
        assert_eq!(life.flow(), Flow::Held, "before the devices are open");
        assert!(life.introduced(epoch));
        assert_eq!(life.flow(), Flow::Open);

        life.change(&mut b, Standing::Up);
        assert_eq!(life.introduction(), None, "the server knows the devices");
        life.change(&mut a, Standing::Trying);
        assert_eq!(life.flow(), Flow::Open, "one path is left");
        life.change(&mut b, Standing::Trying);
        assert_eq!(life.flow(), Flow::Held);
        life.change(&mut a, Standing::Idle);
        life.change(&mut b, Standing::Idle);
        assert_eq!(life.flow(), Flow::Failing);
    }

    #[test]
    fn devices_opened_before_a_total_loss_do_not_count_after_it() {
        let mut life = Life::new();
        let mut path = Standing::Idle;
        life.change(&mut path, Standing::Up);
        let early = life.introduction().expect("devices are to be opened");
        life.change(&mut path, Standing::Trying);
        assert!(!life.introduced(early), "no path");
        life.change(&mut path, Standing::Up);
        assert!(!life.introduced(early), "of another time");
        assert_eq!(life.flow(), Flow::Held);
        let now = life.introduction().expect("devices are to be opened");
        assert!(life.introduced(now));
        assert_eq!(life.flow(), Flow::Open);
    }

    #[test]
    fn io_that_waited_long_enough_fails_until_the_devices_are_open() {
        let mut life = Life::new();
        let mut path = Standing::Idle;
        life.change(&mut path, Standing::Up);
        assert!(life.introduced(life.epoch()));
        life.expire();
        assert_eq!(life.flow(), Flow::Open, "nothing waits");
        life.change(&mut path, Standing::Trying);
        assert_eq!(life.flow(), Flow::Held);
        life.expire();
        assert_eq!(life.flow(), Flow::Failing);
        life.change(&mut path, Standing::Up);
        assert_eq!(life.flow(), Flow::Failing, "the devices are to be opened");
        life.change(&mut path, Standing::Trying);
        assert_eq!(life.flow(), Flow::Failing, "they were not opened");
        life.change(&mut path, Standing::Up);
        assert!(life.introduced(life.epoch()));
        assert_eq!(life.flow(), Flow::Open);
        life.change(&mut path, Standing::Trying);
        assert_eq!(life.flow(), Flow::Held, "waits anew");
    }

    #[test]
    fn io_fails_in_the_end_where_paths_come_up_and_the_devices_cannot_be_opened() {
        let mut life = Life::new();
        let mut path = Standing::Trying;
        life.change(&mut path, Standing::Up);
        assert_eq!(life.flow(), Flow::Held);
        life.expire();
        assert_eq!(life.flow(), Flow::Failing, "though a path is up");
        assert!(
            life.introduction().is_some(),
            "and that is still to be done"
        );
    }

    #[test]
    fn the_devices_are_known_in_the_time_in_which_they_were_opened() {
        let mut life = Life::new();
        let mut path = Standing::Idle;
        life.change(&mut path, Standing::Up);
        assert_eq!(life.known(), None);
        let early = life.epoch();
        assert!(life.introduced(early));
        assert_eq!(life.known(), Some(early));
        life.change(&mut path, Standing::Trying);
        life.change(&mut path, Standing::Up);
        assert_eq!(life.known(), None);
        assert_ne!(life.epoch().mark(), early.mark());
    }

    #[test]
    fn every_sequence_of_changes_keeps_the_account() {
        const ALL: [Standing; 3] = [Standing::Up, Standing::Trying, Standing::Idle];
        // Three paths, all sequences of five changes.
        for sequence in 0..9_u32.pow(5) {
            let mut life = Life::new();
            let mut paths = [Standing::Idle; 3];
            let mut code = sequence;
            for _ in 0..5 {
                let (path, to) = ((code % 9 / 3) as usize, ALL[(code % 3) as usize]);
                code /= 9;
                life.change(&mut paths[path], to);
                let up = paths.contains(&Standing::Up);
                let trying = paths.contains(&Standing::Trying);
                assert_eq!(life.is_up(), up);
                match life.flow() {
                    Flow::Open => assert!(up),
                    Flow::Held => assert!(up || trying),
                    Flow::Failing => assert!(!up && !trying),
                }
                assert_eq!(
                    life.introduction().is_some(),
                    up && life.flow() == Flow::Held
                );
                if let (0, Some(epoch)) = (code % 2, life.introduction()) {
                    assert!(life.introduced(epoch));
                }
            }
        }
    }
}
