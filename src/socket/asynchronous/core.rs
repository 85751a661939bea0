//! The shared state of an asynchronous socket: descriptor, sides, locks, registration.
//!
//! All handles to one socket, and the scheduler that watches it, share one [`Core`]. It stays on
//! its thread. Rules:
//! - no borrow of a cell spans foreign code: wakers are taken out, then woken;
//! - the socket is registered with the driver when a verb first has to wait, and deregistered
//!   before the descriptor is closed or given away;
//! - a socket whose scheduler has ended, or does not run here, binds to the current one;
//! - the descriptor's number is freed with the core, not before: `close` puts an inert descriptor
//!   in its place, so that a borrowed number never refers to another file.

mod end;
mod lent;
mod watch;

#[cfg(feature = "tls")]
use std::sync::Arc;
use std::{
    cell::{Cell, RefCell, RefMut},
    io,
    rc::{Rc, Weak},
};

use super::lock::Lock;
#[cfg(feature = "tls")]
use crate::socket::{
    gate::Gate,
    records::{Listener, Records},
};
use crate::{
    coro::engine::Engine,
    driver::Token,
    error, log,
    socket::{
        link::Link,
        op::Op,
        parts::Parts,
        settings::Settings,
        side::{Pair, Progress, ReadSide, Side, WriteSide, drop_spent},
    },
    sys::{Direction, Kind, Sys},
};

/// An odd factor that keeps small changes of two counters from cancelling out.
const SPREAD: u32 = 0x9e37_79b1;

/// The state and the lock of one direction.
#[derive(Default)]
pub(crate) struct Half<S> {
    pub(crate) side: S,
    pub(crate) lock: Lock,
}

/// Both directions.
pub(super) struct Halves {
    read: Half<ReadSide>,
    write: Half<WriteSide>,
}

impl<'a> Pair for &'a mut Halves {
    type Of<S: Side> = &'a mut Half<S>;

    #[inline]
    fn read(self) -> &'a mut Half<ReadSide> {
        &mut self.read
    }

    #[inline]
    fn write(self) -> &'a mut Half<WriteSide> {
        &mut self.write
    }
}

/// The registration with a driver; [`ReadSide::hears_of_room`] tells for what.
struct Binding {
    engine: Weak<Engine>,
    token: Token,
}

/// The state that changes with each operation, behind one borrow.
pub(crate) struct CoreState {
    /// `None` once the socket was taken apart.
    link: Option<Link>,
    binding: Option<Binding>,
    halves: Halves,
    /// The handshakes of a listener's connections.
    #[cfg(feature = "tls")]
    gate: Option<Arc<Gate<Parts>>>,
}

impl CoreState {
    /// Notes that no verb waits to read any more: what was received ahead of it is held.
    #[inline]
    fn reader_left(&mut self) {
        let side = &mut self.halves.read.side;
        side.set_awaits(0);
        if let Some(link) = &self.link
            && link.sys().is_ahead()
        {
            side.hold_ahead(link);
        }
    }
}

/// The phase of a socket's life.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// `close` has begun: no other verb continues.
    Closing,
    Closed,
}

/// What the scheduler has been asked to do for a socket, in one byte.
#[derive(Default)]
struct Errands(Cell<u8>);

impl Errands {
    /// To keep the socket until the queue was sent.
    const LINGER: u8 = 1;
    /// To call the socket after a pause.
    const RETRY: u8 = 2;

    /// Notes an errand; returns whether it was noted already.
    fn begin(&self, errand: u8) -> bool {
        let before = self.0.get();
        self.0.set(before | errand);
        before & errand != 0
    }

    fn done(&self, errand: u8) {
        self.0.set(self.0.get() & !errand);
    }
}

/// The state that the handles to one socket share.
pub(crate) struct Core {
    state: RefCell<CoreState>,
    kind: Kind,
    settings: Cell<Settings>,
    /// The user's handles; the scheduler may hold references of its own.
    pub(crate) handles: Cell<u32>,
    errands: Errands,
    life: Cell<Life>,
}

impl Core {
    pub(crate) fn new(mut parts: Parts) -> Rc<Core> {
        parts.read.set_awaits(0);
        Rc::new(Core {
            kind: parts.link.kind(),
            settings: Cell::new(parts.settings),
            state: RefCell::new(CoreState {
                link: Some(parts.link),
                binding: None,
                halves: Halves {
                    read: Half { side: parts.read, lock: Lock::default() },
                    write: Half { side: parts.write, lock: Lock::default() },
                },
                #[cfg(feature = "tls")]
                gate: parts.gate,
            }),
            handles: Cell::new(0),
            errands: Errands::default(),
            life: Cell::new(Life::Open),
        })
    }

    /// Borrows one half of the socket.
    #[inline]
    pub(super) fn half<S: Side>(&self) -> RefMut<'_, Half<S>> {
        RefMut::map(self.state.borrow_mut(), |state| S::pick(&mut state.halves))
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

    /// Tells whether the descriptor is borrowed.
    pub(crate) fn is_borrowed(&self) -> bool {
        self.state.borrow().link.as_ref().is_some_and(|link| link.sys().is_borrowed())
    }

    /// Tells whether no write is to be made yet.
    pub(crate) fn is_full(&self) -> bool {
        self.state.borrow().halves.write.side.is_full()
    }

    /// Tells whether `close` has not finished.
    pub(crate) fn is_open(&self) -> bool {
        self.life.get() != Life::Closed
    }

    /// Tells whether bytes were received and not taken.
    pub(crate) fn has_received(&self) -> bool {
        let state = self.state.borrow();
        !state.halves.read.side.held().is_empty()
            || state.link.as_ref().is_some_and(|link| link.sys().is_ahead() || link.has_plaintext())
    }

    /// Logs, once, that there was no descriptor left.
    pub(super) fn tell_of_limit(&self, error: &io::Error) {
        let told = std::mem::replace(&mut self.half::<ReadSide>().side.told_of_limit, true);
        if !told {
            log::warn(format_args!("accept waits for a free descriptor: {error}"));
        }
    }

    /// Calls `f` with the link, even if the socket is closed; `None` if a verb that runs the
    /// caller's code is using the socket, or if the socket was taken apart.
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

    /// Returns the handshakes of a listener's connections, if it has accepted any.
    #[cfg(feature = "tls")]
    pub(super) fn gate(&self) -> Option<Arc<Gate<Parts>>> {
        self.state.borrow().gate.clone()
    }

    /// Returns the handshakes of a listener's connections; creates them first if need be.
    #[cfg(feature = "tls")]
    pub(super) fn gate_of(&self, listener: Arc<Listener>) -> Arc<Gate<Parts>> {
        let gate = &mut self.state.borrow_mut().gate;
        Arc::clone(gate.get_or_insert_with(|| Arc::new(Gate::new(listener))))
    }

    /// Calls `f` with the TLS state, if there is any, even if the socket is closed.
    #[cfg(feature = "tls")]
    pub(crate) fn tls<R>(&self, f: impl FnOnce(&Records) -> R) -> Option<R> {
        self.state.borrow().link.as_ref().and_then(Link::tls).map(f)
    }

    /// Calls `f` with the link, to change it, unless the socket is closed.
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
                Some(link) if !self.is_closing() => f(link, &mut state.halves.write),
                _ => Err(error::closed()),
            }
        };
        drop_spent();
        result
    }

    /// Makes one step of an operation, whether a verb holds the lock or not.
    pub(crate) fn step<O: Op>(&self, op: &mut O) -> Progress<O::Output> {
        let progress = {
            let state = &mut *self.state.borrow_mut();
            // Of the verb that waits, if one does; this one does not.
            let awaits = state.halves.read.side.awaits();
            let half = O::Side::pick(&mut state.halves);
            let progress = match &state.link {
                Some(link) if self.is_open() => op.step(link, self.settings.get(), &mut half.side),
                _ => Progress::Done(Err(error::closed())),
            };
            state.halves.read.side.set_awaits(awaits);
            progress
        };
        if O::Side::DIRECTION == Direction::Write {
            drop_spent();
        }
        progress
    }

    /// Makes a step for a verb; `None` for a new verb if another holds the lock. What a finished
    /// verb has queued is flushed at the end of the engine's turn.
    #[inline]
    pub(crate) fn step_on<O: Op>(
        self: &Rc<Self>,
        engine: &Engine,
        op: &mut O,
        comes_anew: bool,
    ) -> Option<Progress<O::Output>> {
        let (progress, flush) = {
            let state = &mut *self.state.borrow_mut();
            let half = O::Side::pick(&mut state.halves);
            if half.lock.is_taken() && comes_anew {
                return None;
            }
            match &state.link {
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
            // Last, since this may run foreign code, which may panic.
            drop_spent();
        }
        Some(progress)
    }

    /// Notes that a verb has left what was received ahead of it where it is, and waits again: the
    /// driver may report before it comes back.
    #[cold]
    pub(super) fn reads_later(&self) {
        if let Some(link) = &self.state.borrow().link
            && link.sys().is_ahead()
        {
            link.sys().more_than_ahead();
        }
    }

    /// Borrows one half of the socket, which a verb that waited is about to leave: what was
    /// received ahead of it is held.
    #[inline]
    pub(super) fn half_to_leave<S: Side>(&self) -> RefMut<'_, Half<S>> {
        let mut state = self.state.borrow_mut();
        if S::DIRECTION == Direction::Read {
            state.reader_left();
        }
        RefMut::map(state, |state| S::pick(&mut state.halves))
    }

    /// Returns a number that changes when queued bytes or records move, whichever verb sends them.
    pub(crate) fn moved<S: Side>(&self) -> u32 {
        let link = |link: &Link| link.moved(S::DIRECTION);
        let records = self.state.borrow().link.as_ref().map_or(0, link);
        // Multiplied, so that small changes of the two counters do not cancel each other.
        self.half::<S>().side.moved().wrapping_mul(SPREAD).wrapping_add(records)
    }

    /// Tells whether TLS is spoken on it.
    pub(crate) fn is_secure(&self) -> bool {
        self.state.borrow().link.as_ref().is_some_and(Link::is_secure)
    }

    /// Tells whether TLS has pending records.
    pub(crate) fn has_pending(&self) -> bool {
        self.state.borrow().link.as_ref().is_some_and(Link::has_pending)
    }

    /// Tells whether a verb may not continue: the socket is being closed and the verb is no part of
    /// that, or the socket is closed.
    #[inline]
    pub(crate) fn refuses<O: Op>(&self) -> bool {
        self.is_closing() && !(O::CLOSES && self.is_open())
    }
}
