//! What belongs to the process that has made it: in the child of a fork those who wait, and those
//! who hold something, are the parent's, and nothing of theirs may be woken or dropped.

use std::mem;

use crate::{gil, guest};

/// A value that is forgotten, and made anew, in the child of a fork.
pub(super) struct Ours<T> {
    value: T,
    /// How many forks had led to the process that it was made in.
    generation: u32,
}

impl<T: Default> Default for Ours<T> {
    fn default() -> Ours<T> {
        Ours { value: T::default(), generation: guest::generation(gil::py()) }
    }
}

impl<T: Default> Ours<T> {
    /// Returns the value of this process.
    pub(super) fn get(&mut self) -> &mut T {
        self.get_or(|_| T::default())
    }

    /// Returns the value of this process, made by `anew` from that of the parent if that had made
    /// it.
    pub(super) fn get_or(&mut self, anew: impl FnOnce(&T) -> T) -> &mut T {
        let generation = guest::generation(gil::py());
        if self.generation != generation {
            self.generation = generation;
            let anew = anew(&self.value);
            mem::forget(mem::replace(&mut self.value, anew));
        }
        &mut self.value
    }

    /// Returns the value as it is, for the collector.
    pub(super) fn peek(&self) -> &T {
        &self.value
    }
}
