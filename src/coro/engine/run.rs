//! Who runs: the coroutines of a scheduler, their names, what each may do in one go, and when there
//! is none left to wait for. How they are resumed is in `run/resume.rs`.
//!
//! A borrow of a cell never spans foreign code: bodies are resumed, ended and dropped, and answers
//! given, while nothing is borrowed.

mod resume;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::Future,
    panic::Location,
    rc::Rc,
    task::Waker,
    time::{Duration, Instant},
};

use crate::{
    coro::{
        cell::{self, Joint, body::Body},
        inbox::Answer,
        key::{Key, MAIN},
        local::Local,
    },
    fork,
};

/// The coroutines of a scheduler.
pub(in crate::coro) struct Run {
    /// The table, and who is being resumed: what a wake looks at.
    pub(in crate::coro) local: Local,
    names: RefCell<HashMap<u32, Rc<str>>>,
    /// Told when no coroutine is left but daemons.
    idle_listeners: RefCell<Vec<Answer<()>>>,
    stopped: Cell<bool>,
    budget: Cell<u32>,
    /// Bytes that verbs may still move in this turn before it ends early.
    bytes_left: Cell<usize>,
    /// Resumes that the turn has left: with none, it ends with whoever is resumed now, and the
    /// driver is asked.
    resumes_left: Cell<usize>,
    ending: Cell<bool>,
    /// How long a resume may take before the log names the coroutine.
    slow_resume: Option<Duration>,
    /// With a bound for slow resumes: when the turn began, and how long coroutines took in it.
    turn_began: Cell<Option<Instant>>,
    others_took: Cell<Duration>,
    fork_generation: u32,
    pub(super) spawned: Cell<u64>,
    pub(super) resumes: Cell<u64>,
    pub(super) turns: Cell<u64>,
}

/// Immediate completions that a coroutine may have in one resume before others get their turn.
const BUDGET: u32 = 128;

/// Bytes that verbs may move in a turn: a millisecond or two, so that timers and other threads do
/// not wait longer for who moves much.
const TURN_BYTES: usize = 2 << 20;

/// A verb that moves fewer bytes is not charged for them.
const MANY_BYTES: usize = 16 << 10;

impl Run {
    pub(super) fn new(slot: u16, slow_resume: Option<Duration>) -> Run {
        Run {
            local: Local::new(slot),
            names: RefCell::default(),
            idle_listeners: RefCell::default(),
            stopped: Cell::new(false),
            budget: Cell::new(BUDGET),
            bytes_left: Cell::new(TURN_BYTES),
            resumes_left: Cell::new(0),
            ending: Cell::new(false),
            slow_resume,
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

    /// Ends the loop in the child of a fork that a coroutine has made: it would take the parent's
    /// events, and send once more what the parent sends.
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

    /// Makes a coroutine and takes it in.
    pub(in crate::coro) fn spawn<F: Future + 'static>(
        &self,
        future: F,
        spawned: &'static Location<'static>,
    ) -> Joint<F::Output> {
        let (body, joint) = cell::new(future, spawned);
        self.take_in(body);
        joint
    }

    /// Takes in a coroutine; while the scheduler ends, it ends at once.
    pub(super) fn take_in(&self, mut body: Body) {
        if self.ending.get() {
            body.end();
            self.finish(body, None);
        } else {
            count(&self.spawned, 1);
            self.local.table.borrow_mut().insert(self.local.slot, body);
        }
    }

    /// Ends every coroutine. What is spawned meanwhile ends at once.
    pub(super) fn end_all(&self) {
        self.ending.set(true);
        self.local.table.borrow_mut().stop_queueing();
        let mut from = 0;
        loop {
            let Some(index) = self.local.table.borrow().any_from(from) else { break };
            let begun = self.local.table.borrow_mut().begin(index);
            if let Some((mut body, generation)) = begun {
                self.begin(Key { slot: self.local.slot, generation, index });
                body.end();
                self.end(index, body);
            }
            from = index;
        }
        self.local.running.set(0);
        self.ending.set(false);
        self.tell_idle();
    }

    /// Has `done` told when no coroutine is left but daemons.
    pub(super) fn when_idle(&self, done: Answer<()>) {
        self.idle_listeners.borrow_mut().push(done);
    }

    /// Tells those who wait for it, if no coroutine is left but daemons.
    pub(super) fn tell_idle(&self) {
        if !self.idle_listeners.borrow().is_empty() && self.holding() == 0 {
            self.idle_listeners.take().into_iter().for_each(|done| done.give(()));
        }
    }

    /// Has a scheduler with a thread of its own end once its coroutines have.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
        self.wake_main();
    }

    pub(in crate::coro) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    // ---- who is there

    pub(in crate::coro) fn is_idle(&self) -> bool {
        self.local.table.borrow().is_idle()
    }

    /// Counts coroutines that have not ended, and the daemons among them.
    pub(super) fn alive(&self) -> (usize, usize) {
        let table = self.local.table.borrow();
        (table.alive(), table.daemons())
    }

    /// Counts coroutines that keep `run` from returning.
    pub(in crate::coro) fn holding(&self) -> usize {
        let (alive, daemons) = self.alive();
        alive - daemons
    }

    /// Gives `name/id` of each coroutine that keeps `run` from returning; without a name, the
    /// place.
    pub(in crate::coro) fn stragglers(&self) -> Vec<String> {
        let (table, names) = (self.local.table.borrow(), self.names.borrow());
        let shown = |index: u32| {
            let id = table.key(self.local.slot, index).pack();
            match (names.get(&index), table.who(index)) {
                (Some(name), _) => format!("{name}/{id}"),
                (None, Some(who)) => format!("{who}/{id}"),
                (None, None) => format!("a coroutine/{id}"),
            }
        };
        table.non_daemons().into_iter().map(shown).collect()
    }

    // ---- `run`'s own future

    /// Makes a new future of `run`'s own ready; what the one before was named is forgotten.
    pub(in crate::coro) fn begin_main(&self) {
        self.names.borrow_mut().remove(&MAIN);
        self.wake_main();
    }

    /// Makes `run`'s own future ready.
    fn wake_main(&self) {
        self.local.table.borrow_mut().wake_place(MAIN);
    }

    fn main_key(&self) -> Key {
        Key::of_scheduler(self.local.slot)
    }

    pub(in crate::coro) fn main_waker(&self) -> Waker {
        self.main_key().waker()
    }

    // ---- the coroutine that runs

    pub(in crate::coro) fn running_key(&self) -> Key {
        let word = self.local.running.get();
        if word == 0 { self.main_key() } else { Key::unpack(word) }
    }

    pub(in crate::coro) fn set_daemon(&self, daemon: bool) {
        self.local.table.borrow_mut().set_daemon(self.running_key().index, daemon);
    }

    pub(in crate::coro) fn set_name(&self, name: &str) {
        let index = self.running_key().index;
        if self.local.table.borrow_mut().set_named(index) {
            self.names.borrow_mut().insert(index, Rc::from(name));
        }
    }

    pub(in crate::coro) fn name(&self) -> Option<Rc<str>> {
        self.names.borrow().get(&self.running_key().index).cloned()
    }

    /// Spends one immediate completion; `false` when the coroutine must let others go first.
    #[inline]
    pub(super) fn spend(&self) -> bool {
        let left = self.budget.get();
        if left > 0 {
            self.budget.set(left - 1);
        }
        left > 0
    }

    /// Charges what a verb has moved; with all bytes of the turn spent, the turn ends.
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

    /// Gives verbs all bytes of a turn again.
    pub(super) fn refill_bytes(&self) {
        self.bytes_left.set(TURN_BYTES);
    }

    /// Has the coroutine let others go first at its next verb.
    pub(super) fn exhaust(&self) {
        self.budget.set(0);
    }

    /// Ends the turn with the coroutine that is resumed now: what it has done has taken long, and
    /// the driver and the timers are asked before anybody else is resumed.
    pub(super) fn end_turn_now(&self) {
        self.resumes_left.set(0);
    }
}

/// Counts for [`Statistics`](crate::coro::Statistics).
pub(super) fn count(counter: &Cell<u64>, more: usize) {
    counter.set(counter.get().wrapping_add(more as u64));
}
