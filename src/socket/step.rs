//! A verb is a step: a small resumable value that never waits itself, and the Future that drives
//! it.
//!
//! An [`Op`] makes one attempt at a time. Who drives it decides what waiting means: [`Verb`] parks
//! a coroutine, `blocking/` calls poll(2). So the faces cannot differ in what they do.

use std::{
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::{
    AsyncSocket,
    core::{Core, Side},
    link::Link,
    settings::Settings,
    turn::{Left, Ticket},
};
use crate::{
    coro::{Alarm, Waiter, current, engine::Engine},
    driver::Driver,
    error,
    sys::{Direction, Kind},
};

/// How far a step has come.
pub(crate) enum Progress<T> {
    /// It is over.
    Done(io::Result<T>),
    /// It goes on when its direction is ready.
    Wait,
    /// It can go on at once, but has had its [`Share`]: it does when others have had their turn.
    Again,
}

/// What one step may do at most before it lets others have their turn.
pub(crate) struct Share {
    bytes: usize,
    calls: u32,
}

impl Share {
    /// Bytes of a step, and so of one system call: a peer that keeps up can keep a call going for
    /// as long as there is room to put what it sends.
    pub(crate) const BYTES: usize = 256 << 10;

    /// System calls of a step, for who sends byte by byte.
    const CALLS: u32 = 64;

    pub(crate) fn new() -> Share {
        Share { bytes: Share::BYTES, calls: Share::CALLS }
    }

    /// Counts a call that has moved so many bytes; whether another one may follow.
    pub(crate) fn goes_on(&mut self, moved: usize) -> bool {
        self.bytes = self.bytes.saturating_sub(moved);
        self.calls -= 1;
        self.bytes > 0 && self.calls > 0
    }
}

impl<T> Progress<T> {
    /// The same progress with another value.
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Progress<U> {
        match self {
            Progress::Done(result) => Progress::Done(result.map(f)),
            Progress::Wait => Progress::Wait,
            Progress::Again => Progress::Again,
        }
    }
}

/// What kind of socket a verb works on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Any,
    Stream,
    Datagram,
    /// A socket of connections: streams, and Unix sockets that carry records on one.
    Connections,
}

/// One operation on a socket.
pub(crate) trait Op {
    /// The side it works on.
    type Side: Side;
    type Output;
    /// Its name, for errors.
    const VERB: &'static str;
    /// Whether it may go on while the socket is being closed.
    const CLOSES: bool = false;

    /// What kind of socket it works on.
    const NEEDS: Needs;

    /// Refuses a socket of the wrong kind, naming both.
    fn check(kind: Kind) -> io::Result<()> {
        let fits = match Self::NEEDS {
            Needs::Any => true,
            Needs::Stream => kind.is_stream(),
            Needs::Datagram => !kind.is_stream(),
            Needs::Connections => kind.is_connected(),
        };
        if fits { Ok(()) } else { Err(error::wrong_kind(Self::VERB, kind.name())) }
    }

    /// Makes an attempt.
    fn step(
        &mut self,
        link: &Link,
        settings: Settings,
        side: &mut Self::Side,
    ) -> Progress<Self::Output>;

    /// Makes an attempt where `lend` steps it. An operation that calls code of the caller's does so
    /// in here, between steps: nothing is borrowed or locked meanwhile.
    #[inline]
    fn attempt(&mut self, lend: &mut impl Lend<Self::Side>) -> Option<Progress<Self::Output>>
    where
        Self: Sized,
    {
        lend.step(self)
    }

    /// Bytes moved so far. More of them restart the timeout.
    fn moved(&self) -> usize {
        0
    }

    /// Bytes that it has moved all in all, now that it is done, for who may be many: the turn of
    /// the scheduler has a bound.
    fn weight(&self, _output: &Self::Output) -> usize {
        0
    }

    /// Whether nobody misses the output: the end of the stream, which may be our own doing where
    /// another thread closes the socket, or readiness of what is no more.
    fn is_nothing(&self, _output: &Self::Output) -> bool {
        false
    }

    /// Called when it will not be stepped again though it is not done; `true` if what is left of it
    /// was queued and will still be sent.
    fn give_up(&mut self, _side: &mut Self::Side) -> bool {
        false
    }
}

/// Steps operations, lending them the socket's state for as long as a step takes.
pub(crate) trait Lend<S> {
    /// Steps an operation; `None` if another verb has come to have the turn.
    fn step<O: Op<Side = S>>(&mut self, op: &mut O) -> Option<Progress<O::Output>>;
    /// Whether the socket was closed, by the code of the caller's that was called meanwhile.
    fn is_closed(&self) -> bool;
}

/// Steps an operation of a verb that has the turn, or comes anew.
struct InTurn<'a> {
    core: &'a Rc<Core>,
    engine: &'a Engine,
    comes_anew: bool,
}

impl<S: Side> Lend<S> for InTurn<'_> {
    #[inline]
    fn step<O: Op<Side = S>>(&mut self, op: &mut O) -> Option<Progress<O::Output>> {
        self.core.step_on(self.engine, op, self.comes_anew)
    }

    fn is_closed(&self) -> bool {
        self.core.is_closing()
    }
}

/// The future of a verb: takes its turn, steps, waits.
///
/// Dropping it passes the turn on and calls [`Op::give_up`].
#[must_use = "a verb does nothing unless awaited"]
pub(crate) struct Verb<'a, O: Op> {
    socket: &'a AsyncSocket,
    op: O,
    stage: Stage,
    /// In a box, since most sockets have no timeout.
    alarm: Option<Box<Alarm>>,
    /// Bytes moved when the alarm was set, as far as they fit: only whether it changes matters.
    moved: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fresh,
    /// It has let others go first.
    SteppedBack,
    InLine(Ticket),
    HasTurn,
    Over,
}

impl<'a, O: Op> Verb<'a, O> {
    pub(crate) fn new(socket: &'a AsyncSocket, op: O) -> Verb<'a, O> {
        Verb { socket, op, stage: Stage::Fresh, alarm: None, moved: 0 }
    }

    /// What most verbs do is all in here: the system call at once, and done, or, having waited,
    /// again and done.
    #[inline]
    fn poll_on(&mut self, engine: &Engine, cx: &mut Context<'_>) -> Poll<io::Result<O::Output>> {
        let core = &self.socket.core;
        if core.refuses::<O>() {
            return self.end(Err(error::closed()));
        }
        let comes_anew = matches!(self.stage, Stage::Fresh | Stage::SteppedBack);
        if comes_anew {
            // Before the system call, so that nothing is lost when it runs out.
            if !engine.spend() && self.steps_back(cx) {
                return Poll::Pending;
            }
            O::check(core.kind())?;
        } else if self.stage != Stage::HasTurn && !self.is_called(cx) {
            return self.pend(engine, cx);
        }
        match self.op.attempt(&mut InTurn { core, engine, comes_anew }) {
            // The usual way looks once at what has come out, and then at this.
            Some(Progress::Done(Ok(value))) => {
                if !comes_anew {
                    return self.end(Ok(value));
                }
                self.stage = Stage::Over;
                engine.charge(self.op.weight(&value));
                Poll::Ready(Ok(value))
            }
            attempted => match attempted {
                Some(Progress::Done(result)) => self.end(result),
                Some(Progress::Wait) => self.wait(engine, cx),
                Some(Progress::Again) => self.let_others_go_first(engine, cx),
                None => self.stand_in_line(engine, cx),
            },
        }
    }

    /// Lets others go first, once. Who polls again before the scheduler has come round, as an
    /// executor inside of a coroutine does, would else spin for ever.
    #[cold]
    fn steps_back(&mut self, cx: &mut Context<'_>) -> bool {
        let steps_back = self.stage == Stage::Fresh;
        if steps_back {
            self.stage = Stage::SteppedBack;
            cx.waker().wake_by_ref();
        }
        steps_back
    }

    #[cold]
    fn stand_in_line(
        &mut self,
        engine: &Engine,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<O::Output>> {
        let waiter = Waiter::of(cx.waker());
        let ticket = O::Side::half(&self.socket.core).turn.queue(waiter);
        self.stage = Stage::InLine(ticket);
        self.pend(engine, cx)
    }

    /// Whether the verb in line was called, and so has the turn.
    #[cold]
    fn is_called(&mut self, cx: &mut Context<'_>) -> bool {
        let Stage::InLine(ticket) = self.stage else {
            panic!("{} was polled after it was ready", O::VERB)
        };
        let waiter = Waiter::of(cx.waker());
        let (called, old) = O::Side::half(&self.socket.core).turn.called(ticket, waiter);
        // It may be foreign code, and look at the socket.
        drop(old);
        if called {
            self.stage = Stage::HasTurn;
            self.alarm = None;
        }
        called
    }

    /// Parks until the direction is ready.
    fn wait(&mut self, engine: &Engine, cx: &mut Context<'_>) -> Poll<io::Result<O::Output>> {
        self.hold_turn(cx);
        if O::Side::DIRECTION == Direction::Read && self.socket.core.has_pending() {
            // TLS may have to answer what it reads, and had no room to.
            self.socket.core.mark_dirty(engine);
        }
        if let Err(error) = self.socket.core.watch(engine, O::Side::DIRECTION) {
            return self.end(Err(error));
        }
        self.pend(engine, cx)
    }

    /// Goes on, in its turn, when the others have been resumed and the driver was asked.
    #[cold]
    fn let_others_go_first(
        &mut self,
        engine: &Engine,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<O::Output>> {
        self.hold_turn(cx);
        if self.socket.core.has_pending() {
            self.socket.core.mark_dirty(engine);
        }
        let poll = self.pend(engine, cx);
        if poll.is_pending() {
            cx.waker().wake_by_ref();
            engine.end_turn_now();
        }
        poll
    }

    #[inline(always)]
    fn hold_turn(&mut self, cx: &mut Context<'_>) {
        let waker = cx.waker();
        let mut half = O::Side::half(&self.socket.core);
        if matches!(self.stage, Stage::Fresh | Stage::SteppedBack) {
            half.turn.take();
            self.stage = Stage::HasTurn;
        }
        if !half.turn.wakes(waker) {
            drop(half);
            let waker = Waiter::of(waker);
            let old = O::Side::half(&self.socket.core).turn.wait(waker);
            drop(old);
        }
    }

    /// Not yet: watches the timeout, which starts anew with each progress.
    fn pend(&mut self, engine: &Engine, cx: &mut Context<'_>) -> Poll<io::Result<O::Output>> {
        let Some(timeout) = self.socket.core.settings().timeout() else { return Poll::Pending };
        match &self.alarm {
            Some(alarm) if self.moved == self.moved() && alarm.is_on(engine) => {
                if alarm.has_fired(engine) {
                    return self.time_out();
                }
                alarm.rewaker(engine, cx.waker());
            }
            _ => {
                self.moved = self.moved();
                self.alarm = Driver::now()
                    .checked_add(timeout)
                    .map(|deadline| Box::new(Alarm::arm(engine, deadline, cx.waker())));
            }
        }
        Poll::Pending
    }

    /// A number that changes with each byte that moves, the queue's before the verb's among them.
    fn moved(&self) -> u32 {
        let side = self.socket.core.moved::<O::Side>();
        side.wrapping_add(self.op.moved() as u32)
    }

    fn time_out(&mut self) -> Poll<io::Result<O::Output>> {
        let moved = self.op.moved();
        let queued = self.leave();
        Poll::Ready(Err(error::timed_out(moved, queued)))
    }

    fn end(&mut self, result: io::Result<O::Output>) -> Poll<io::Result<O::Output>> {
        if result.is_err() {
            self.leave();
        } else {
            self.pass_turn();
        }
        Poll::Ready(result)
    }

    /// Ends without a result: gives up, then passes the turn on.
    fn leave(&mut self) -> bool {
        let waits = matches!(self.stage, Stage::InLine(_) | Stage::HasTurn);
        let queued = waits && self.op.give_up(&mut O::Side::half(&self.socket.core).side);
        // Readiness may have been told to this verb alone, and the queue waits for it, too.
        if self.stage == Stage::HasTurn && O::Side::DIRECTION == Direction::Write {
            self.socket.core.mark_dirty_where_bound();
        }
        self.pass_turn();
        queued
    }

    fn pass_turn(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        if matches!(stage, Stage::Fresh | Stage::SteppedBack | Stage::Over) {
            return;
        }
        let mut half = O::Side::half(&self.socket.core);
        let left = match stage {
            Stage::InLine(ticket) => half.turn.leave(ticket),
            _ if !O::CLOSES && half.turn.is_seized() => Left::default(),
            _ => half.turn.pass(),
        };
        drop(half);
        self.alarm = None;
        drop(left.drop);
        if let Some(next) = left.wake {
            next.wake();
        }
    }
}

// An operation is moved freely; nothing in it points to itself.
impl<O: Op> Unpin for Verb<'_, O> {}

impl<O: Op> Future for Verb<'_, O> {
    type Output = io::Result<O::Output>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        current::expect(O::VERB, |engine| self.poll_on(engine, cx))
    }
}

impl<O: Op> Drop for Verb<'_, O> {
    #[inline]
    fn drop(&mut self) {
        if matches!(self.stage, Stage::InLine(_) | Stage::HasTurn) {
            self.leave();
        }
    }
}
