//! Who is resumed, how often, and what happens when one has ended: the hot loop of a scheduler.

use std::{fmt, mem::ManuallyDrop, task::Context, time::Duration};

use super::{BUDGET, Engine, MANY_BYTES, count};
use crate::{
    coro::{
        cell::Body,
        log_panic,
        table::{MAIN, Next},
        waker::Key,
    },
    driver::Driver,
    foreign, log,
};

impl Engine {
    /// Calls `resume` for `run`'s own future, with a fresh budget.
    pub(in crate::coro) fn resume_main(&self, resume: impl FnOnce()) {
        self.begin(self.main_key());
        resume();
        self.running.set(0);
        if self.woken.get() {
            self.wake_main();
        }
    }

    /// A fresh budget for the coroutine of `key`, which is resumed now.
    #[inline]
    fn begin(&self, key: Key) {
        count(&self.counters.resumes, 1);
        self.budget.set(BUDGET);
        self.running.set(key.pack());
        self.woken.set(false);
    }

    /// Resumes who is ready, in their order and at most so many times. If it becomes the turn of
    /// `run`'s own future it stops there, and says how many times are left behind that.
    pub(in crate::coro) fn resume_ready(&self, times: usize) -> Option<usize> {
        self.resume_ready_by::<false>(times)
    }

    /// The same with a look at the clock before and after each resume: a loop of its own, so that
    /// the other one pays nothing for it.
    #[cold]
    #[inline(never)]
    fn resume_ready_timed(&self, times: usize) -> Option<usize> {
        let began = Driver::now();
        let mains_turn = self.resume_ready_by::<true>(times);
        self.others_took.set(self.others_took.get() + Driver::now().duration_since(began));
        mains_turn
    }

    /// The loop that a turn resumes with.
    pub(in crate::coro) fn way_to_resume(&self) -> fn(&Engine, usize) -> Option<usize> {
        if self.settings.slow_resume.is_some() {
            self.others_took.set(Duration::ZERO);
            self.turn_began.set(Some(Driver::now()));
            return Engine::resume_ready_timed;
        }
        Engine::resume_ready
    }

    /// After the resumes of a turn: warns of `run`'s own future, if a bound is set and it has taken
    /// longer, which is what the turn took without the others.
    pub(in crate::coro) fn look_at_main(&self) {
        if let Some(began) = self.turn_began.take() {
            let took = Driver::now().duration_since(began).saturating_sub(self.others_took.get());
            self.blame_if_slow(took, MAIN, &"the future of run");
        }
    }

    #[inline(always)]
    fn resume_ready_by<const TIMED: bool>(&self, times: usize) -> Option<usize> {
        // `run`'s own future may have ended the turn.
        let mut left = if self.ends_turn.take() { 0 } else { times };
        let mut mains_turn = None;
        while left > 0 {
            left -= 1;
            let next = self.table.borrow_mut().next();
            match next {
                Some(Next::Coroutine { index, generation, body }) => {
                    left = self.resume::<TIMED>(index, generation, body, left);
                    if self.bytes_left.get() == 0 {
                        left = 0;
                    }
                }
                Some(Next::Main) => {
                    mains_turn = Some(left);
                    break;
                }
                None => break,
            }
            self.refuse_in_child();
        }
        self.running.set(0);
        mains_turn
    }

    /// Resumes a coroutine that was taken out; again and again, while it is the only one who is
    /// ready and there are times left. How many are then.
    #[inline(always)]
    fn resume<const TIMED: bool>(
        &self,
        index: u32,
        generation: u16,
        mut body: Body,
        times: usize,
    ) -> usize {
        let key = Key { slot: self.slot, generation, index };
        // A waker of ours owns nothing, and its drop is a call for nothing.
        let waker = ManuallyDrop::new(key.waker());
        let mut left = times;
        loop {
            self.begin(key);
            let began = TIMED.then(Driver::now);
            let has_ended = body.resume(&mut Context::from_waker(&waker));
            if let Some(began) = began {
                let took = Driver::now().duration_since(began);
                self.blame_if_slow(took, index, &body.who(None));
            }
            if has_ended {
                // It may still be woken by what it drops, which then is nothing.
                self.end(index, body);
                self.running.set(0);
                return left;
            }
            let mut table = self.table.borrow_mut();
            let woken = self.woken.get();
            let is_over = left == 0 || self.bytes_left.get() == 0;
            if !woken || !table.is_idle() || is_over || self.is_inherited() {
                table.put_back(index, body, woken);
                return if woken && self.ends_turn.take() { 0 } else { left };
            }
            if self.ends_turn.take() {
                table.put_back(index, body, woken);
                return 0;
            }
            left -= 1;
        }
    }

    /// Warns of a resume that has taken longer than the bound.
    #[cold]
    #[inline(never)]
    fn blame_if_slow(&self, took: Duration, index: u32, unnamed: &dyn fmt::Display) {
        if self.settings.slow_resume.is_some_and(|bound| took > bound) {
            let name = self.names.borrow().get(&index).cloned();
            let who: &dyn fmt::Display = name.as_ref().map_or(unnamed, |name| name);
            log::warn(format_args!(
                "{who} ran for {took:.1?} without waiting, and nobody else could: blocking calls \
                 belong into `asyncoro::pool::run`, long computations yield (`coro::yield_now`)"
            ));
        }
    }

    #[inline]
    fn end(&self, index: u32, body: Body) {
        let removed = self.table.borrow_mut().remove(index);
        if removed.named {
            self.end_named(index, body);
        } else {
            self.finish(body, None);
        }
    }

    #[cold]
    fn end_named(&self, index: u32, mut body: Body) {
        let name = self.names.borrow_mut().remove(&index);
        if let Some(name) = &name {
            body.name_panic(name);
        }
        self.finish(body, name.as_deref());
    }

    pub(super) fn finish(&self, body: Body, name: Option<&str>) {
        let whose = body.who(name);
        if let Some(payload) = body.finish(whose) {
            log_panic(whose, &*payload);
            foreign::discard(payload);
        }
    }

    /// Ends every coroutine. What is spawned meanwhile ends at once.
    pub(in crate::coro) fn end_all(&self) {
        self.ending.set(true);
        self.table.borrow_mut().stop_queueing();
        let mut from = 0;
        loop {
            let Some(index) = self.table.borrow().any_from(from) else { break };
            let begun = self.table.borrow_mut().begin(index);
            if let Some((mut body, generation)) = begun {
                self.begin(Key { slot: self.slot, generation, index });
                body.end();
                self.end(index, body);
            }
            from = index;
        }
        self.running.set(0);
        self.ending.set(false);
        self.tell_idle();
    }

    /// Spends one immediate completion; `false` when the coroutine must let others go first.
    pub(crate) fn spend(&self) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(1));
        left > 0
    }

    /// Charges what a verb has moved; with all bytes of the turn spent, the turn ends.
    #[inline]
    pub(crate) fn charge(&self, bytes: usize) {
        if bytes >= MANY_BYTES {
            self.charge_many(bytes);
        }
    }

    #[inline(never)]
    fn charge_many(&self, bytes: usize) {
        let left = self.bytes_left.get().saturating_sub(bytes);
        self.bytes_left.set(left);
        if left == 0 {
            self.budget.set(0);
        }
    }

    /// Has the coroutine let others go first at its next verb.
    pub(crate) fn exhaust(&self) {
        self.budget.set(0);
    }
}
