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

use std::{
    cell::{Cell, RefCell, RefMut},
    io,
    os::fd::{AsRawFd, BorrowedFd},
    rc::{Rc, Weak},
};

use bytes::Bytes;

use super::{
    inbound::ReadSide,
    outbound::{self, WriteSide},
    settings::Settings,
    step::{Op, Progress},
    sys::{Direction, Kind, Sys},
    turn::Turn,
};
use crate::{
    coro::{Waiter, current, engine::Engine, sources::Source},
    driver::{Interest, Ready, Token},
    error,
};

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
    /// A number that changes with each byte that moves without the verb's own doing.
    fn moved(&self) -> u32;
    fn half(core: &Core) -> RefMut<'_, Half<Self>>;
    fn parts(state: &mut State) -> (Option<&Sys>, &mut Half<Self>);
    /// Whether the end of the turn has to flush what this direction has queued, and was not asked
    /// to yet; from now on it is.
    fn wants_flush(&mut self, sys: &Sys) -> bool;
}

impl Side for ReadSide {
    const DIRECTION: Direction = Direction::Read;
    fn refill(&mut self) {
        ReadSide::refill(self);
    }
    fn moved(&self) -> u32 {
        0
    }
    fn half(core: &Core) -> RefMut<'_, Half<ReadSide>> {
        RefMut::map(core.state.borrow_mut(), |state| &mut state.read)
    }
    fn parts(state: &mut State) -> (Option<&Sys>, &mut Half<ReadSide>) {
        (state.sys.as_ref(), &mut state.read)
    }
    fn wants_flush(&mut self, _: &Sys) -> bool {
        false
    }
}

impl Side for WriteSide {
    const DIRECTION: Direction = Direction::Write;
    fn refill(&mut self) {
        WriteSide::refill(self);
    }
    fn moved(&self) -> u32 {
        WriteSide::moved(self)
    }
    fn half(core: &Core) -> RefMut<'_, Half<WriteSide>> {
        RefMut::map(core.state.borrow_mut(), |state| &mut state.write)
    }
    fn parts(state: &mut State) -> (Option<&Sys>, &mut Half<WriteSide>) {
        (state.sys.as_ref(), &mut state.write)
    }
    fn wants_flush(&mut self, sys: &Sys) -> bool {
        self.has_unsent(sys) && !std::mem::replace(&mut self.marked, true)
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
    sys: Option<Sys>,
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
    life: Cell<Life>,
}

/// What is left of a socket that was taken apart.
pub(crate) struct Parts {
    pub(crate) sys: Sys,
    pub(crate) settings: Settings,
    pub(crate) read: ReadSide,
    pub(crate) write: WriteSide,
}

impl Parts {
    /// Takes what was received and not taken.
    pub(crate) fn take_received(&mut self) -> Bytes {
        let (held, said) = (self.read.take_held(), self.sys.take_said());
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
            kind: parts.sys.kind(),
            settings: Cell::new(parts.settings),
            state: RefCell::new(State {
                sys: Some(parts.sys),
                binding: None,
                read: Half { side: parts.read, turn: Turn::default() },
                write: Half { side: parts.write, turn: Turn::default() },
            }),
            handles: Cell::new(0),
            lingering: Cell::new(false),
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
        let sys = state.sys.as_ref().expect("a handle's socket is not taken apart");
        // SAFETY: `self` owns the descriptor until it is dropped: `close` only puts an inert one
        // in its place, and `take_parts` moves it out only when the last handle, from which
        // this borrow comes, is consumed.
        unsafe { BorrowedFd::borrow_raw(sys.fd().as_raw_fd()) }
    }

    /// Whether `close` has not come to its end.
    pub(crate) fn is_open(&self) -> bool {
        self.life.get() != Life::Closed
    }

    /// Whether something was received and not taken.
    #[cfg(feature = "tls")]
    pub(crate) fn holds_received(&self) -> bool {
        !self.state.borrow().read.side.held().is_empty()
    }

    /// Tells the log, once, that there was no descriptor left.
    pub(crate) fn say_starved(&self, error: &io::Error) {
        let said = std::mem::replace(&mut ReadSide::half(self).side.said_starved, true);
        if !said {
            tracing::warn!("asyncoro: accept waits for a free descriptor: {error}");
        }
    }

    /// Calls `f` with the descriptor, unless the socket is closed.
    pub(crate) fn with_sys<R>(&self, f: impl FnOnce(&Sys) -> io::Result<R>) -> io::Result<R> {
        match &self.state.borrow().sys {
            Some(sys) if !self.is_closing() => f(sys),
            _ => Err(error::closed()),
        }
    }

    /// Calls `f` with the descriptor to change it, unless the socket is closed.
    #[cfg(feature = "tls")]
    pub(crate) fn with_sys_mut<R>(&self, f: impl FnOnce(&mut Sys) -> R) -> io::Result<R> {
        match &mut self.state.borrow_mut().sys {
            Some(sys) if !self.is_closing() => Ok(f(sys)),
            _ => Err(error::closed()),
        }
    }

    /// Calls `f` with the descriptor and the writing half, unless the socket is closed.
    pub(crate) fn with_writing<R>(
        &self,
        f: impl FnOnce(&Sys, &mut Half<WriteSide>) -> io::Result<R>,
    ) -> io::Result<R> {
        let result = {
            let state = &mut *self.state.borrow_mut();
            match &state.sys {
                Some(sys) if !self.is_closing() => f(sys, &mut state.write),
                _ => Err(error::closed()),
            }
        };
        outbound::drop_spent();
        result
    }

    /// Steps an operation once, whoever's turn it is.
    pub(crate) fn step<O: Op>(&self, op: &mut O) -> Progress<O::Output> {
        let progress = match O::Side::parts(&mut self.state.borrow_mut()) {
            (Some(sys), half) if self.is_open() => {
                op.step(sys, self.settings.get(), &mut half.side)
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
            let (sys, half) = O::Side::parts(state);
            if comes_anew && half.turn.is_taken() {
                return None;
            }
            match sys {
                Some(sys) => {
                    let progress = op.step(sys, self.settings.get(), &mut half.side);
                    let is_done = matches!(progress, Progress::Done(_));
                    // TLS may answer the peer while it is read.
                    let flush = if O::Side::DIRECTION == Direction::Read {
                        sys.owes()
                    } else {
                        is_done && half.side.wants_flush(sys)
                    };
                    (progress, flush)
                }
                None => (Progress::Done(Err(error::closed())), false),
            }
        };
        if O::Side::DIRECTION == Direction::Read {
            if flush {
                self.mark_dirty(engine);
            }
            return Some(progress);
        }
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
        let records = self.state.borrow().sys.as_ref().map_or(0, Sys::moved);
        S::half(self).side.moved().wrapping_add(records)
    }

    /// Whether TLS has records that are still to be sent.
    pub(crate) fn owes(&self) -> bool {
        self.state.borrow().sys.as_ref().is_some_and(Sys::owes)
    }

    /// Whether a verb may not go on: the socket is being closed, and the verb is no part of that,
    /// or it is closed, when there is nothing left to close either.
    #[inline]
    pub(crate) fn refuses<O: Op>(&self) -> bool {
        self.is_closing() && !(O::CLOSES && self.is_open())
    }

    /// Has the driver report on this direction from now on, first of all what is ready already.
    #[inline]
    pub(crate) fn watch(self: &Rc<Self>, engine: &Engine, direction: Direction) -> io::Result<()> {
        let is_watched = {
            let state = self.state.borrow();
            let bound = state.binding.as_ref();
            bound.is_some_and(|bound| std::ptr::eq(bound.engine.as_ptr(), engine))
                && (direction == Direction::Read || state.read.side.hears_of_room)
        };
        if is_watched && self.is_open() { Ok(()) } else { self.bind(engine, direction) }
    }

    /// Registers with the driver, or asks it for more.
    #[cold]
    fn bind(self: &Rc<Self>, engine: &Engine, direction: Direction) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        let Some(sys) = state.sys.as_ref().filter(|_| self.is_open()) else {
            return Err(error::closed());
        };
        if let Some(bound) = &mut state.binding
            && std::ptr::eq(bound.engine.as_ptr(), engine)
        {
            engine.reregister(sys.fd(), Interest::Both, bound.token)?;
            state.read.side.hears_of_room = true;
            return Ok(());
        }
        if let Some(bound) = state.binding.take() {
            bound.forget(sys);
        }
        // Room to send is there from the start, and would be an event at once for nobody.
        let interest = match direction {
            Direction::Read => Interest::Read,
            Direction::Write => Interest::Both,
        };
        let own: Weak<dyn Source> = Rc::<Core>::downgrade(self);
        let token = engine.register(sys.fd(), interest, own)?;
        state.binding = Some(Binding { engine: engine.weak(), token });
        state.read.side.hears_of_room = interest == Interest::Both;
        if !engine.tells_hangup() {
            state.read.side.suspicious = true;
        }
        Ok(())
    }

    /// Has the queue flushed at the end of this turn.
    pub(crate) fn mark_dirty(self: &Rc<Self>, engine: &Engine) {
        let wants = {
            let State { sys, write, .. } = &mut *self.state.borrow_mut();
            sys.as_ref().is_some_and(|sys| write.side.wants_flush(sys))
        };
        if wants {
            engine.mark_dirty(Rc::<Core>::clone(self));
        }
    }

    /// The same for whoever is not being polled, and so does not know on which scheduler he is.
    pub(crate) fn mark_dirty_where_bound(self: &Rc<Self>) {
        if self.has_unsent()
            && let Some(engine) = self.engine()
        {
            self.mark_dirty(&engine);
        }
    }

    /// The scheduler that the socket is bound to, or else the one that runs here.
    fn engine(&self) -> Option<Rc<Engine>> {
        let bound = self.state.borrow().binding.as_ref().map(|bound| Weak::clone(&bound.engine));
        bound.or_else(|| current::with(Engine::weak))?.upgrade()
    }

    /// Begins to close: everybody who waits is woken and told.
    pub(crate) fn begin_close(&self) {
        if !self.is_closing() {
            self.life.set(Life::Closing);
            self.wake_all();
        }
    }

    /// Whether a verb has the turn to send that has still to leave it, now that the socket closes.
    pub(crate) fn is_writer_leaving(&self) -> bool {
        let write = &self.state.borrow().write;
        write.turn.is_taken() && !write.turn.is_seized()
    }

    /// Gives the turn to send to whoever closes the socket.
    pub(crate) fn seize_writing(&self) {
        let wakers = WriteSide::half(self).turn.seize();
        drop(wakers);
    }

    /// Closes the descriptor now; its number is freed with the last handle.
    pub(crate) fn close(&self) {
        if self.life.replace(Life::Closed) != Life::Closed {
            self.unbind();
            if let Some(sys) = &self.state.borrow().sys {
                sys.drain_before_close();
                sys.bury();
            }
            WriteSide::half(self).side.abandon();
            outbound::drop_spent();
            self.wake_all();
        }
    }

    /// Has the driver forget the socket; the engine, if it is still there.
    fn unbind(&self) -> Option<Rc<Engine>> {
        let mut state = self.state.borrow_mut();
        let bound = state.binding.take()?;
        bound.forget(state.sys.as_ref()?)
    }

    fn wake_all(&self) {
        let read = ReadSide::half(self).turn.all();
        let write = WriteSide::half(self).turn.all();
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
        let sys = state.sys.take()?;
        let read = std::mem::take(&mut state.read.side);
        let mut write = std::mem::take(&mut state.write.side);
        // The scheduler was asked on behalf of a socket that is no more.
        write.marked = false;
        Some(Parts { sys, settings: self.settings.get(), read, write })
    }

    /// One handle less. What the last one leaves queued is still sent, by the scheduler.
    pub(crate) fn release(self: &Rc<Self>) {
        let left = self.handles.get() - 1;
        self.handles.set(left);
        if left == 0 && !self.state.borrow().write.side.marked {
            self.say_goodbye();
            self.linger();
        }
    }

    /// Has TLS tell the peer that nothing follows, once nothing is queued; what the kernel has no
    /// room for is sent as the queue is.
    fn say_goodbye(&self) -> Progress<()> {
        let State { sys, write, .. } = &mut *self.state.borrow_mut();
        match sys {
            Some(sys) if self.is_open() && write.side.queued() == 0 => {
                sys.say_goodbye();
                write.side.push(sys)
            }
            _ => Progress::Done(Ok(())),
        }
    }

    fn linger(self: &Rc<Self>) {
        if !self.has_unsent() {
            return;
        }
        match self.engine() {
            Some(engine) => self.linger_on(&engine),
            None => tracing::warn!("asyncoro: {}", self.abandon()),
        }
    }

    fn linger_on(self: &Rc<Self>, engine: &Engine) {
        if !self.lingering.replace(true) {
            engine.linger(Rc::<Core>::clone(self));
        }
    }

    fn report(&self, ready: Ready) -> (Option<Waiter>, Option<Waiter>, bool) {
        let (mut reader, mut writer, mut flush) = (None, None, false);
        let State { sys, read, write, .. } = &mut *self.state.borrow_mut();
        if ready.any(Ready::READ) {
            read.side.refill();
            read.side.suspicious |= ready.any(Ready::HANGUP.and(Ready::URGENT));
            reader = read.turn.waiter();
        }
        if ready.any(Ready::WRITE) {
            write.side.refill();
            writer = write.turn.waiter();
            let has_unsent = sys.as_ref().is_some_and(|sys| write.side.has_unsent(sys));
            flush = writer.is_none() && has_unsent;
        }
        (reader, writer, flush)
    }

    /// Stops asking for writability where each sent datagram would report it.
    fn narrow(&self, engine: &Engine) {
        if self.kind.is_tcp() {
            return;
        }
        let state = &mut *self.state.borrow_mut();
        if let (Some(sys), Some(bound)) = (&state.sys, &mut state.binding)
            && state.read.side.hears_of_room
            // A failure leaves it as it was: some events too many.
            && engine.reregister(sys.fd(), Interest::Read, bound.token).is_ok()
        {
            state.read.side.hears_of_room = false;
        }
    }
}

impl Binding {
    /// Has the driver forget the socket; its engine, if it is still there.
    fn forget(self, sys: &Sys) -> Option<Rc<Engine>> {
        let engine = self.engine.upgrade()?;
        engine.deregister(sys.fd(), self.token);
        Some(engine)
    }
}

impl Source for Core {
    fn ready(self: Rc<Self>, ready: Ready, engine: &Engine) {
        let (reader, writer, flush) = self.report(ready);
        if flush {
            self.mark_dirty(engine);
        } else if ready.any(Ready::WRITE) && writer.is_none() {
            self.narrow(engine);
        }
        if let Some(reader) = reader {
            reader.wake_on(engine);
        }
        if let Some(writer) = writer {
            writer.wake_on(engine);
        }
    }

    fn flush(self: Rc<Self>, engine: &Engine) {
        let mut progress = {
            let state = &mut *self.state.borrow_mut();
            state.write.side.marked = false;
            match &state.sys {
                Some(sys) if self.is_open() => state.write.side.flush(sys),
                _ => return,
            }
        };
        outbound::drop_spent();
        if self.handles.get() == 0 && matches!(progress, Progress::Done(Ok(()))) {
            progress = self.say_goodbye();
        }
        if !matches!(progress, Progress::Done(_)) {
            // What cannot be watched cannot be sent either; the next verb tells the same error.
            if let Err(error) = self.watch(engine, Direction::Write) {
                WriteSide::half(&self).side.fail(&error);
                outbound::drop_spent();
            }
            if self.handles.get() == 0 {
                self.linger_on(engine);
            }
            return;
        }
        let writer = WriteSide::half(&self).turn.waiter();
        writer.into_iter().for_each(Waiter::wake);
    }

    fn has_unsent(&self) -> bool {
        let state = self.state.borrow();
        let unsent = state.sys.as_ref().is_some_and(|sys| state.write.side.has_unsent(sys));
        self.is_open() && unsent
    }

    fn abandon(&self) -> String {
        let bytes = WriteSide::half(self).side.abandon();
        let peer = self.with_sys(|sys| Ok(sys.peer_addr()?));
        let peer = peer.map_or_else(|_| "its peer".to_owned(), |peer| peer.to_string());
        self.close();
        format!("a socket was closed with {bytes} bytes for {peer} unsent")
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let engine = self.unbind();
        if let Some(sys) = self.state.get_mut().sys.take() {
            sys.drain_before_close();
        }
        if let Some(engine) = engine.or_else(|| current::with(Engine::weak)?.upgrade()) {
            engine.descriptor_closed();
        }
    }
}
