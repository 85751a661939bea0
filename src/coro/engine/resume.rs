//! Who is resumed, how often, and what happens when one has ended: the hot loop of a scheduler.

use std::{mem::ManuallyDrop, task::Context};

use super::{BUDGET, Engine, MANY_BYTES, count};
use crate::{
    coro::{cell::Body, log_panic, table::Next, waker::Key},
    foreign,
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
        let mut left = times;
        let mut mains_turn = None;
        while left > 0 {
            left -= 1;
            let next = self.table.borrow_mut().next();
            match next {
                Some(Next::Coroutine { index, generation, body }) => {
                    left = self.resume(index, generation, body, left);
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
    fn resume(&self, index: u32, generation: u16, mut body: Body, times: usize) -> usize {
        let key = Key { slot: self.slot, generation, index };
        // A waker of ours owns nothing, and its drop is a call for nothing.
        let waker = ManuallyDrop::new(key.waker());
        let mut left = times;
        loop {
            self.begin(key);
            if body.resume(&mut Context::from_waker(&waker)) {
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
                return left;
            }
            left -= 1;
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
        let whose = name.unwrap_or("a coroutine without a name");
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
