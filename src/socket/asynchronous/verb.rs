//! The future that drives an operation: it makes an attempt, waits for readiness in its coroutine,
//! and tries again.

use std::{
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::{
    core::Core,
    lock::{Left, Ticket},
};
use crate::{
    coro::{Alarm, Waiter, current, engine::Engine},
    driver::Driver,
    error,
    socket::{
        op::{Lend, Op},
        side::{Progress, Side},
    },
    sys::Direction,
};

/// Makes a step for a new verb, or for one that has the lock.
struct Locked<'a> {
    core: &'a Rc<Core>,
    engine: &'a Engine,
    comes_anew: bool,
}

impl<S: Side> Lend<S> for Locked<'_> {
    #[inline]
    fn step<O: Op<Side = S>>(&mut self, op: &mut O) -> Option<Progress<O::Output>> {
        self.core.step_on(self.engine, op, self.comes_anew)
    }

    fn is_closed(&self) -> bool {
        self.core.is_closing()
    }
}

/// The future of a verb: takes its direction's lock, steps, waits.
///
/// Dropping it passes the lock on and calls [`Op::give_up`].
#[must_use = "a verb does nothing unless awaited"]
pub(crate) struct Verb<'a, O: Op> {
    core: &'a Rc<Core>,
    op: O,
    stage: VerbStage,
    /// Boxed, since most sockets have no timeout.
    alarm: Option<Box<Alarm>>,
    /// Bytes moved when the alarm was set, modulo 2^32: only a change matters.
    moved: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum VerbStage {
    Fresh,
    /// The verb has let others go first.
    SteppedBack,
    InLine(Ticket),
    HasLock,
    Over,
}

impl<'a, O: Op> Verb<'a, O> {
    pub(crate) fn new(core: &'a Rc<Core>, op: O) -> Verb<'a, O> {
        Verb { core, op, stage: VerbStage::Fresh, alarm: None, moved: 0 }
    }

    /// Covers the path of most verbs: the system call succeeds at the first poll, or after one
    /// wait.
    #[inline]
    fn poll_on(&mut self, engine: &Engine, cx: &mut Context<'_>) -> Poll<io::Result<O::Output>> {
        let core = self.core;
        if core.refuses::<O>() {
            return self.end(Err(error::closed()));
        }
        let comes_anew = matches!(self.stage, VerbStage::Fresh | VerbStage::SteppedBack);
        if comes_anew {
            // Checked before the system call, so that no result is lost when the budget is used up.
            if !engine.spend() && self.steps_back(cx) {
                return Poll::Pending;
            }
            O::check(core.kind())?;
        } else if self.stage != VerbStage::HasLock && !self.is_called(cx) {
            return self.pend(engine, cx);
        }
        match self.op.attempt(&mut Locked { core, engine, comes_anew }) {
            // The usual path tests the result once, and the rare case after that.
            Some(Progress::Done(Ok(value))) => {
                if !comes_anew {
                    return self.end(Ok(value));
                }
                self.stage = VerbStage::Over;
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

    /// Lets others go first, once. A poll before the scheduler has resumed the others, as by an
    /// executor inside a coroutine, makes an attempt: it would spin for ever otherwise.
    #[cold]
    fn steps_back(&mut self, cx: &mut Context<'_>) -> bool {
        let steps_back = self.stage == VerbStage::Fresh;
        if steps_back {
            self.stage = VerbStage::SteppedBack;
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
        let ticket = self.core.half::<O::Side>().lock.queue(waiter);
        self.stage = VerbStage::InLine(ticket);
        self.pend(engine, cx)
    }

    /// Tells whether the lock was passed to this waiting verb.
    #[cold]
    fn is_called(&mut self, cx: &mut Context<'_>) -> bool {
        let VerbStage::InLine(ticket) = self.stage else {
            panic!("{} was polled after it was ready", O::VERB)
        };
        let waiter = Waiter::of(cx.waker());
        let (called, old) = self.core.half::<O::Side>().lock.called(ticket, waiter);
        // The drop may run foreign code, which may use the socket.
        drop(old);
        if called {
            self.stage = VerbStage::HasLock;
            self.alarm = None;
        }
        called
    }

    /// Suspends until the direction is ready.
    fn wait(&mut self, engine: &Engine, cx: &mut Context<'_>) -> Poll<io::Result<O::Output>> {
        self.hold_lock(cx);
        if O::Side::DIRECTION == Direction::Read && self.core.has_pending() {
            // Reading may have produced records to send, for which there was no room.
            self.core.mark_dirty(engine);
        }
        if let Err(error) = self.core.watch(engine, O::Side::DIRECTION) {
            return self.end(Err(error));
        }
        self.pend(engine, cx)
    }

    /// Continues, with the lock, after the others were resumed and the driver was asked.
    #[cold]
    fn let_others_go_first(
        &mut self,
        engine: &Engine,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<O::Output>> {
        self.hold_lock(cx);
        if O::Side::DIRECTION == Direction::Read {
            self.core.reads_later();
        }
        if self.core.has_pending() {
            self.core.mark_dirty(engine);
        }
        let poll = self.pend(engine, cx);
        if poll.is_pending() {
            cx.waker().wake_by_ref();
            engine.end_turn_now();
        }
        poll
    }

    #[inline(always)]
    fn hold_lock(&mut self, cx: &mut Context<'_>) {
        let waker = cx.waker();
        let mut half = self.core.half::<O::Side>();
        if matches!(self.stage, VerbStage::Fresh | VerbStage::SteppedBack) {
            half.lock.take();
            self.stage = VerbStage::HasLock;
        }
        if !half.lock.wakes(waker) {
            drop(half);
            let waker = Waiter::of(waker);
            let old = self.core.half::<O::Side>().lock.wait(waker);
            drop(old);
        }
    }

    /// Watches the timeout, which starts again with each progress.
    fn pend(&mut self, engine: &Engine, cx: &mut Context<'_>) -> Poll<io::Result<O::Output>> {
        let Some(timeout) = self.core.settings().timeout() else { return Poll::Pending };
        match &self.alarm {
            Some(alarm) if self.moved == self.moved() && alarm.is_on(engine) => {
                if alarm.has_fired(engine) {
                    return self.time_out();
                }
                alarm.set_waker(engine, cx.waker());
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

    /// Returns a number that changes with each byte that moves, including queued bytes before the
    /// verb's own.
    fn moved(&self) -> u32 {
        let side = self.core.moved::<O::Side>();
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
            self.pass_lock();
        }
        Poll::Ready(result)
    }

    /// Ends without a result: abandons the operation, then passes the lock on.
    fn leave(&mut self) -> bool {
        let waits = matches!(self.stage, VerbStage::InLine(_) | VerbStage::HasLock);
        let queued = waits && self.op.give_up(&mut self.core.half::<O::Side>().side);
        // Readiness may have been reported to this verb alone, and the queue waits for it, too.
        if self.stage == VerbStage::HasLock && O::Side::DIRECTION == Direction::Write {
            self.core.mark_dirty_where_bound();
        }
        self.pass_lock();
        queued
    }

    fn pass_lock(&mut self) {
        let stage = std::mem::replace(&mut self.stage, VerbStage::Over);
        if matches!(stage, VerbStage::Fresh | VerbStage::SteppedBack | VerbStage::Over) {
            return;
        }
        let mut half = match stage {
            VerbStage::HasLock => self.core.half_to_leave::<O::Side>(),
            _ => self.core.half::<O::Side>(),
        };
        let left = match stage {
            VerbStage::InLine(ticket) => half.lock.leave(ticket),
            _ if !O::CLOSES && half.lock.is_seized() => Left::default(),
            _ => half.lock.pass(),
        };
        drop(half);
        self.alarm = None;
        drop(left.drop);
        if let Some(next) = left.wake {
            next.wake();
        }
    }
}

// The operation may be moved: nothing points into it.
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
        if matches!(self.stage, VerbStage::InLine(_) | VerbStage::HasLock) {
            self.leave();
        }
    }
}
