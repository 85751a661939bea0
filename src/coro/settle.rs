//! Dropped sockets that have sent everything and are not closed yet: whether it has arrived is
//! looked at now and then, with pauses that grow, since no event tells. Who is to be looked at next
//! stands first, so that a turn costs the same however many there are.

use std::{
    cmp::Ordering,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{engine::Engine, sources::Source};
use crate::{driver::Driver, log};

/// The first pause between two looks; each is twice as long as the one before.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_micros(500);

/// The longest pause.
pub(crate) const LAST_PAUSE: Duration = Duration::from_millis(50);

/// A dropped socket that waits for what it has sent to arrive.
pub(super) struct Settling {
    source: Rc<dyn Source>,
    look: Instant,
    pause: Duration,
    until: Instant,
}

impl Ord for Settling {
    /// The greatest is the one to be looked at first.
    fn cmp(&self, other: &Settling) -> Ordering {
        other.look.cmp(&self.look)
    }
}

impl PartialOrd for Settling {
    fn partial_cmp(&self, other: &Settling) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Settling {
    fn eq(&self, other: &Settling) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Settling {}

impl Engine {
    /// Keeps a dropped socket until what it has sent has arrived, or its time is up.
    pub(crate) fn settle(&self, source: Rc<dyn Source>) {
        let until = Driver::after(self.settings.linger);
        let look = Driver::now() + FIRST_PAUSE;
        self.settling.borrow_mut().push(Settling { source, look, pause: FIRST_PAUSE, until });
        self.chores.set(true);
    }

    /// When the next one is to be looked at.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.settling.borrow().peek().map(|first| first.look)
    }

    /// Looks at those whose time it is, and lets go of them that are done.
    pub(super) fn look_after_settling(&self) {
        let Some(first) = self.next_look() else { return };
        let now = Driver::now();
        if first > now {
            return;
        }
        let mut due = Vec::new();
        while self.next_look().is_some_and(|look| look <= now) {
            due.extend(self.settling.borrow_mut().pop());
        }
        for mut one in due {
            if one.source.settle() {
                continue;
            }
            if one.until <= now {
                give_up(&*one.source);
                continue;
            }
            one.pause = (2 * one.pause).min(LAST_PAUSE);
            one.look = (now + one.pause).min(one.until);
            self.settling.borrow_mut().push(one);
        }
    }

    /// Gives up those that are left.
    pub(super) fn give_up_settling(&self) {
        let left = self.settling.take();
        left.iter().filter(|one| !one.source.settle()).for_each(|one| give_up(&*one.source));
    }
}

fn give_up(source: &dyn Source) {
    let what = source.abandon();
    log::warn(format_args!("{what}"));
}
