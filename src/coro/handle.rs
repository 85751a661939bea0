//! `Coro<T>`: the handle to a coroutine and its value.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use super::{Ended, cell::Joint, inbox, waker::Key};

/// A coroutine, seen by whoever started it: wait for its value, end it, or drop the handle and let
/// it run on its own.
///
/// It is a future of `Result<T, Ended>` that any coroutine, scheduler or executor can await, and
/// [`Coro::value`] waits in a plain thread. It is `Send` if `T` is.
///
/// ```
/// asyncoro::run(async {
///     let answer = asyncoro::spawn(async { 6 * 7 });
///     assert_eq!(answer.await.unwrap(), 42);
/// });
/// ```
///
/// # Cancel
/// Dropping the handle detaches the coroutine. If it then panics, the panic is logged through
/// `tracing`, with its name.
#[must_use = "dropping a Coro detaches the coroutine; say so with `drop`, or await it"]
pub struct Coro<T> {
    joint: Joint<T>,
}

impl<T> Coro<T> {
    pub(super) fn new(joint: Joint<T>) -> Coro<T> {
        Coro { joint }
    }

    /// A number that no other living coroutine of this process has; 0 until its scheduler has taken
    /// it in, which only a coroutine spawned from another thread can see.
    pub fn id(&self) -> u64 {
        let key = self.key();
        if key.has_place() { key.pack() as u64 } else { 0 }
    }

    /// Whether the coroutine has ended, so that its value is there.
    pub fn is_finished(&self) -> bool {
        self.joint.is_done()
    }

    /// Ends the coroutine: its future is dropped by its own scheduler, soon, and not in here.
    ///
    /// Whoever awaits the handle gets [`Ended::Terminated`], or the value if the coroutine was
    /// faster.
    ///
    /// ```
    /// use asyncoro::coro::Ended;
    ///
    /// asyncoro::run(async {
    ///     let forever = asyncoro::spawn(std::future::pending::<()>());
    ///     forever.terminate();
    ///     assert!(matches!(forever.await, Err(Ended::Terminated)));
    /// });
    /// ```
    pub fn terminate(&self) {
        self.joint.ask_to_end();
        let key = self.key();
        // Without a place it has not been taken in yet, and will see the mark at its first resume.
        if key.has_place() && !self.is_finished() {
            key.wake();
        }
    }

    /// Waits for the value in a plain thread.
    ///
    /// # Errors
    /// [`Ended`], if the coroutine was terminated or has panicked.
    ///
    /// # Panics
    /// On the thread of the coroutine's scheduler, entered or not, which would wait for itself:
    /// `.await` the handle there. If the coroutine has ended it gives the value there too.
    #[track_caller]
    pub fn value(mut self) -> Result<T, Ended> {
        // Its slot is its scheduler's only while it has not ended.
        let own = !self.is_finished() && inbox::is_own(self.key().slot);
        assert!(!own, "value() would block the scheduler that runs this coroutine: `.await` it");
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            match self.joint.poll(&mut cx) {
                Poll::Ready(result) => return result,
                Poll::Pending => thread::park(),
            }
        }
    }

    fn key(&self) -> Key {
        Key::unpack(self.joint.key())
    }
}

impl<T, E: fmt::Display> Coro<Result<T, E>> {
    /// Detaches the coroutine, and has its error logged through `tracing` if it ends with one.
    ///
    /// For connections that nobody waits for: what went wrong should still be told.
    ///
    /// ```
    /// asyncoro::run(async {
    ///     let connection = async { Err::<(), _>(std::io::Error::other("told to the log")) };
    ///     asyncoro::spawn(connection).or_log();
    /// });
    /// ```
    pub fn or_log(self) {
        self.joint.detach_to_log();
    }
}

impl<T> Future for Coro<T> {
    type Output = Result<T, Ended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.joint.poll(cx)
    }
}

impl<T> Unpin for Coro<T> {}

impl<T> fmt::Debug for Coro<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coro").field("id", &self.id()).field("ended", &self.is_finished()).finish()
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
