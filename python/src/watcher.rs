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
//! It ends before the interpreter does: a thread that asks for the GIL later is killed.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

use asyncoro::coro::Scheduler;
use pyo3::prelude::*;

use crate::{engine, gil::Gil, mask};

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
}

/// The scheduler and the thread that watches it.
struct Watched {
    scheduler: Rc<Scheduler>,
    watch: Arc<Watch>,
    thread: Option<JoinHandle<()>>,
}

static WATCHED: Gil<RefCell<Option<Watched>>> = Gil::new(RefCell::new(None));

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch {
            began: Instant::now(),
            queued: AtomicU64::new(0),
            sleeps: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            thread: OnceLock::new(),
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Notes that a turn has queued something. Called with the GIL held.
    pub(crate) fn queued(&self) {
        self.queued.store(self.now() | 1, Ordering::Release);
        // A sleeper that has not yet told so looks again a tick later.
        if self.sleeps.load(Ordering::Relaxed)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
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
        while !self.has_ended() {
            let flushed = Python::try_attach(|py| flush(py, &mut turn));
            if flushed != Some(false) {
                return;
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Flushes what the scheduler has queued, unless it waits or is in another turn than `turn`;
/// returns whether no more is to be done.
fn flush(py: Python<'_>, turn: &mut Option<u64>) -> bool {
    if engine::waits(py) {
        return true;
    }
    // Cloned out of the cell; no code of Python's runs until it is dropped.
    let scheduler = match &*WATCHED.get(py).borrow() {
        Some(watched) => Rc::clone(&watched.scheduler),
        None => return true,
    };
    let now = scheduler.statistics().turns;
    if *turn.get_or_insert(now) != now {
        return true;
    }
    scheduler.flush_queued()
}

/// Watches a scheduler, that of this thread, until [`stop`].
pub(crate) fn start(py: Python<'_>, scheduler: Rc<Scheduler>, watch: Arc<Watch>) -> io::Result<()> {
    let own = Arc::clone(&watch);
    let watcher = thread::Builder::new().name("asyncoro-flush".into());
    let thread = mask::without_signals(|| watcher.spawn(move || own.run()))?;
    // Only this thread sets it.
    let _ = watch.thread.set(thread.thread().clone());
    WATCHED.get(py).replace(Some(Watched { scheduler, watch, thread: Some(thread) }));
    Ok(())
}

/// Ends the thread, and waits until it has ended.
#[pyfunction]
pub(crate) fn stop_watching(py: Python<'_>) {
    let running = WATCHED.get(py).borrow_mut().as_mut().and_then(|watched| {
        watched.watch.ends.store(true, Ordering::Release);
        watched.thread.take()
    });
    if let Some(thread) = running {
        thread.thread().unpark();
        // It may want the GIL, once more. A panic of it was reported by its hook.
        let _ = py.detach(|| thread.join());
    }
}

/// Ends the thread, and lets go of the scheduler.
pub(crate) fn stop(py: Python<'_>) {
    stop_watching(py);
    WATCHED.get(py).replace(None);
}

/// Forgets the parent's scheduler and thread in the child of a fork.
pub(crate) fn forget(py: Python<'_>) {
    std::mem::forget(WATCHED.get(py).take());
}
