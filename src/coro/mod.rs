//! Coroutines: functions that wait without holding up others.
//!
//! # The life of a coroutine
//! [`spawn`] puts a future on the heap (`cell.rs`) and into the scheduler's table (`table.rs`),
//! behind all that are ready. The scheduler (`scheduler.rs`, its state in `engine.rs`, what it does
//! for sockets in `watch.rs`) resumes it, in turns, until it waits: for a socket, a timer
//! (`timer.rs`), a message, another coroutine. Whatever it waits for keeps its waker, a plain
//! number (`waker.rs`), and makes it ready again, from another thread through the inbox
//! (`inbox.rs`). When its future ends, panics or is terminated, its value goes to the handle
//! (`handle.rs`, [`Coro`]); who frees the cell is decided by one byte (`state.rs`).
//!
//! A coroutine stays on the thread of its scheduler, so it needs no locks, and may hold what is not
//! `Send`. Other threads reach a scheduler through its [`AsynCoro`] (`asyncoro.rs`).
//!
//! # The log
//! What nobody else is told goes to the log: a panic that nobody awaits, what [`Coro::or_log`] is
//! for, coroutines that [`run`] still waits for after a second, bytes that a closed socket could
//! not send. The log is the thread's `tracing` subscriber. While there is none, errors and warnings
//! go to standard error instead, a line each, unless the environment variable `ASYNCORO_LOG` is
//! `off`. A program that has `tracing` write to the `log` crate (its feature `log`, without a
//! subscriber) sees both, unless it sets that.
//!
//! Lines are of target `asyncoro`. Of each level at most 20 are written in a second, by all threads
//! together, since peers may cause them; the next one tells how many were left out.

mod alarm;
mod asyncoro;
mod cell;
pub(crate) mod current;
pub(crate) mod engine;
mod handle;
mod inbox;
mod memory;
mod scheduler;
pub(crate) mod settle;
pub(crate) mod sources;
mod state;
mod table;
mod timer;
mod waiter;
pub(crate) mod waker;
mod watch;

use std::{
    any::Any,
    error::Error,
    fmt,
    future::{self, Future},
    io,
    panic::Location,
    rc::Rc,
    task::Poll,
};

pub(crate) use self::{alarm::Alarm, waiter::Waiter, watch::RETRY_PAUSE};
pub use self::{
    asyncoro::{AsynCoro, Builder},
    handle::{Coro, Handle},
    scheduler::{Scheduler, run, run_until},
};

use crate::{foreign::panic_text, log};

/// Why a coroutine has no value.
#[non_exhaustive]
pub enum Ended {
    /// It was terminated, or its scheduler has ended.
    Terminated,
    /// It panicked; this is the panic's payload, as from `std::thread::JoinHandle::join`.
    Panicked(Box<dyn Any + Send>),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Terminated => f.write_str("the coroutine was terminated"),
            Ended::Panicked(payload) => {
                write!(f, "the coroutine panicked: {}", panic_text(&**payload))
            }
        }
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Terminated => f.write_str("Terminated"),
            Ended::Panicked(payload) => write!(f, "Panicked({:?})", panic_text(&**payload)),
        }
    }
}

impl Error for Ended {}

impl From<Ended> for io::Error {
    /// An error of kind `Other` with the text; the panic's payload is not kept.
    fn from(ended: Ended) -> io::Error {
        io::Error::other(ended.to_string())
    }
}

/// What a scheduler has done since it was made, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Coroutines that have not ended, daemons included.
    pub coroutines: usize,
    /// Daemons among them.
    pub daemons: usize,
    /// Timers that are armed.
    pub timers: usize,
    /// Sockets registered with the driver.
    pub sockets: usize,
    /// Coroutines ever started.
    pub spawned: u64,
    /// Times a coroutine was resumed.
    pub resumes: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Turns that found nobody ready and waited.
    pub sleeps: u64,
    /// Events from the driver.
    pub events: u64,
    /// Flushes of a socket's queued messages at the end of a turn.
    pub flushes: u64,
    /// The driver: `epoll` or `poll`.
    pub driver: &'static str,
}

/// Starts a coroutine on this thread's scheduler, behind all that are ready.
///
/// ```
/// asyncoro::run(async {
///     let length = asyncoro::spawn(async { "value".len() });
///     assert_eq!(length.await.unwrap(), 5);
/// });
/// ```
///
/// # Panics
/// Outside a running scheduler; from another thread use [`AsynCoro::spawn`].
#[track_caller]
pub fn spawn<F: Future + 'static>(future: F) -> Coro<F::Output> {
    if size_of::<F>() > LARGE { spawn_small(Box::pin(future)) } else { spawn_small(future) }
}

#[track_caller]
#[inline]
fn spawn_small<F: Future + 'static>(future: F) -> Coro<F::Output> {
    let spawned = Location::caller();
    current::expect("spawn", |engine| engine.spawn(future, spawned))
}

/// Futures of more bytes go into a box before all else: on their way to the heap they are moved,
/// and where nothing is optimized each move costs so much of the stack.
const LARGE: usize = 4 << 10;

/// Lets every other ready coroutine go first, once.
///
/// ```
/// asyncoro::run(async {
///     let other = asyncoro::spawn(async { "ran meanwhile" });
///     asyncoro::coro::yield_now().await;
///     assert!(other.is_finished());
/// });
/// ```
pub fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    future::poll_fn(move |cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// The coroutine that is running.
///
/// ```
/// asyncoro::run(async {
///     let logger = asyncoro::spawn(async {
///         let me = asyncoro::coro::current();
///         me.set_name("logger");
///         me.set_daemon(true);
///         std::future::pending::<()>().await;
///     });
///     drop(logger); // a daemon: run does not wait for it
/// });
/// ```
///
/// # Panics
/// Outside a running scheduler.
#[track_caller]
pub fn current() -> Current {
    current::expect("coro::current", |engine| Current { id: engine.running_key().pack() as u64 })
}

/// The running coroutine, see [`current`]. Its setters are for that coroutine only and do nothing
/// once another one runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    id: u64,
}

impl Current {
    /// A number that no other living coroutine of this process has.
    pub fn id(self) -> u64 {
        self.id
    }

    /// Its name, if it was given one.
    pub fn name(self) -> Option<Rc<str>> {
        self.on_own(engine::Engine::name).flatten()
    }

    /// Names it, for the log.
    pub fn set_name(self, name: &str) {
        self.on_own(|engine| engine.set_name(name));
    }

    /// Whether it is a daemon, for which [`run`] does not wait.
    pub fn set_daemon(self, daemon: bool) {
        self.on_own(|engine| engine.set_daemon(daemon));
    }

    fn on_own<R>(self, f: impl FnOnce(&engine::Engine) -> R) -> Option<R> {
        current::with(|engine| (engine.running_key().pack() as u64 == self.id).then(|| f(engine)))
            .flatten()
    }
}

/// A coroutine, as the log calls it.
#[derive(Clone, Copy)]
enum Who<'a> {
    Named(&'a str),
    SpawnedAt(&'static Location<'static>),
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Named(name) => f.write_str(name),
            Who::SpawnedAt(place) => write!(f, "the coroutine spawned at {place}"),
        }
    }
}

/// Tells the log of a panic that nobody else will see.
fn log_panic(whose: Who<'_>, payload: &(dyn Any + Send)) {
    log::error(format_args!("{whose} panicked: {}", panic_text(payload)));
}
