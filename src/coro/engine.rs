//! One scheduler's state, and what coroutines and timers may ask of it.
//!
//! Everything here belongs to one thread and sits in cells. Rules that keep it sound in practice:
//! - a borrow of a cell never spans foreign code: wakers are woken and dropped, bodies resumed and
//!   results handed over with no borrow held;
//! - who is told something in a loop (events, due timers, dirty sockets) is taken out of its cell
//!   first, since what is told may come back and ask.
//!
//! How coroutines are resumed is in `engine/resume.rs`, what sockets may ask of it in `watch.rs`;
//! how these parts are driven, in `scheduler.rs`.

mod resume;

use std::{
    cell::{Cell, RefCell},
    collections::{BinaryHeap, HashMap, VecDeque},
    fmt,
    future::Future,
    io, mem,
    num::NonZeroU32,
    os::fd::OwnedFd,
    panic::Location,
    rc::{Rc, Weak},
    task::Waker,
    time::{Duration, Instant},
};

use super::{
    cell::{
        self, Joint,
        body::{Body, publish_places},
    },
    inbox::{self, Answer, Inbox, Post},
    key::{Key, MAIN},
    local::Local,
    settle::Settling,
    sources::{Source, Sources},
    statistics::Statistics,
    timer::{TimerKey, Timers},
    waiter::Waiter,
    watch::{Lingering, Retry},
};
use crate::{
    driver::{Driver, Kind},
    fork,
    primitives::Arc,
};

/// What an embedder has called before a scheduler waits, and after.
#[derive(Clone)]
pub(super) struct AroundWaits {
    pub(super) before: std::sync::Arc<dyn Fn() + Send + Sync>,
    pub(super) after: std::sync::Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for AroundWaits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AroundWaits")
    }
}

/// What the builder decides.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) driver: Kind,
    pub(super) spin: Duration,
    /// How long the end of the scheduler waits for queued messages to leave.
    pub(super) drain: Duration,
    /// How long a dropped socket may go on sending what is queued.
    pub(super) linger: Duration,
    /// How long a resume may take before the log names the coroutine; `None` for no such look.
    pub(super) slow_resume: Option<Duration>,
    pub(super) around_waits: Option<AroundWaits>,
}

/// Counts since the scheduler was made.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) spawned: Cell<u64>,
    pub(super) resumes: Cell<u64>,
    pub(super) turns: Cell<u64>,
    pub(super) sleeps: Cell<u64>,
    pub(super) events: Cell<u64>,
    pub(super) flushes: Cell<u64>,
}

pub(super) fn count(counter: &Cell<u64>, more: usize) {
    counter.set(counter.get().wrapping_add(more as u64));
}

/// See the module's page.
pub(crate) struct Engine {
    own: Weak<Engine>,
    pub(super) local: Local,
    pub(super) settings: Settings,
    pub(super) inbox: Arc<Inbox>,
    pub(super) counters: Counters,
    pub(super) timers: RefCell<Timers>,
    pub(super) driver: RefCell<Driver>,
    pub(super) sources: RefCell<Sources>,
    /// Descriptors of sources whose own was registered already, by token.
    pub(super) duplicates: RefCell<HashMap<u64, OwnedFd>>,
    pub(super) tells_hangup: bool,
    pub(super) dirty: RefCell<Vec<Rc<dyn Source>>>,
    /// Sources that have had their share of this turn.
    pub(super) unfinished: RefCell<Vec<Rc<dyn Source>>>,
    pub(super) lingering: RefCell<Lingering>,
    /// Whether somebody may be in one of the four lists of those who are looked after at the end of
    /// a turn: `overdue`, `lingering`, `retries` and `settling`. Mostly nobody is.
    pub(super) chores: Cell<bool>,
    /// Sources that go on after a pause, in the order of time.
    pub(super) retries: RefCell<VecDeque<Retry>>,
    pub(super) settling: RefCell<BinaryHeap<Settling>>,
    /// Whether somebody has tried to send since the last wait.
    pub(super) sent: Cell<bool>,
    /// Who waits for a descriptor of ours to be closed.
    pub(super) starved: RefCell<Vec<Waker>>,
    names: RefCell<HashMap<u32, Rc<str>>>,
    /// Told when no coroutine is left but daemons.
    idle_listeners: RefCell<Vec<Answer<()>>>,
    stopped: Cell<bool>,
    budget: Cell<u32>,
    /// Bytes that verbs may still move in this turn before it ends early.
    bytes_left: Cell<usize>,
    /// Resumes that the turn has left: with none, it ends with whoever is resumed now, and the
    /// driver is asked.
    times_left: Cell<usize>,
    ending: Cell<bool>,
    /// With a bound for slow resumes: when the turn began, and how long coroutines took in it.
    turn_began: Cell<Option<Instant>>,
    others_took: Cell<Duration>,
    /// Who has found its time over, and is woken at the end of this turn.
    overdue: RefCell<Vec<Waiter>>,
    /// Emptied vectors, kept for their memory.
    spare_waiters: RefCell<Vec<Waiter>>,
    spare_posts: RefCell<Vec<Post>>,
    process: u32,
}

/// Immediate completions that a coroutine may have in one resume before others get their turn.
const BUDGET: u32 = 128;

/// Bytes that verbs may move in a turn: a millisecond or two, so that timers and other threads do
/// not wait longer for who moves much.
const TURN_BYTES: usize = 2 << 20;

/// What moves less is counted as a verb alone.
const MANY_BYTES: usize = 16 << 10;

impl Engine {
    pub(super) fn new(settings: Settings) -> io::Result<Rc<Engine>> {
        fork::watch();
        let driver = Driver::new(settings.driver, settings.spin)?;
        let inbox = Arc::new(Inbox::new(driver.bell()));
        let slot = inbox::register(&inbox)
            .ok_or_else(|| io::Error::other("65,535 schedulers are running in this process"))?;
        Ok(Rc::new_cyclic(|own| Engine {
            own: Weak::clone(own),
            local: Local::new(slot),
            settings,
            inbox,
            counters: Counters::default(),
            timers: RefCell::new(Timers::new(Driver::now())),
            sources: RefCell::new(Sources::new()),
            duplicates: RefCell::default(),
            tells_hangup: driver.tells_hangup(),
            driver: RefCell::new(driver),
            dirty: RefCell::default(),
            unfinished: RefCell::default(),
            lingering: RefCell::default(),
            chores: Cell::new(false),
            retries: RefCell::default(),
            settling: RefCell::default(),
            sent: Cell::new(false),
            starved: RefCell::default(),
            names: RefCell::default(),
            idle_listeners: RefCell::default(),
            stopped: Cell::new(false),
            budget: Cell::new(BUDGET),
            bytes_left: Cell::new(TURN_BYTES),
            times_left: Cell::new(0),
            ending: Cell::new(false),
            turn_began: Cell::new(None),
            others_took: Cell::new(Duration::ZERO),
            overdue: RefCell::default(),
            spare_waiters: RefCell::default(),
            spare_posts: RefCell::default(),
            process: fork::generation(),
        }))
    }

    /// A reference that does not keep this engine.
    pub(crate) fn weak(&self) -> Weak<Engine> {
        Weak::clone(&self.own)
    }

    /// Whether this process is a child that inherited the scheduler by fork(2).
    pub(crate) fn is_inherited(&self) -> bool {
        self.process != fork::generation()
    }

    /// Ends the loop in the child of a fork that a coroutine has made: it would take the parent's
    /// events, and send once more what the parent sends.
    ///
    /// # Panics
    /// In such a child.
    pub(super) fn refuse_in_child(&self) {
        assert!(
            !self.is_inherited(),
            "a coroutine has forked, and in the child it cannot go on: the scheduler belongs to \
             the parent; in the child call exec or exit before the next `.await`, or make a \
             scheduler of its own with `asyncoro::run`"
        );
    }

    /// Lets go of a scheduler in the child of a fork. The memory stays, and with it the inbox,
    /// whose lock another thread may have held at the fork, and the driver, the end of which would
    /// take things out of the kernel's list that the parent still needs.
    pub(super) fn leave_to_parent(own: &Rc<Engine>) {
        mem::forget(Rc::clone(own));
    }

    fn close_inbox(&self) {
        inbox::unregister(self.local.slot);
        for post in self.inbox.close() {
            if let Post::Start(unstarted) = post {
                unstarted.refuse();
            }
        }
    }

    // ---- coroutines

    pub(super) fn spawn<F: Future + 'static>(
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
            count(&self.counters.spawned, 1);
            self.local.table.borrow_mut().insert(self.local.slot, body);
        }
    }

    /// Ends the turn with the coroutine that is resumed now: what it has done has taken long, and
    /// the driver and the timers are asked before anybody else is resumed.
    pub(crate) fn end_turn_now(&self) {
        self.times_left.set(0);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.local.table.borrow().is_idle()
    }

    /// Coroutines that keep `run` from returning.
    pub(super) fn holding(&self) -> usize {
        let table = self.local.table.borrow();
        table.alive() - table.daemons()
    }

    /// Makes a new future of `run`'s own ready; what the one before was named is forgotten.
    pub(super) fn begin_main(&self) {
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

    pub(super) fn main_waker(&self) -> Waker {
        self.main_key().waker()
    }

    pub(super) fn running_key(&self) -> Key {
        let word = self.local.running.get();
        if word == 0 { self.main_key() } else { Key::unpack(word) }
    }

    pub(super) fn set_daemon(&self, daemon: bool) {
        self.local.table.borrow_mut().set_daemon(self.running_key().index, daemon);
    }

    pub(super) fn set_name(&self, name: &str) {
        let index = self.running_key().index;
        if self.local.table.borrow_mut().set_named(index) {
            self.names.borrow_mut().insert(index, Rc::from(name));
        }
    }

    pub(super) fn name(&self) -> Option<Rc<str>> {
        self.names.borrow().get(&self.running_key().index).cloned()
    }

    /// `name/id` of every coroutine that keeps `run` from returning; without a name, the place.
    pub(super) fn stragglers(&self) -> Vec<String> {
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

    /// Has `done` called when no coroutine is left but daemons.
    fn when_idle(&self, done: Answer<()>) {
        self.idle_listeners.borrow_mut().push(done);
    }

    pub(super) fn tell_idle(&self) {
        if !self.idle_listeners.borrow().is_empty() && self.holding() == 0 {
            self.idle_listeners.take().into_iter().for_each(|done| done.give(()));
        }
    }

    /// Ends every coroutine because another thread has asked for it.
    fn end_all_and(&self, stop: bool, done: Answer<()>) {
        self.end_all();
        if stop {
            self.stop();
        }
        done.give(());
    }

    /// Has a scheduler with a thread of its own end once its coroutines have.
    fn stop(&self) {
        self.stopped.set(true);
        self.wake_main();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    // ---- timers

    /// Arms a timer.
    pub(crate) fn arm(&self, deadline: Instant, waker: &Waker) -> TimerKey {
        // A foreign waker's clone is foreign code: not while the timers are borrowed.
        let waiter = Waiter::of(waker);
        self.timers.borrow_mut().arm(deadline, waiter)
    }

    pub(crate) fn disarm(&self, key: TimerKey) {
        let waiter = self.timers.borrow_mut().disarm(key);
        drop(waiter);
    }

    pub(crate) fn is_armed(&self, key: TimerKey) -> bool {
        self.timers.borrow().is_armed(key)
    }

    pub(crate) fn rewaker(&self, key: TimerKey, waker: &Waker) {
        if !self.timers.borrow().wakes(key, waker) {
            let waiter = Waiter::of(waker);
            let old = self.timers.borrow_mut().rewaker(key, waiter);
            drop(old);
        }
    }

    /// The number of this turn, as far as it fits: only whether it changes matters.
    pub(crate) fn turn(&self) -> NonZeroU32 {
        NonZeroU32::new(self.counters.turns.get() as u32).unwrap_or(NonZeroU32::MAX)
    }

    /// Wakes `waker` at the end of this turn, before the driver is asked: for those whose time is
    /// over already, so that others have run, and what has come has been seen, when they go on.
    pub(crate) fn wake_after_turn(&self, waker: &Waker) {
        let waiter = Waiter::of(waker);
        self.overdue.borrow_mut().push(waiter);
        self.chores.set(true);
    }

    /// Wakes whoever's timer is due.
    pub(super) fn fire_timers(&self) {
        if self.timers.borrow().armed() == 0 {
            return;
        }
        let mut due = self.spare_waiters.take();
        self.timers.borrow_mut().fire(Driver::now(), &mut due);
        due.drain(..).for_each(Waiter::wake);
        self.spare_waiters.replace(due);
    }

    // ---- turns

    /// Does what is seldom to be done at the end of a turn, if there is any of it.
    #[inline]
    pub(super) fn do_chores(&self) {
        if self.chores.get() {
            self.do_some_chores();
        }
    }

    #[cold]
    #[inline(never)]
    fn do_some_chores(&self) {
        self.overdue.take().into_iter().for_each(Waiter::wake);
        self.retry_due();
        self.look_after_lingering();
        self.look_after_settling();
        self.chores.set(!self.overdue.borrow().is_empty() || self.next_chore().is_some());
    }

    /// Reads what other threads sent.
    pub(super) fn read_inbox(&self) {
        if !self.inbox.has_mail() {
            return;
        }
        let mut posts = self.spare_posts.take();
        self.inbox.take(&mut posts);
        for post in posts.drain(..) {
            match post {
                Post::Wake(key) => self.local.table.borrow_mut().wake(key),
                Post::Start(unstarted) => self.take_in(unstarted.into_body()),
                Post::TellIdle(done) => self.when_idle(done),
                Post::EndAll { stop, done } => self.end_all_and(stop, done),
                Post::Statistics(answer) => answer.give(self.statistics()),
                Post::Stop => self.stop(),
            }
        }
        publish_places();
        self.spare_posts.replace(posts);
    }

    /// What comes after the resumes of a turn; it waits, at most until `limit`, if nobody is ready.
    ///
    /// # Panics
    /// If the driver fails: its descriptor was closed by somebody else, or the kernel is out of
    /// memory. No coroutine could go on after that.
    pub(super) fn end_turn(&self, limit: Option<Instant>) {
        self.bytes_left.set(TURN_BYTES);
        self.do_chores();
        self.fire_timers();
        self.read_inbox();
        // After the inbox, where the question comes from: the driver may sleep for long.
        self.tell_idle();
        let is_idle = self.is_idle() && !self.has_unfinished();
        // While there is no source, all that the driver could tell is a ring, and mail was looked
        // for just now.
        if is_idle || self.sources.borrow().registered() > 0 {
            self.ask_driver(limit, is_idle).expect("the driver can be asked");
        }
    }

    /// Counts for `statistics`.
    pub(super) fn statistics(&self) -> Statistics {
        let table = self.local.table.borrow();
        Statistics {
            coroutines: table.alive(),
            daemons: table.daemons(),
            timers: self.timers.borrow().armed(),
            sockets: self.sources.borrow().registered(),
            spawned: self.counters.spawned.get(),
            resumes: self.counters.resumes.get(),
            turns: self.counters.turns.get(),
            sleeps: self.counters.sleeps.get(),
            events: self.counters.events.get(),
            flushes: self.counters.flushes.get(),
            driver: self.driver.try_borrow().map_or("", |driver| driver.name()),
        }
    }
}

impl Waiter {
    /// Wakes whom the waiter is for, who most likely is a coroutine of `engine`.
    #[inline]
    pub(crate) fn wake_on(self, engine: &Engine) {
        if self.is_key() && engine.local.wake_own(self.word().addr()) {
            mem::forget(self);
        } else {
            self.wake();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close_inbox();
    }
}
