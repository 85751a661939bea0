//! What the two sides of a socket have in common, for code that works on either.

use super::{inbound::ReadSide, outbound::WriteSide};
use crate::{socket::link::Link, sys::Direction};

/// One direction of a socket: [`ReadSide`] or [`WriteSide`].
pub(crate) trait Side: Default + 'static {
    const DIRECTION: Direction;
    /// Notes that this direction may be ready again.
    fn refill(&mut self);
    /// Tells whether this side waits for the end of a pause, not for the driver.
    fn is_paused(&self) -> bool;
    /// Returns a number that changes when queued bytes leave, whichever verb sends them.
    fn moved(&self) -> u32;
    /// Tells whether bytes are queued, or were lost.
    fn loses(&self) -> bool;
    /// Returns the half of a pair that belongs to this side.
    fn pick<P: Pair>(pair: P) -> P::Of<Self>;
    /// Tells whether something is queued that the end of the turn must flush and that was not
    /// marked for it before; marks it.
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
    fn loses(&self) -> bool {
        false
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
    fn loses(&self) -> bool {
        WriteSide::loses(self)
    }
    fn moved(&self) -> u32 {
        WriteSide::moved(self)
    }
    #[inline]
    fn pick<P: Pair>(pair: P) -> P::Of<WriteSide> {
        pair.write()
    }
    #[inline(always)]
    fn wants_flush(&mut self, link: &Link) -> bool {
        self.has_unsent(link) && !std::mem::replace(&mut self.marked, true)
    }
}

/// Two values of a kind, one for each side of a socket.
pub(crate) trait Pair {
    /// The value for one side.
    type Of<S: Side>;
    /// Returns the value for the reading side.
    fn read(self) -> Self::Of<ReadSide>;
    /// Returns the value for the writing side.
    fn write(self) -> Self::Of<WriteSide>;
}
