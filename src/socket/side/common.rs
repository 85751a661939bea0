//! What both sides of a socket have, for those who work on either.

use super::{inbound::ReadSide, outbound::WriteSide};
use crate::{socket::link::Link, sys::Direction};

/// A side of a socket.
pub(crate) trait Side: Default + 'static {
    const DIRECTION: Direction;
    /// This direction is ready, as far as anybody knows.
    fn refill(&mut self);
    /// Tells whether it goes on after a pause, whatever the driver reports.
    fn is_paused(&self) -> bool;
    /// Gives a number that changes with each byte that moves without the verb's own doing.
    fn moved(&self) -> u32;
    /// Picks the one of two that belongs to this side.
    fn pick<P: Pair>(pair: P) -> P::Of<Self>;
    /// Tells whether the end of the turn has to flush what this direction has queued, and was not
    /// asked to yet; from now on it is.
    fn wants_flush(&mut self, link: &Link) -> bool;
}

impl Side for ReadSide {
    const DIRECTION: Direction = Direction::Read;
    fn refill(&mut self) {
        ReadSide::refill(self);
    }
    fn is_paused(&self) -> bool {
        ReadSide::is_paused(self)
    }
    fn moved(&self) -> u32 {
        0
    }
    #[inline]
    fn pick<P: Pair>(pair: P) -> P::Of<ReadSide> {
        pair.read()
    }
    fn wants_flush(&mut self, _: &Link) -> bool {
        false
    }
}

impl Side for WriteSide {
    const DIRECTION: Direction = Direction::Write;
    fn refill(&mut self) {
        WriteSide::refill(self);
    }
    fn is_paused(&self) -> bool {
        WriteSide::is_paused(self)
    }
    fn moved(&self) -> u32 {
        WriteSide::moved(self)
    }
    #[inline]
    fn pick<P: Pair>(pair: P) -> P::Of<WriteSide> {
        pair.write()
    }
    fn wants_flush(&mut self, link: &Link) -> bool {
        self.has_unsent(link) && !std::mem::replace(&mut self.marked, true)
    }
}

/// Two things of a kind, one for each side; a face keeps its sides in one.
pub(crate) trait Pair {
    /// What there is for a side.
    type Of<S: Side>;
    /// Gives the reading side's.
    fn read(self) -> Self::Of<ReadSide>;
    /// Gives the writing side's.
    fn write(self) -> Self::Of<WriteSide>;
}
