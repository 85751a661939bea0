//! What has to hear of the end of a coroutine: locks that it holds, channels that it has subscribed
//! to.
//!
//! A tie is weak: whatever is tied may be dropped, and counts for nothing then.

use std::rc::{Rc, Weak};

use pyo3::prelude::*;

/// What can be tied to a coroutine.
pub(crate) trait Tie {
    /// Hears that the coroutine with that key has ended, and may run no foreign code. `Some` is
    /// what the log is to say of it: a coroutine that `has_returned` could have known better.
    fn coro_ended(
        self: Rc<Self>,
        py: Python<'_>,
        key: usize,
        has_returned: bool,
    ) -> Option<&'static str>;
}

/// The ties of a coroutine.
#[derive(Default)]
pub(crate) struct Ties(Vec<Weak<dyn Tie>>);

/// From how many ties on those that are dead are looked for.
const MANY: usize = 32;

impl Ties {
    /// Adds a tie.
    pub(crate) fn add(&mut self, tie: Weak<dyn Tie>) {
        if self.0.len() >= MANY && self.0.len() == self.0.capacity() {
            self.0.retain(|tie| tie.strong_count() > 0);
        }
        self.0.push(tie);
    }

    /// Removes a tie, the last one if it was added several times.
    pub(crate) fn remove<T>(&mut self, tie: &Rc<T>) {
        let address = Rc::as_ptr(tie).addr();
        if let Some(place) = self.0.iter().rposition(|tie| tie.as_ptr().addr() == address) {
            self.0.swap_remove(place);
        }
    }

    /// Tells all of them; returns what the log is to say.
    pub(super) fn end(self, py: Python<'_>, key: usize, has_returned: bool) -> Vec<&'static str> {
        let ties = self.0.iter().filter_map(Weak::upgrade);
        ties.filter_map(|tie| tie.coro_ended(py, key, has_returned)).collect()
    }
}
