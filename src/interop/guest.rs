//! Coroutines and tokio's tasks on one thread: a scheduler that is the guest of tokio (feature
//! `tokio`).
//!
//! [`run`] is to a program that needs libraries written for tokio what
//! [`asyncoro::run`](crate::run) is to others. It makes a runtime of tokio's on this thread and
//! runs our coroutines in it, so that inside of them `tokio::net`, `tokio::time`, `tokio::spawn`
//! and `spawn_local` just work. [`attach`] does the same in a runtime that a program has already.
//!
//! ```
//! # use asyncoro::AsyncSocket;
//! # fn main() -> std::io::Result<()> {
//! asyncoro::tokio::run(async {
//!     let server = AsyncSocket::create_server("127.0.0.1:0").await?;
//!     let address = server.local_addr()?.socket_addr().unwrap();
//!
//!     // A task of tokio's, with a socket of tokio's ...
//!     let client = tokio::spawn(async move {
//!         let stream = tokio::net::TcpStream::connect(address).await?;
//!         stream.writable().await?;
//!         stream.try_write(b"from tokio\n")
//!     });
//!     // ... and a coroutine, with a socket of ours, on one thread.
//!     let line = asyncoro::spawn(async move {
//!         let (socket, _) = server.accept().await?;
//!         socket.recv_until(b"\n", 100).await
//!     });
//!     assert_eq!(line.await.unwrap()?, "from tokio\n");
//!     assert_eq!(client.await??, 11);
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # What works where
//! - In a coroutine all of tokio works, for its runtime is entered.
//! - In a task of tokio's on the same thread ([`spawn_local`](::tokio::task::spawn_local), and
//!   `spawn` where the runtime has one thread) verbs, timers, [`spawn`](crate::spawn) and
//!   handles of coroutines work. A task is no coroutine: what is about the one that runs
//!   ([`Local`](crate::coro::Local), [`on_end`](crate::coro::on_end),
//!   [`current`](crate::coro::current)) panics there; `spawn` one for that.
//! - A panic stays in the coroutine or the task that it happens in.
//! - A turn of ours makes 61 resumes at most, and ends earlier if the coroutines have used up the
//!   budget that tokio gives to each poll of a task; then tokio's tasks and its driver have their
//!   turn.
//! - A timer of ours fires when tokio's timer does, that is, up to a millisecond later than without
//!   tokio.

use std::{
    future::{self, Future},
    io,
    os::fd::OwnedFd,
    panic,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    thread,
    time::Instant,
};

use ::tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::{Builder, Handle, LocalOptions},
    task::coop,
    time::{self, Sleep},
};

use crate::coro::{Entry, Step};

/// Runs `main`, with a runtime of tokio's on this thread, and returns its value once it and all
/// coroutines other than daemons have ended.
///
/// As [`asyncoro::run`](crate::run), it ends daemons then, and sends messages still queued for at
/// most a second. Tasks of tokio's that have not ended are dropped with the runtime.
///
/// # Panics
/// As [`asyncoro::run`](crate::run), and in a runtime of tokio's, where [`attach`] is the way.
#[track_caller]
pub fn run<F: Future>(main: F) -> F::Output {
    assert!(
        Handle::try_current().is_err(),
        "a runtime of tokio's is running on this thread already: inside it, in a LocalSet or a \
         LocalRuntime, `asyncoro::tokio::attach(future).await`, or call run in a thread of its own"
    );
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("a runtime of tokio's needs some descriptors");
    runtime.block_on(attach(main))
}

/// Runs `future` in the runtime of tokio's that is running, and returns its value once it and all
/// coroutines other than daemons have ended.
///
/// It makes a scheduler and attaches it to this thread until it is done: `future`, what it
/// [`spawn`](crate::spawn)s, and the tasks of this thread may use asyncoro. It is not
/// `Send`, so it runs where such futures run: in `block_on`, in a `LocalSet`, or in a
/// `LocalRuntime`. The runtime must have I/O and time enabled.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let runtime = tokio::runtime::LocalRuntime::new()?;
/// let sum = runtime.block_on(asyncoro::tokio::attach(async {
///     let one = asyncoro::spawn(async { 1 });
///     let two = tokio::spawn(async { 2 });
///     one.await.unwrap() + two.await.unwrap()
/// }));
/// assert_eq!(sum, 3);
/// # Ok(())
/// # }
/// ```
///
/// A task that still waits for a socket or a timer of asyncoro's when this ends is woken, and
/// panics then unless another scheduler is attached.
///
/// # Panics
/// When first polled where there is no runtime of tokio's, or one without I/O or time; if a
/// scheduler is running on this thread already, or attached to it; if there is no descriptor left;
/// with `future`'s own panic, after everything else has ended.
///
/// # Cancel
/// Dropping it, as tokio does when a runtime ends, drops `future` and ends all coroutines: whoever
/// awaits them gets [`Ended::Terminated`](crate::coro::Ended::Terminated). What they have queued is
/// sent for at most a second, in which the thread waits: a peer in a task of the same thread does
/// not read meanwhile, and a clean-up ([`on_end`](crate::coro::on_end)) that waits for a timer or a
/// socket of tokio's is cut off. End the coroutines, and await them, before that.
///
/// # fork(2)
/// A child must not go on with it, nor with any runtime of tokio's, but exec or `_exit`: they share
/// the parent's epoll(7) instance, and what a child drops, the parent does not hear of any more.
pub async fn attach<F: Future>(future: F) -> F::Output {
    let mut guest = Guest::new(Box::pin(future));
    let result = future::poll_fn(|cx| guest.poll_step(cx)).await;
    drop(guest);
    result.unwrap_or_else(|payload| panic::resume_unwind(payload))
}

/// A scheduler, and how tokio tells that a turn is needed.
struct Guest<F: Future> {
    /// Before the entry, whose end closes what it watches.
    descriptor: AsyncFd<OwnedFd>,
    sleep: Pin<Box<Sleep>>,
    /// When `sleep` ends.
    sleeps_until: Option<Instant>,
    entry: Entry<F>,
}

impl<F: Future> Guest<F> {
    fn new(future: Pin<Box<F>>) -> Guest<F> {
        assert!(
            Handle::try_current().is_ok(),
            "there is no runtime of tokio's on this thread: `asyncoro::tokio::run` makes one"
        );
        let entry = Entry::new(future, coop::has_budget_remaining).expect(NO_DESCRIPTOR);
        let descriptor = entry.descriptor().expect(NO_DESCRIPTOR);
        #[allow(deprecated, reason = "what replaces it is younger than the oldest tokio we take")]
        let descriptor = AsyncFd::with_interest(descriptor, Interest::READABLE);
        Guest {
            descriptor: descriptor.expect("tokio can watch a descriptor of readiness"),
            sleep: Box::pin(time::sleep_until(time::Instant::now())),
            sleeps_until: None,
            entry,
        }
    }

    /// Makes one step, so that tokio's other tasks and its driver have their turn after it.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<thread::Result<F::Output>> {
        self.entry.wake_host_by(cx.waker());
        // Before the turn, so that what becomes ready after it is told anew.
        if let Poll::Ready(Err(error)) = self.unconstrained(cx, Guest::clear_events) {
            panic!("the runtime of tokio's to which this scheduler is attached has ended: {error}");
        }
        match self.entry.step() {
            Step::Ended(result) => return Poll::Ready(result),
            Step::Again => cx.waker().wake_by_ref(),
            Step::Wait(deadline) => {
                self.set_sleep(deadline);
                if self.unconstrained(cx, Guest::poll_sleep).is_ready() {
                    cx.waker().wake_by_ref();
                }
            }
        }
        Poll::Pending
    }

    /// Takes note of events, until tokio will wake the task for the next one.
    fn clear_events(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.descriptor.poll_read_ready(cx))?.clear_ready();
        }
    }

    fn set_sleep(&mut self, until: Option<Instant>) {
        if let Some(until) = until
            && self.sleeps_until != Some(until)
        {
            self.sleep.as_mut().reset(until.into());
        }
        self.sleeps_until = until;
    }

    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.sleeps_until.is_none() {
            return Poll::Pending;
        }
        ready!(self.sleep.as_mut().poll(cx));
        self.sleeps_until = None;
        Poll::Ready(())
    }

    /// Calls `poll` whether or not the coroutines have used up tokio's budget: it is our own.
    fn unconstrained<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: fn(&mut Self, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        pin!(coop::unconstrained(future::poll_fn(|cx| poll(self, cx)))).poll(cx)
    }
}

const NO_DESCRIPTOR: &str = "a scheduler that is a guest needs four descriptors";
