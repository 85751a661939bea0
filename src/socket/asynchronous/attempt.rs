//! Verbs that never wait: one attempt, with or without a scheduler.

use std::io;

use super::AsyncSocket;
use crate::{
    coro::{current, engine::Engine},
    error,
    socket::{
        op::{Flush, Op},
        side::{Progress, Side},
    },
    sys::Direction,
};

impl AsyncSocket {
    /// Makes one attempt, without the lock if nobody holds it, and without waiting.
    pub(super) fn attempt<O: Op>(&self, mut op: O) -> io::Result<O::Output> {
        if self.core.is_closing() {
            return Err(error::closed());
        }
        O::check(self.core.kind())?;
        {
            let mut half = self.core.half::<O::Side>();
            if half.lock.is_taken() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // What is known may be old: nobody has to watch a socket that is only tried.
            half.side.refill();
        }
        if O::Side::DIRECTION == Direction::Write {
            current::with(Engine::note_sent);
        }
        let mut progress = self.core.step(&mut op);
        // What is queued here nobody would go on with.
        while matches!(progress, Progress::Again)
            && O::Side::DIRECTION == Direction::Write
            && current::with(|_| ()).is_none()
        {
            progress = self.core.step(&mut op);
        }
        if self.core.has_pending() {
            current::with(|engine| self.core.mark_dirty(engine));
        }
        match progress {
            Progress::Done(result) => result,
            Progress::Wait | Progress::Again => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Sends what was queued outside a verb: at the end of the turn, or, outside a scheduler,
    /// now.
    pub(super) fn flush_soon(&self) {
        if current::with(|engine| self.core.mark_dirty(engine)).is_none() {
            self.flush_now();
        }
    }

    /// Sends what was queued outside a verb as far as it goes. In a scheduler the rest leaves
    /// without a verb, else with the next one, which is also told of a failure.
    pub(super) fn flush_now(&self) {
        let _ = self.attempt(Flush);
        current::with(|engine| self.core.mark_dirty(engine));
    }
}
