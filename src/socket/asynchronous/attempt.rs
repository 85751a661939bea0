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
    /// Makes one attempt without waiting, unless a verb holds the lock.
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
            // The state may be old: no scheduler need watch a socket for attempts alone.
            half.side.refill();
        }
        if O::Side::DIRECTION == Direction::Write {
            current::with(Engine::note_sent);
        }
        let mut progress = self.core.step(&mut op);
        // Outside a scheduler nothing else would continue to send what was queued here.
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

    /// Sends what was queued outside a verb: at the end of the turn or, outside a scheduler, now.
    pub(super) fn flush_soon(&self) {
        if current::with(|engine| self.core.mark_dirty(engine)).is_none() {
            self.flush_now();
        }
    }

    /// Sends what was queued outside a verb, as far as the system accepts it. A scheduler sends the
    /// rest; without one the next verb does, and returns a failure.
    pub(super) fn flush_now(&self) {
        let _ = self.attempt(Flush::default());
        current::with(|engine| self.core.mark_dirty(engine));
    }
}
