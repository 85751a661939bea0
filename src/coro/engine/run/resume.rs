//! Resumes coroutines and ends those that are done: the hot loop of a scheduler.

use std::{fmt, mem::ManuallyDrop, panic::Location, task::Context, time::Duration};

use super::{
    BUDGET, Run, count,
    extras::{Extra, Past},
};
use crate::{
    coro::{
        cell::body::Body,
        key::{Key, MAIN},
        table::Next,
        who::Who,
    },
    driver::Driver,
    foreign, log,
};

impl Run {
    /// Calls `resume` for `run`'s own future, with a fresh budget.
    pub(in crate::coro) fn resume_main(&self, resume: impl FnOnce()) {
        self.begin(self.main_key());
        resume();
        self.local.running.set(0);
        self.ask_whether_to_go_on();
        if self.local.woken.get() {
            self.wake_main();
        }
    }

    /// Gives a fresh budget to the coroutine of `key`, which is resumed now.
    #[inline]
    pub(super) fn begin(&self, key: Key) {
        self.local.running.set(key.pack());
        self.begin_again();
    }

    /// Gives a fresh budget to the coroutine that was resumed last.
    #[inline]
    fn begin_again(&self) {
        count(&self.resumes, 1);
        self.budget.set(BUDGET);
        self.local.woken.set(false);
    }

    /// Begins a turn with at most `times` resumes.
    pub(in crate::coro) fn begin_turn(&self, times: usize) {
        count(&self.turns, 1);
        self.resumes_left.set(times);
        if self.slow_resume.is_some() {
            self.others_took.set(Duration::ZERO);
            self.turn_began.set(Some(Driver::now()));
        }
    }

    /// Resumes ready coroutines, in their order and as often as the turn allows. Stops at `run`'s
    /// own future; returns whether it did.
    pub(in crate::coro) fn resume_ready(&self) -> bool {
        if self.slow_resume.is_some() {
            return self.resume_ready_timed();
        }
        if self.may_go_on.get().is_some() {
            return self.resume_ready_as_guest();
        }
        self.resume_ready_by(|body, cx, _| body.resume(cx))
    }

    /// Resumes like [`Run::resume_ready`], and asks after each whether the turn goes on.
    #[inline(never)]
    fn resume_ready_as_guest(&self) -> bool {
        self.resume_ready_by(|body, cx, _| {
            let has_ended = body.resume(cx);
            self.ask_whether_to_go_on();
            has_ended
        })
    }

    /// Ends the turn if its host wants that.
    #[inline]
    fn ask_whether_to_go_on(&self) {
        if self.may_go_on.get().is_some_and(|may_go_on| !may_go_on()) {
            self.end_turn_now();
        }
    }

    /// Resumes like [`Run::resume_ready`], and reads the clock before and after each: a separate
    /// loop, so that the usual one pays nothing for it.
    #[cold]
    #[inline(never)]
    fn resume_ready_timed(&self) -> bool {
        let began = Driver::now();
        let is_mains_turn = self.resume_ready_by(|body, cx, index| {
            let began = Driver::now();
            let has_ended = body.resume(cx);
            let took = Driver::now().duration_since(began);
            self.blame_if_slow(took, index, Some(body.who(None).place));
            self.ask_whether_to_go_on();
            has_ended
        });
        self.others_took.set(self.others_took.get() + Driver::now().duration_since(began));
        is_mains_turn
    }

    /// Warns after the resumes of a turn if `run`'s own future has taken longer than the bound: the
    /// time of the turn without that of the coroutines.
    pub(in crate::coro) fn look_at_main(&self) {
        if self.slow_resume.is_some()
            && let Some(began) = self.turn_began.take()
        {
            let took = Driver::now().duration_since(began).saturating_sub(self.others_took.get());
            self.blame_if_slow(took, MAIN, None);
        }
    }

    /// Resumes ready coroutines by calling `resume`, which gets a body and its place and returns
    /// whether it has ended.
    #[inline(always)]
    fn resume_ready_by(&self, resume: impl Fn(&mut Body, &mut Context<'_>, u32) -> bool) -> bool {
        let mut is_mains_turn = false;
        while self.takes_a_resume() {
            let next = self.local.table.borrow_mut().next();
            match next {
                Some(Next::Coroutine { index, generation, body }) => {
                    self.resume(index, generation, body, &resume);
                }
                Some(Next::Main) => {
                    is_mains_turn = true;
                    break;
                }
                None => break,
            }
            self.refuse_in_child();
        }
        self.local.running.set(0);
        is_mains_turn
    }

    /// Uses up one of the resumes left in the turn; `false` if there is none.
    #[inline]
    fn takes_a_resume(&self) -> bool {
        let left = self.resumes_left.get();
        if left > 0 {
            self.resumes_left.set(left - 1);
        }
        left > 0
    }

    /// Resumes a coroutine that was taken out; repeats that while it alone is ready and the turn
    /// has resumes left.
    #[inline(always)]
    fn resume(
        &self,
        index: u32,
        generation: u16,
        mut body: Body,
        resume: impl Fn(&mut Body, &mut Context<'_>, u32) -> bool,
    ) {
        let key = Key { slot: self.local.slot, generation, index };
        // A waker of ours owns nothing, so its drop would be a useless call.
        let waker = ManuallyDrop::new(key.waker());
        self.local.running.set(key.pack());
        loop {
            self.begin_again();
            if resume(&mut body, &mut Context::from_waker(&waker), index) {
                // What it drops may still wake it, without effect.
                self.end(index, body);
                self.local.running.set(0);
                return;
            }
            let woken = self.local.woken.get();
            let goes_on = woken && self.local.table.borrow_mut().is_idle() && !self.is_inherited();
            if !goes_on || !self.takes_a_resume() {
                self.local.table.borrow_mut().put_back(index, body, woken);
                return;
            }
        }
    }

    /// Warns of a resume that has taken longer than the bound.
    #[cold]
    #[inline(never)]
    fn blame_if_slow(&self, took: Duration, index: u32, place: Option<&'static Location<'static>>) {
        if self.slow_resume.is_some_and(|bound| took > bound) {
            let name = self.extras.name(index);
            let name = name.as_deref();
            let whose = place.map(|place| Who::new(name, place));
            let main = name.unwrap_or("the future of run");
            let who: &dyn fmt::Display = whose.as_ref().map_or(&main, |whose| whose);
            log::warn(format_args!(
                "{who} ran for {took:.1?} without waiting, and nobody else could: blocking calls \
                 belong into `asyncoro::pool::run`, long computations yield (`coro::yield_now`)"
            ));
        }
    }

    #[inline(always)]
    fn end(&self, index: u32, body: Body) {
        let removed = self.local.table.borrow_mut().remove(index);
        if removed.has_extra {
            self.end_with_extra(index, body);
        } else {
            body.finish_unnamed();
        }
    }

    /// Does the same, for the end of the scheduler.
    #[cold]
    #[inline(never)]
    pub(super) fn end_rarely(&self, index: u32, body: Body) {
        self.end(index, body);
    }

    #[cold]
    #[inline(never)]
    fn end_with_extra(&self, index: u32, body: Body) {
        match self.extras.take(index) {
            Some(extra) => self.end_extra(extra, Some(body)),
            None => body.finish_or_log(None),
        }
    }

    /// Drops what an ended coroutine has, begins its clean-up, and finishes it or leaves that to
    /// the clean-up.
    pub(super) fn end_extra(&self, extra: Extra, mut body: Option<Body>) {
        let Extra { name, hooks, start, locals, .. } = extra;
        for (_, value) in locals {
            foreign::contain("the drop of a local value", || drop(value));
        }
        if let (Some(body), Some(name)) = (&mut body, &name) {
            body.name_failure(name);
        }
        match (start, body) {
            (Some(start), body) => self.clean_up(hooks, start, Past { body, name }),
            (None, Some(body)) => body.finish_or_log(name.as_deref()),
            (None, None) => {}
        }
    }
}
