//! The ways a socket ends: closed, taken apart, or dropped with bytes still to be sent.

use std::{io, rc::Rc};

use super::{Core, CoreState, Errands, Halves, Life};
use crate::{
    coro::{
        Waiter, current,
        engine::{Engine, Source},
    },
    log,
    socket::{
        parts::Parts,
        side::{Progress, ReadSide, WriteSide, drop_spent},
    },
};

impl Core {
    /// Begins to close: wakes all verbs that wait, and they fail.
    pub(crate) fn begin_close(&self) {
        if !self.is_closing() {
            self.life.set(Life::Closing);
            self.wake_all();
        }
    }

    /// Tells whether a verb must still release the lock of sending, now that the socket closes.
    pub(crate) fn is_writer_leaving(&self) -> bool {
        let write = &self.state.borrow().halves.write;
        write.lock.is_taken() && !write.lock.is_seized()
    }

    /// Seizes the lock of sending for `close`.
    pub(crate) fn seize_writing(&self) {
        let wakers = self.half::<WriteSide>().lock.seize();
        drop(wakers);
    }

    /// Closes the descriptor now; its number is freed with the last handle.
    pub(crate) fn close(&self) {
        if self.life.replace(Life::Closed) != Life::Closed {
            self.unbind();
            // Of a verb that was forgotten or is not polled: it would keep the memory.
            self.state.borrow_mut().reader_left();
            if let Some(link) = &self.state.borrow().link {
                link.drain_before_close();
                link.sys().retire();
            }
            self.half::<WriteSide>().side.abandon();
            drop_spent();
            self.wake_all();
        }
    }

    pub(super) fn wake_all(&self) {
        let read = self.half::<ReadSide>().lock.all();
        let write = self.half::<WriteSide>().lock.all();
        read.into_iter().chain(write).for_each(Waiter::wake);
    }

    /// Takes the socket apart; `None` if it is closed.
    pub(crate) fn take_parts(&self) -> Option<Parts> {
        if !self.is_open() {
            return None;
        }
        self.unbind();
        self.life.set(Life::Closed);
        let mut state = self.state.borrow_mut();
        // Of a verb that was forgotten: the bytes lie in memory of the scheduler's.
        state.reader_left();
        let link = state.link.take()?;
        let read = std::mem::take(&mut state.halves.read.side);
        let mut write = std::mem::take(&mut state.halves.write.side);
        // The mark was made for a socket that no longer exists.
        write.marked = false;
        Some(Parts {
            link,
            settings: self.settings.get(),
            read,
            write,
            #[cfg(feature = "tls")]
            gate: state.gate.take(),
        })
    }

    /// Drops one handle. What the last one leaves queued is still sent, by the scheduler.
    pub(crate) fn release(self: &Rc<Self>) {
        let left = self.handles.get() - 1;
        self.handles.set(left);
        if left == 0 && !self.state.borrow().halves.write.side.marked {
            match self.close_notify() {
                Progress::Done(Ok(())) if !self.has_unsent() => self.settle_alone(),
                Progress::Done(_) => self.linger(),
                // The flush at the end of the turn registers for room to send.
                _ => self.linger_on_or_give_up(),
            }
        }
    }

    /// Tells whether the socket can be closed and lose nothing that was sent; see `Link::settle`.
    pub(crate) fn settle(&self) -> io::Result<bool> {
        match &self.state.borrow().link {
            Some(link) if self.is_open() => link.settle(),
            _ => Ok(true),
        }
    }

    /// Makes the scheduler keep a dropped socket until what it has sent has arrived.
    pub(super) fn settle_alone(self: &Rc<Self>) {
        match self.settle() {
            Ok(true) => {}
            Ok(false) => match self.engine() {
                Some(engine) => {
                    // It is checked by a timer; readiness no longer matters.
                    self.unbind();
                    engine.settle(Rc::<Core>::clone(self));
                }
                None => log::warn(format_args!("{}", self.abandon())),
            },
            Err(error) => self.tell_of_loss(&error),
        }
    }

    #[cold]
    pub(super) fn tell_of_loss(&self, error: &io::Error) {
        log::debug(format_args!("a dropped socket's peer has not got all of it: {error}"));
    }

    fn linger_on_or_give_up(self: &Rc<Self>) {
        match self.engine() {
            Some(engine) => self.mark_dirty(&engine),
            None => self.linger(),
        }
    }

    /// Sends a close_notify, if TLS is spoken, once nothing is queued; the rest is sent like a
    /// queue.
    pub(super) fn close_notify(&self) -> Progress<()> {
        let CoreState { link, halves: Halves { write, .. }, .. } = &mut *self.state.borrow_mut();
        match link {
            Some(link) if self.is_open() && write.side.queued() == 0 => {
                link.close_notify();
                write.side.push(link)
            }
            _ => Progress::Done(Ok(())),
        }
    }

    pub(super) fn linger(self: &Rc<Self>) {
        if !self.has_unsent() {
            return;
        }
        match self.engine() {
            Some(engine) => self.linger_on(&engine),
            None => log::warn(format_args!("{}", self.abandon())),
        }
    }

    pub(super) fn linger_on(self: &Rc<Self>, engine: &Engine) {
        if !self.errands.begin(Errands::LINGER) {
            engine.linger(Rc::<Core>::clone(self));
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let engine = self.unbind();
        if let Some(link) = self.state.get_mut().link.take() {
            link.drain_before_close();
        }
        if let Some(engine) = engine.or_else(|| current::with(Engine::weak)?.upgrade()) {
            engine.descriptor_closed();
        }
    }
}
