//! The coroutines of a scheduler: their names, what each may do in one resume, and when none is
//! left to wait for. `run/resume.rs` resumes them.
//!
//! A borrow of a cell never spans foreign code: bodies are resumed, ended and dropped, and answers
//! sent, while nothing is borrowed.

pub(in crate::coro) mod extras;
mod resume;

use std::{
    any::Any,
    cell::{Cell, RefCell},
    future::Future,
    panic::Location,
    rc::Rc,
    task::Waker,
    time::{Duration, Instant},
};

use self::extras::{Extras, Hook, Past, Start};
use super::settings::EngineSettings;
use crate::{
    coro::{
        cell::{self, Joint, body::Body},
        inbox::Answer,
        key::{Key, MAIN},
        local::Local,
        table::Next,
    },
    fork,
};

/// The coroutines of a scheduler.
pub(in crate::coro) struct Run {
    /// The table and the key of the coroutine being resumed: the state that a wake uses.
    pub(in crate::coro) local: Local,
    extras: Extras,
    /// Whether it is noted who has spawned whom.
    keeps_parents: bool,
    /// Channels to threads that wait until only daemons are left.
    idle_listeners: RefCell<Vec<Answer<()>>>,
    stopped: Cell<bool>,
    budget: Cell<u32>,
    /// Bytes that verbs may still move in this turn before it ends early.
    bytes_left: Cell<usize>,
    /// Resumes left in this turn; at zero, it ends after the present resume, and the driver is
    /// asked.
    resumes_left: Cell<usize>,
    ending: Cell<bool>,
    /// Longest resume before the log names the coroutine.
    slow_resume: Option<Duration>,
    /// Tells after a resume whether the turn may go on; of a scheduler that is a guest.
    may_go_on: Cell<Option<fn() -> bool>>,
    /// Whether what runs is none of its coroutines, but a call of its host's.
    is_beside: Cell<bool>,
    /// With a bound for slow resumes: when the turn began, and the time that coroutines took in it.
    turn_began: Cell<Option<Instant>>,
    others_took: Cell<Duration>,
    fork_generation: u32,
    pub(super) spawned: Cell<u64>,
    pub(super) resumes: Cell<u64>,
    pub(super) turns: Cell<u64>,
}

/// Immediate completions of a coroutine in one resume before others get their turn.
const BUDGET: u32 = 128;

/// Bytes that verbs may move in a turn: a millisecond or two, so that verbs that move much do not
/// delay timers and other threads for longer.
const TURN_BYTES: usize = 2 << 20;

/// A verb that moves fewer bytes is not charged for them.
const MANY_BYTES: usize = 16 << 10;

impl Run {
    pub(super) fn new(slot: u16, settings: &EngineSettings) -> Run {
        Run {
            local: Local::new(slot),
            extras: Extras::default(),
            keeps_parents: settings.keeps_parents,
            idle_listeners: RefCell::default(),
            stopped: Cell::new(false),
            budget: Cell::new(BUDGET),
            bytes_left: Cell::new(TURN_BYTES),
            resumes_left: Cell::new(0),
            ending: Cell::new(false),
            slow_resume: settings.slow_resume,
            may_go_on: Cell::new(None),
            is_beside: Cell::new(false),
            turn_began: Cell::new(None),
            others_took: Cell::new(Duration::ZERO),
            fork_generation: fork::generation(),
            spawned: Cell::new(0),
            resumes: Cell::new(0),
            turns: Cell::new(0),
        }
    }

    /// Tells whether this process is a child that inherited the scheduler by fork(2).
    pub(super) fn is_inherited(&self) -> bool {
        self.fork_generation != fork::generation()
    }

    /// Ends the loop in the child of a fork that a coroutine has made: the child would take the
    /// parent's events, and send again what the parent sends.
    ///
    /// # Panics
    /// In such a child.
    pub(in crate::coro) fn refuse_in_child(&self) {
        assert!(
            !self.is_inherited(),
            "a coroutine has forked, and in the child it cannot go on: the scheduler belongs to \
             the parent; in the child call exec or exit before the next `.await`, or make a \
             scheduler of its own with `asyncoro::run`"
        );
    }

    // ---- starting and ending

    /// Makes a coroutine and adds it.
    pub(in crate::coro) fn spawn<F: Future + 'static>(
        &self,
        future: F,
        spawned: &'static Location<'static>,
    ) -> Joint<F::Output> {
        let (body, joint) = cell::new(future, spawned);
        if self.keeps_parents {
            self.take_in_child(body);
        } else {
            self.take_in(body);
        }
        joint
    }

    #[cold]
    fn take_in_child(&self, body: Body) {
        let parent = self.running_key();
        if self.ending.get() || !parent.has_place() {
            return self.take_in(body);
        }
        count(&self.spawned, 1);
        let mut table = self.local.table.borrow_mut();
        let key = table.insert_rarely(self.local.slot, body);
        table.set_extra(key);
        drop(table);
        self.extras.set_parent(key.index, parent);
    }

    /// Adds a coroutine; while the scheduler ends, the coroutine ends at once.
    #[inline]
    pub(super) fn take_in(&self, body: Body) {
        if self.ending.get() {
            return self.refuse(body);
        }
        count(&self.spawned, 1);
        self.local.table.borrow_mut().insert(self.local.slot, body);
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self, mut body: Body) {
        body.end();
        body.finish_or_log(None);
    }

    /// Adds the coroutine that runs the hooks of one that has ended, even while the scheduler ends.
    pub(super) fn clean_up(&self, hooks: Vec<Hook>, start: Start, past: Past) {
        let name = past.name.clone();
        let body = start(hooks, past);
        count(&self.spawned, 1);
        let mut table = self.local.table.borrow_mut();
        let key = table.insert_rarely(self.local.slot, body);
        table.set_cleans_up(key.index);
        table.set_extra(key);
        drop(table);
        self.extras.set_name(key.index, name.as_deref());
    }

    /// Returns the number of clean-ups that have not ended.
    pub(in crate::coro) fn cleaning(&self) -> usize {
        self.local.table.borrow().cleaning()
    }

    /// Ends every coroutine; their clean-ups go on. One spawned meanwhile ends at once.
    pub(super) fn end_all(&self) {
        self.end_those(false);
    }

    /// Ends the clean-ups that are left.
    pub(in crate::coro) fn end_clean_ups(&self) {
        // One may be the clean-up of another.
        while self.cleaning() > 0 {
            self.end_those(true);
        }
    }

    fn end_those(&self, cleans_up: bool) {
        self.ending.set(true);
        self.local.table.borrow_mut().stop_queueing(cleans_up);
        let mut from = 0;
        loop {
            let found = self.local.table.borrow().any_from(from, cleans_up);
            let Some(index) = found else { break };
            let begun = self.local.table.borrow_mut().begin(index);
            if let Some((mut body, generation)) = begun {
                self.begin(Key { slot: self.local.slot, generation, index });
                body.end();
                self.end_rarely(index, body);
            }
            from = index;
        }
        self.local.running.set(0);
        self.ending.set(false);
        self.tell_idle();
    }

    /// Answers `done` when only daemons are left.
    pub(super) fn when_idle(&self, done: Answer<()>) {
        self.idle_listeners.borrow_mut().push(done);
    }

    /// Answers the threads that wait for it, if only daemons are left.
    pub(super) fn tell_idle(&self) {
        if !self.idle_listeners.borrow().is_empty() && self.holding() == 0 {
            self.idle_listeners.take().into_iter().for_each(|done| done.give(()));
        }
    }

    /// Makes a scheduler with a thread of its own end once its coroutines have.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
        self.wake_main();
    }

    /// Asks `may_go_on` after each resume, from now on, whether the turn goes on.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "guests are its users"))]
    pub(in crate::coro) fn ask_after_resumes(&self, may_go_on: fn() -> bool) {
        self.may_go_on.set(Some(may_go_on));
    }

    pub(in crate::coro) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    // ---- counting and naming

    pub(in crate::coro) fn is_idle(&self) -> bool {
        self.local.table.borrow().is_idle()
    }

    /// Returns the numbers of coroutines that have not ended, and of daemons among them.
    pub(super) fn alive(&self) -> (usize, usize) {
        let table = self.local.table.borrow();
        (table.alive(), table.daemons())
    }

    /// Returns the number of coroutines that `run` waits for.
    pub(in crate::coro) fn holding(&self) -> usize {
        let (alive, daemons) = self.alive();
        alive - daemons
    }

    /// Returns `name/id` of each coroutine that `run` waits for, and the place where it was
    /// spawned.
    pub(in crate::coro) fn stragglers(&self) -> Vec<String> {
        let table = self.local.table.borrow();
        let shown = |index: u32| {
            let id = table.key(self.local.slot, index).pack();
            match (self.extras.name(index), table.who(index)) {
                (Some(name), Some(who)) => {
                    format!("{name}/{id} (spawned at {})", who.place)
                }
                (Some(name), None) => format!("{name}/{id}"),
                (None, Some(who)) => format!("{who}/{id}"),
                (None, None) => format!("a coroutine/{id}"),
            }
        };
        table.non_daemons().into_iter().map(shown).collect()
    }

    // ---- `run`'s own future

    /// Makes a new own future of `run` ready; the name of the previous one is removed.
    pub(in crate::coro) fn begin_main(&self) {
        drop(self.extras.take(MAIN));
        self.wake_main();
    }

    /// Drops the local values of `run`'s own future, which has ended, and begins its clean-up.
    pub(in crate::coro) fn end_main(&self) {
        let Some(extra) = self.extras.take(MAIN) else { return };
        self.extras.set_name(MAIN, extra.name.as_deref());
        self.end_extra(extra, None);
    }

    /// Makes `run`'s own future ready.
    fn wake_main(&self) {
        self.local.table.borrow_mut().wake_place(MAIN);
    }

    /// Takes `run`'s own future, which has ended, out of the queue; nobody else is in it.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "guests are its users"))]
    pub(in crate::coro) fn forget_main(&self) {
        if self.cleaning() > 0 {
            return;
        }
        let next = self.local.table.borrow_mut().next();
        debug_assert!(!matches!(next, Some(Next::Coroutine { .. })), "all others have ended");
    }

    fn main_key(&self) -> Key {
        Key::of_scheduler(self.local.slot)
    }

    pub(in crate::coro) fn main_waker(&self) -> Waker {
        self.main_key().waker()
    }

    // ---- the coroutine that runs

    /// Tells whether what runs is none of its coroutines, but a call of its host's.
    pub(in crate::coro) fn is_beside(&self) -> bool {
        self.is_beside.get() && self.local.running.get() == 0
    }

    /// Sets whether that is so; returns what was set.
    pub(in crate::coro) fn set_beside(&self, is_beside: bool) -> bool {
        self.is_beside.replace(is_beside)
    }

    pub(in crate::coro) fn running_key(&self) -> Key {
        let word = self.local.running.get();
        if word == 0 { self.main_key() } else { Key::unpack(word) }
    }

    pub(in crate::coro) fn set_daemon(&self, daemon: bool) {
        self.local.table.borrow_mut().set_daemon(self.running_key().index, daemon);
    }

    pub(in crate::coro) fn set_name(&self, name: &str) {
        let key = self.running_key();
        if self.local.table.borrow_mut().set_extra(key) {
            self.extras.set_name(key.index, Some(name));
        }
    }

    /// Returns a local value of the coroutine that runs.
    pub(in crate::coro) fn local_value(&self, local: usize) -> Option<Rc<dyn Any>> {
        let key = self.running_key();
        let lives = self.local.table.borrow_mut().lives(key);
        lives.then(|| self.extras.local(key.index, local)).flatten()
    }

    /// Sets a local value of the coroutine that runs; returns the one before.
    pub(in crate::coro) fn set_local_value(
        &self,
        local: usize,
        value: Option<Rc<dyn Any>>,
    ) -> Option<Rc<dyn Any>> {
        let key = self.running_key();
        // A coroutine that has ended has none.
        if !self.local.table.borrow_mut().set_extra(key) {
            return value;
        }
        self.extras.set_local(key.index, local, value)
    }

    /// Adds to the clean-up of the coroutine that runs.
    pub(in crate::coro) fn add_hook(&self, hook: Hook, start: Start) {
        let key = self.running_key();
        if self.local.table.borrow_mut().set_extra(key) {
            self.extras.add_hook(key.index, hook, start);
        }
    }

    /// Returns the key of the coroutine that has spawned the one that runs, as far as it is known.
    pub(in crate::coro) fn parent(&self) -> Option<Key> {
        self.extras.parent(self.running_key().index)
    }

    /// Returns the keys of the coroutines that the one that runs has spawned.
    pub(in crate::coro) fn children(&self) -> Vec<Key> {
        let table = self.local.table.borrow();
        let children = self.extras.children(self.running_key());
        children.into_iter().map(|index| table.key(self.local.slot, index)).collect()
    }

    /// Returns the log's name for the coroutine of a key, or that of `run`'s own future; `None` if
    /// it has ended or is another scheduler's.
    pub(in crate::coro) fn name_of(&self, key: Key) -> Option<String> {
        let table = self.local.table.borrow();
        let is_main = key == self.main_key();
        if !is_main && table.key(self.local.slot, key.index) != key {
            return None;
        }
        let name = self.extras.name(key.index).map(|name| name.as_ref().to_owned());
        let unnamed = || match table.who(key.index) {
            Some(who) => who.to_string(),
            None if is_main => "the future of run".to_owned(),
            None => "a coroutine".to_owned(),
        };
        Some(name.unwrap_or_else(unnamed))
    }

    pub(in crate::coro) fn name(&self) -> Option<Rc<str>> {
        self.extras.name(self.running_key().index)
    }

    /// Uses up one immediate completion; `false` when the coroutine must let others go first.
    #[inline]
    pub(super) fn spend(&self) -> bool {
        let left = self.budget.get();
        if left > 0 {
            self.budget.set(left - 1);
        }
        left > 0
    }

    /// Charges bytes that a verb has moved; the turn ends when its limit is used up.
    #[inline]
    pub(super) fn charge(&self, bytes: usize) {
        if bytes >= MANY_BYTES {
            self.charge_many(bytes);
        }
    }

    #[cold]
    #[inline(never)]
    fn charge_many(&self, bytes: usize) {
        let left = self.bytes_left.get().saturating_sub(bytes);
        self.bytes_left.set(left);
        if left == 0 {
            self.budget.set(0);
            self.end_turn_now();
        }
    }

    /// Gives a fresh budget to whoever uses verbs between two turns.
    pub(super) fn refill(&self) {
        self.budget.set(BUDGET);
        self.refill_bytes();
    }

    /// Resets the bytes that verbs may move to those of a full turn.
    pub(super) fn refill_bytes(&self) {
        self.bytes_left.set(TURN_BYTES);
    }

    /// Makes the coroutine let others go first at its next verb.
    pub(super) fn exhaust(&self) {
        self.budget.set(0);
    }

    /// Ends the turn after the present resume, which has taken long: the driver and the timers are
    /// asked before the next resume.
    pub(super) fn end_turn_now(&self) {
        self.resumes_left.set(0);
    }
}

/// Adds to a counter for [`Statistics`](crate::coro::Statistics).
pub(super) fn count(counter: &Cell<u64>, more: usize) {
    counter.set(counter.get().wrapping_add(more as u64));
}
