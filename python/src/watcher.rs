//! Sends what a coroutine has queued and then holds up: a thread that flushes the sockets in the
//! scheduler's place while that is in a blocking call or a long computation.
//!
//! What is queued leaves at the end of the scheduler's turn. A coroutine that calls `child.wait()`
//! before that keeps it back, perhaps for ever. So this thread looks every few milliseconds whether
//! something has been queued for long. If so, it takes the GIL, which a blocking call has released
//! and a computation gives up after 5 ms, and flushes from outside ([`Scheduler::flush_queued`]).
//!
//! Without the GIL it looks only at [`Watch`], which is atomic. With the GIL it may touch what the
//! scheduler's thread owns: that thread is then inside of code of Python's that a coroutine has
//! called, where the crate has borrowed nothing; or it waits for the kernel, where it has, and then
//! nothing is done (`engine.rs`). While nothing is queued the thread sleeps.
//!
//! Each scheduler has such a thread, a guest of asyncio's from the first bytes on that it queues.
//! It ends before the interpreter does: a thread that asks for the GIL later is killed.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io, mem,
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

use asyncoro::coro::{Hosted, Scheduler};
use pyo3::prelude::*;

use crate::{
    engine::{self, Home},
    gil::{Gil, py},
    mask,
};

/// How often the thread looks, while there is traffic. Together with [`PATIENCE`], and the 5 ms
/// after which a computation gives up the GIL, that makes 10 ms.
const TICK: Duration = Duration::from_millis(4);
/// What has been queued for less is left to the end of the turn.
const PATIENCE: Duration = Duration::from_millis(1);
/// How long it waits to try again where the system has not taken all.
const PAUSE: Duration = Duration::from_millis(5);

/// The state that both threads look at without the GIL.
pub(crate) struct Watch {
    began: Instant,
    /// When the turn has queued its first bytes, as nanoseconds since `began`; the lowest bit tells
    /// whether they were not sent yet.
    queued: AtomicU64,
    /// Whether the thread sleeps until something is queued.
    sleeps: AtomicBool,
    ends: AtomicBool,
    thread: OnceLock<Thread>,
    home: OnceLock<Home>,
}

/// A scheduler that is watched.
pub(crate) trait Flushes {
    /// Returns the number of turns that it has made.
    fn turns(&self) -> u64;
    /// Flushes what is queued; returns whether that was all.
    fn flush(&self) -> bool;
}

impl Flushes for Scheduler {
    fn turns(&self) -> u64 {
        self.statistics().turns
    }

    fn flush(&self) -> bool {
        self.flush_queued()
    }
}

impl Flushes for Hosted {
    fn turns(&self) -> u64 {
        self.statistics().turns
    }

    fn flush(&self) -> bool {
        self.flush_queued()
    }
}

/// The scheduler and the thread that watches it.
struct Watched {
    scheduler: Rc<dyn Flushes>,
    watch: Arc<Watch>,
    thread: Option<JoinHandle<()>>,
}

static WATCHED: Gil<RefCell<BTreeMap<Home, Watched>>> = Gil::new(RefCell::new(BTreeMap::new()));

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch {
            began: Instant::now(),
            queued: AtomicU64::new(0),
            sleeps: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            thread: OnceLock::new(),
            home: OnceLock::new(),
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Notes that a turn has queued something. Called with the GIL held.
    pub(crate) fn queued(&self) {
        self.queued.store(self.now() | 1, Ordering::Release);
        // A sleeper that has not yet told so looks again a tick later.
        match self.thread.get() {
            Some(thread) if self.sleeps.load(Ordering::Relaxed) => thread.unpark(),
            Some(_) => {}
            None => self.begin(),
        }
    }

    /// Starts the thread, if the scheduler is known already.
    #[cold]
    fn begin(&self) {
        let Some(home) = self.home.get() else { return };
        if let Some(watched) = WATCHED.get(py()).borrow_mut().get_mut(home)
            && watched.thread.is_none()
        {
            // Without a thread, what is queued leaves at the end of the turn.
            watched.thread = spawn(&watched.watch).ok();
        }
    }

    /// Notes that it was sent. Called with the GIL held.
    pub(crate) fn sent(&self) {
        self.queued.store(self.queued.load(Ordering::Relaxed) & !1, Ordering::Release);
    }

    fn has_ended(&self) -> bool {
        self.ends.load(Ordering::Acquire)
    }

    /// Returns whether what was queued at `when` has waited for long.
    fn is_late(&self, when: u64) -> bool {
        when & 1 == 1 && self.now().saturating_sub(when) >= PATIENCE.as_nanos() as u64
    }

    fn run(&self) {
        let mut seen = 0;
        while !self.has_ended() {
            let queued = self.queued.load(Ordering::Acquire);
            if self.is_late(queued) {
                self.flush_until_sent();
            } else if queued == seen && queued & 1 == 0 {
                self.sleep_until_not(queued);
                thread::sleep(PATIENCE);
                continue;
            }
            seen = queued;
            thread::sleep(TICK);
        }
    }

    /// Sleeps until something is queued after `seen`, or the end.
    fn sleep_until_not(&self, seen: u64) {
        self.sleeps.store(true, Ordering::Release);
        // Whoever has queued something before that was visible is seen after a tick.
        thread::sleep(TICK);
        while self.queued.load(Ordering::Acquire) == seen && !self.has_ended() {
            thread::park();
        }
        self.sleeps.store(false, Ordering::Release);
    }

    /// Flushes; again and again while the same turn lasts and the system does not take all.
    fn flush_until_sent(&self) {
        let mut turn = None;
        let Some(home) = self.home.get() else { return };
        while !self.has_ended() {
            let flushed = Python::try_attach(|py| flush(py, *home, &mut turn));
            if flushed != Some(false) {
                return;
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Flushes what a scheduler has queued, unless it waits or is in another turn than `turn`; returns
/// whether no more is to be done.
fn flush(py: Python<'_>, home: Home, turn: &mut Option<u64>) -> bool {
    if engine::waits(py, home) {
        return true;
    }
    // Cloned out of the cell; no code of Python's runs until it is dropped.
    let scheduler = match WATCHED.get(py).borrow().get(&home) {
        Some(watched) => Rc::clone(&watched.scheduler),
        None => return true,
    };
    let now = scheduler.turns();
    if *turn.get_or_insert(now) != now {
        return true;
    }
    scheduler.flush()
}

fn spawn(watch: &Arc<Watch>) -> io::Result<JoinHandle<()>> {
    let own = Arc::clone(watch);
    let watcher = thread::Builder::new().name("asyncoro-flush".into());
    let thread = mask::without_signals(|| watcher.spawn(move || own.run()))?;
    // Only the scheduler's thread sets it.
    let _ = watch.thread.set(thread.thread().clone());
    Ok(thread)
}

/// Watches a scheduler of this thread until [`stop`]; `at_once` or from when it queues something.
pub(crate) fn start(
    py: Python<'_>,
    home: Home,
    scheduler: Rc<dyn Flushes>,
    watch: Arc<Watch>,
    at_once: bool,
) -> io::Result<()> {
    let _ = watch.home.set(home);
    let thread = if at_once { Some(spawn(&watch)?) } else { None };
    WATCHED.get(py).borrow_mut().insert(home, Watched { scheduler, watch, thread });
    Ok(())
}

/// Ends a thread, and waits until it has ended.
fn end(py: Python<'_>, watch: &Watch, thread: Option<JoinHandle<()>>) {
    watch.ends.store(true, Ordering::Release);
    if let Some(thread) = thread {
        thread.thread().unpark();
        // It may want the GIL, once more. A panic of it was reported by its hook.
        let _ = py.detach(|| thread.join());
    }
}

/// Ends all threads, and waits until they have ended.
#[pyfunction]
pub(crate) fn stop_watching(py: Python<'_>) {
    let all: Vec<_> = WATCHED
        .get(py)
        .borrow_mut()
        .values_mut()
        .map(|watched| (Arc::clone(&watched.watch), watched.thread.take()))
        .collect();
    for (watch, thread) in all {
        end(py, &watch, thread);
    }
}

/// Ends the thread of a scheduler, and lets go of that.
pub(crate) fn stop(py: Python<'_>, home: Home) {
    let watched = WATCHED.get(py).borrow_mut().remove(&home);
    if let Some(watched) = watched {
        end(py, &watched.watch, watched.thread);
    }
}

/// Forgets the parent's schedulers and threads in the child of a fork.
pub(crate) fn forget(py: Python<'_>) {
    mem::forget(WATCHED.get(py).take());
}
