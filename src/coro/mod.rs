//! Coroutines: functions that wait without blocking others.
//!
//! # The life of a coroutine
//! [`spawn`] puts a future on the heap (`cell/`) and into the scheduler's table (`table.rs`),
//! behind all that are ready. The scheduler (`scheduler.rs`, its state in `engine/`) resumes it, in
//! turns, until it waits: for a socket, a timer, a message, another coroutine. The object that it
//! waits for keeps its waker, a plain number (`waker.rs`), and makes it ready again (`local.rs`),
//! or from another thread through the inbox (`inbox.rs`). When its future ends, panics or is
//! terminated, its value goes to the handle (`handle.rs`, [`Coro`]); one word (`state.rs`) decides
//! which owner frees the cell.
//!
//! # Layers
//! From the top: the handles ([`Coro`], [`AsynCoro`]); a turn and the ways to run it
//! (`scheduler.rs`); how the running scheduler is found (`current.rs`); its state (`engine/`); what
//! a wake needs (`waker.rs`, `waiter.rs`, `local.rs`, `inbox.rs`, `table.rs`) and the cells; small
//! things (`key.rs`, `state.rs`, `memory.rs`, ...). Files use those of their own layer and below,
//! and none uses this file, which re-exports for other modules.
//!
//! A coroutine stays on the thread of its scheduler, so it needs no locks, and may hold values that
//! are not `Send`. Other threads reach a scheduler through its [`AsynCoro`] (`asyncoro.rs`).
//!
//! # The log
//! Events without another recipient are logged: a panic that nobody awaits, errors for
//! [`Coro::or_log`], coroutines that [`run`] still waits for after a second, clean-ups and children
//! of scopes that were cut off, resumes longer than [`Builder::slow_resume`], bytes that a closed
//! socket could not send. Each line about a coroutine has its name, if it has one, and where it was
//! spawned. The log is the thread's `tracing` subscriber. While there is none, errors
//! and warnings go to standard error instead, a line each, unless the environment variable
//! `ASYNCORO_LOG` is `off`. A program that has `tracing` write to the `log` crate (its feature
//! `log`, without a subscriber) sees both, unless it sets that variable.
//!
//! The target of each line is `asyncoro`. Of each level at most 20 lines are written in a second,
//! by all threads together, since peers may cause them; the next line tells how many were left out.

mod alarm;
mod asyncoro;
mod batching;
mod cell;
mod clean_up;
mod coros;
pub(crate) mod current;
mod cut;
mod ended;
pub(crate) mod engine;
#[cfg(feature = "tokio")]
mod guest;
mod handle;
mod home;
mod homebound;
mod hosted;
mod inbox;
mod key;
mod local;
mod local_value;
mod memory;
mod monitor;
mod on;
mod scheduler;
mod state;
mod statistics;
mod table;
mod waiter;
pub(crate) mod waker;
mod who;

use std::{
    future::{self, Future},
    panic::Location,
    rc::Rc,
    task::Poll,
};

#[cfg(feature = "tokio")]
pub(crate) use self::guest::{Entry, Step};
pub(crate) use self::{
    alarm::Alarm,
    current::{name_of, running},
    cut::is_cut_off,
    engine::RETRY_PAUSE,
    home::{Home, this_thread_name},
    homebound::Homebound,
    waiter::Waiter,
};
pub use self::{
    asyncoro::{AsynCoro, Builder},
    batching::Batching,
    clean_up::on_end,
    coros::Coros,
    ended::{Ended, Origin},
    handle::{Coro, Handle},
    hosted::Hosted,
    local_value::Local,
    monitor::{Exit, How, Monitor},
    on::{On, on},
    scheduler::{Scheduler, run, run_until},
    statistics::Statistics,
};
use self::{cell::LARGE, engine::Engine};

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
    current::expect("spawn", |engine| {
        let joint = engine.run.spawn(future, spawned);
        engine.note_work();
        Coro::new(joint)
    })
}

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

/// Returns the coroutine that is running.
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
/// Outside a running scheduler, and where none of its coroutines runs: in a task of tokio's, whose
/// guest it is, and in [`Hosted::within`].
#[track_caller]
pub fn current() -> Current {
    current::expect_coroutine("coro::current", |engine| Current {
        id: engine.run.running_key().pack() as u64,
    })
}

/// The running coroutine, see [`current()`]. Its setters work for that coroutine only and do
/// nothing while another one runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    id: u64,
}

impl Current {
    /// Returns a number that no other living coroutine of this process has.
    pub fn id(self) -> u64 {
        self.id
    }

    /// Returns the coroutine's name, if it has one.
    pub fn name(self) -> Option<Rc<str>> {
        self.on_own(|engine| engine.run.name()).flatten()
    }

    /// Names the coroutine, for the log.
    pub fn set_name(self, name: &str) {
        self.on_own(|engine| engine.run.set_name(name));
    }

    /// Returns the number ([`Coro::id`]) of the coroutine that has spawned this one; `None` if that
    /// was `run`'s own future or another thread, or unless the builder was told to
    /// [`keep_parents`](Builder::keep_parents). That coroutine may have ended.
    ///
    /// ```
    /// use asyncoro::{AsynCoro, coro::current};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// AsynCoro::builder().keep_parents().build()?.run(async {
    ///     asyncoro::spawn(async {
    ///         let own = current().id();
    ///         let child = asyncoro::spawn(async { current().parent() });
    ///         assert_eq!(current().children(), [child.id()]);
    ///         assert_eq!(child.await.unwrap(), Some(own));
    ///     })
    ///     .await
    ///     .unwrap();
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn parent(self) -> Option<u64> {
        self.on_own(|engine| engine.run.parent().map(|key| key.pack() as u64)).flatten()
    }

    /// Returns the numbers of the coroutines that this one has spawned and that have not ended;
    /// none unless the builder was told to [`keep_parents`](Builder::keep_parents).
    pub fn children(self) -> Vec<u64> {
        let keys = self.on_own(|engine| engine.run.children()).unwrap_or_default();
        keys.into_iter().map(|key| key.pack() as u64).collect()
    }

    /// Sets whether the coroutine is a daemon, for which [`run`] does not wait.
    pub fn set_daemon(self, daemon: bool) {
        self.on_own(|engine| engine.run.set_daemon(daemon));
    }

    fn on_own<R>(self, f: impl FnOnce(&Engine) -> R) -> Option<R> {
        current::with_coroutine(|engine| {
            (engine.run.running_key().pack() as u64 == self.id).then(|| f(engine))
        })
        .flatten()
    }
}
