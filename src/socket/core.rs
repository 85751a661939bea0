//! Shared state of an asynchronous socket: descriptor, sides, turns, registration.
//!
//! All handles to one socket, and whatever scheduler watches it, share one [`Core`]. It stays on
//! its thread. Rules:
//! - no borrow of a cell spans foreign code: wakers are taken out, then woken;
//! - the driver is told of the socket when a verb first has to wait, and told to forget it before
//!   the descriptor is closed or given away;
//! - a socket that is bound to a scheduler that has ended, or not running here, binds anew;
//! - the descriptor's number is freed with the core, not before: `close` puts an inert one in its
//!   place, so that a borrowed descriptor never becomes somebody else's.
//!
//! Unsafe: lending the descriptor for as long as a handle is borrowed, out of a cell.
#![allow(unsafe_code)]

mod end;
mod watch;

use std::{
    cell::{Cell, RefCell, RefMut},
    io,
    os::fd::{AsRawFd, BorrowedFd},
    rc::{Rc, Weak},
};

use bytes::Bytes;

#[cfg(feature = "tls")]
use super::secure::Secure;
use super::{
    inbound::ReadSide,
    link::Link,
    outbound::{self, WriteSide},
    settings::Settings,
    step::{Op, Progress},
    turn::Turn,
};
use crate::{
    coro::engine::Engine,
    driver::Token,
    error, log,
    sys::{Direction, Kind, Sys},
};

/// Odd, and far from every small number times any other.
const SPREAD: u32 = 0x9e37_79b1;

/// One direction: its state and whose turn it is.
#[derive(Default)]
pub(crate) struct Half<S> {
    pub(crate) side: S,
    pub(crate) turn: Turn,
}

/// A side of a socket, and where the two faces keep it.
pub(crate) trait Side: Default {
    const DIRECTION: Direction;
    /// This direction is ready, as far as anybody knows.
    fn refill(&mut self);
    /// Whether it goes on after a pause, whatever the driver reports.
    fn is_paused(&self) -> bool;
    /// A number that changes with each byte that moves without the verb's own doing.
    fn moved(&self) -> u32;
    fn half(core: &Core) -> RefMut<'_, Half<Self>>;
    fn parts(state: &mut State) -> (Option<&Link>, &mut Half<Self>);
    /// Whether the end of the turn has to flush what this direction has queued, and was not asked
    /// to yet; from now on it is.
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
    fn half(core: &Core) -> RefMut<'_, Half<ReadSide>> {
        RefMut::map(core.state.borrow_mut(), |state| &mut state.read)
    }
    fn parts(state: &mut State) -> (Option<&Link>, &mut Half<ReadSide>) {
        (state.link.as_ref(), &mut state.read)
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
    fn half(core: &Core) -> RefMut<'_, Half<WriteSide>> {
        RefMut::map(core.state.borrow_mut(), |state| &mut state.write)
    }
    fn parts(state: &mut State) -> (Option<&Link>, &mut Half<WriteSide>) {
        (state.link.as_ref(), &mut state.write)
    }
    fn wants_flush(&mut self, link: &Link) -> bool {
        self.has_unsent(link) && !std::mem::replace(&mut self.marked, true)
    }
}

/// Which driver watches the socket; for what, [`ReadSide::hears_of_room`] says.
struct Binding {
    engine: Weak<Engine>,
    token: Token,
}

/// What changes with each operation, behind one borrow.
pub(crate) struct State {
    /// `None` once the socket was taken apart.
    link: Option<Link>,
    binding: Option<Binding>,
    read: Half<ReadSide>,
    write: Half<WriteSide>,
}

/// How far a socket has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// `close` has begun: no other verb goes on.
    Closing,
    Closed,
}

/// See the module's page.
pub(crate) struct Core {
    state: RefCell<State>,
    kind: Kind,
    settings: Cell<Settings>,
    /// Handles of the user's; the scheduler may hold references of its own.
    pub(crate) handles: Cell<u32>,
    /// The scheduler keeps it until what is queued is sent.
    lingering: Cell<bool>,
    /// The scheduler calls it after a pause.
    retrying: Cell<bool>,
    life: Cell<Life>,
}

/// What is left of a socket that was taken apart.
pub(crate) struct Parts {
    pub(crate) link: Link,
    pub(crate) settings: Settings,
    pub(crate) read: ReadSide,
    pub(crate) write: WriteSide,
}

impl Parts {
    /// Takes what was received and not taken.
    pub(crate) fn take_received(&mut self) -> Bytes {
        let (held, said) = (self.read.take_held(), self.link.take_plaintext());
        match (held.is_empty(), said.is_empty()) {
            (_, true) => held,
            (true, false) => said.into(),
            (false, false) => [&held[..], &said].concat().into(),
        }
    }
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Rc<Core> {
        Rc::new(Core {
            kind: parts.link.kind(),
            settings: Cell::new(parts.settings),
            state: RefCell::new(State {
                link: Some(parts.link),
                binding: None,
                read: Half { side: parts.read, turn: Turn::default() },
                write: Half { side: parts.write, turn: Turn::default() },
            }),
            handles: Cell::new(0),
            lingering: Cell::new(false),
            retrying: Cell::new(false),
            life: Cell::new(Life::Open),
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings.get()
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.settings.get();
        change(&mut settings);
        self.settings.set(settings);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.life.get() != Life::Open
    }

    /// The descriptor's number; once the socket is closed, that of an inert one.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        let state = self.state.borrow();
        let link = state.link.as_ref().expect("a handle's socket is not taken apart");
        // SAFETY: `self` owns the descriptor until it is dropped: `close` only puts an inert one
        // in its place, and `take_parts` moves it out only when the last handle, from which
        // this borrow comes, is consumed.
        unsafe { BorrowedFd::borrow_raw(link.sys().fd().as_raw_fd()) }
    }

    /// Whether somebody else owns the descriptor.
    pub(crate) fn is_borrowed(&self) -> bool {
        self.state.borrow().link.as_ref().is_some_and(|link| link.sys().is_borrowed())
    }

    /// Whether a send is known to find no room.
    pub(crate) fn is_full(&self) -> bool {
        self.state.borrow().write.side.is_full()
    }

    /// Whether `close` has not come to its end.
    pub(crate) fn is_open(&self) -> bool {
        self.life.get() != Life::Closed
    }

    /// Whether something was received and not taken.
    pub(crate) fn has_received(&self) -> bool {
        let state = self.state.borrow();
        !state.read.side.held().is_empty() || state.link.as_ref().is_some_and(Link::has_plaintext)
    }

    /// Tells the log, once, that there was no descriptor left.
    pub(crate) fn say_starved(&self, error: &io::Error) {
        let said = std::mem::replace(&mut ReadSide::half(self).side.said_starved, true);
        if !said {
            log::warn(format_args!("accept waits for a free descriptor: {error}"));
        }
    }

    /// Calls `f` with the descriptor, closed or not; `None` while the socket is in use, under a
    /// verb that calls somebody else, and where it was taken apart.
    pub(crate) fn look<R>(&self, f: impl FnOnce(&Link) -> R) -> Option<R> {
        self.state.try_borrow().ok()?.link.as_ref().map(f)
    }

    /// Calls `f` with the plain socket, unless it is closed.
    pub(crate) fn with_sys<R>(&self, f: impl FnOnce(&Sys) -> io::Result<R>) -> io::Result<R> {
        self.with_link(|link| f(link.sys()))
    }

    /// Calls `f` with the link, unless the socket is closed.
    pub(crate) fn with_link<R>(&self, f: impl FnOnce(&Link) -> io::Result<R>) -> io::Result<R> {
        match &self.state.borrow().link {
            Some(link) if !self.is_closing() => f(link),
            _ => Err(error::closed()),
        }
    }

    /// Calls `f` with what the socket knows of TLS, if anything; a closed one still does.
    #[cfg(feature = "tls")]
    pub(crate) fn tls<R>(&self, f: impl FnOnce(&Secure) -> R) -> Option<R> {
        self.state.borrow().link.as_ref().and_then(Link::tls).map(f)
    }

    /// Calls `f` with the link to change it, unless the socket is closed.
    #[cfg(feature = "tls")]
    pub(crate) fn with_link_mut<R>(&self, f: impl FnOnce(&mut Link) -> R) -> io::Result<R> {
        match &mut self.state.borrow_mut().link {
            Some(link) if !self.is_closing() => Ok(f(link)),
            _ => Err(error::closed()),
        }
    }

    /// Calls `f` with the descriptor and the writing half, unless the socket is closed.
    pub(crate) fn with_writing<R>(
        &self,
        f: impl FnOnce(&Link, &mut Half<WriteSide>) -> io::Result<R>,
    ) -> io::Result<R> {
        let result = {
            let state = &mut *self.state.borrow_mut();
            match &state.link {
                Some(link) if !self.is_closing() => f(link, &mut state.write),
                _ => Err(error::closed()),
            }
        };
        outbound::drop_spent();
        result
    }

    /// Steps an operation once, whoever's turn it is.
    pub(crate) fn step<O: Op>(&self, op: &mut O) -> Progress<O::Output> {
        let progress = match O::Side::parts(&mut self.state.borrow_mut()) {
            (Some(link), half) if self.is_open() => {
                op.step(link, self.settings.get(), &mut half.side)
            }
            _ => Progress::Done(Err(error::closed())),
        };
        if O::Side::DIRECTION == Direction::Write {
            outbound::drop_spent();
        }
        progress
    }

    /// Steps the operation of a verb, unless it comes anew and another one has the turn: then
    /// `None`. What a verb that is done has queued is flushed at the end of the engine's turn.
    #[inline]
    pub(crate) fn step_on<O: Op>(
        self: &Rc<Self>,
        engine: &Engine,
        op: &mut O,
        comes_anew: bool,
    ) -> Option<Progress<O::Output>> {
        let (progress, flush) = {
            let state = &mut *self.state.borrow_mut();
            let (link, half) = O::Side::parts(state);
            if half.turn.is_taken() && comes_anew {
                return None;
            }
            match link {
                Some(link) => {
                    let progress = op.step(link, self.settings.get(), &mut half.side);
                    let is_done = matches!(progress, Progress::Done(_));
                    (progress, is_done && half.side.wants_flush(link))
                }
                None => (Progress::Done(Err(error::closed())), false),
            }
        };
        if flush {
            engine.mark_dirty(Rc::<Core>::clone(self));
        }
        if O::Side::DIRECTION == Direction::Write {
            engine.note_sent();
            // Last, since it may be foreign code, and panic.
            outbound::drop_spent();
        }
        Some(progress)
    }

    /// A number that changes with each byte that moves without the verb's own doing.
    pub(crate) fn moved<S: Side>(&self) -> u32 {
        let link = |link: &Link| link.moved(S::DIRECTION);
        let records = self.state.borrow().link.as_ref().map_or(0, link);
        // Spread out, so that a call more and some bytes less are no standstill.
        S::half(self).side.moved().wrapping_mul(SPREAD).wrapping_add(records)
    }

    /// Whether TLS is spoken on it.
    pub(crate) fn is_secure(&self) -> bool {
        self.state.borrow().link.as_ref().is_some_and(Link::is_secure)
    }

    /// Whether TLS has records that are still to be sent.
    pub(crate) fn has_pending(&self) -> bool {
        self.state.borrow().link.as_ref().is_some_and(Link::has_pending)
    }

    /// Whether a verb may not go on: the socket is being closed, and the verb is no part of that,
    /// or it is closed, when there is nothing left to close either.
    #[inline]
    pub(crate) fn refuses<O: Op>(&self) -> bool {
        self.is_closing() && !(O::CLOSES && self.is_open())
    }
}
