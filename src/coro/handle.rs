//! `Coro<T>`: the handle to a coroutine and its value.

use std::{
    fmt,
    future::Future,
    io,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use super::{cell::Joint, ended::Ended, inbox, key::Key};

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
/// Dropping the handle detaches the coroutine. If it then panics, [the log](crate::coro#the-log)
/// tells of it, with its name or the place where it was spawned.
#[must_use = "dropping a Coro detaches the coroutine; say so with `drop`, or await it"]
pub struct Coro<T> {
    handle: Handle<T>,
}

/// What a [`Coro`] is beside its errors of type [`io::Error`]: it lends [`Handle::or_log`], for
/// errors of any type.
///
/// It is a type of its own so that `spawn(async { ...?; Ok(()) }).or_log()` has one `or_log` to be
/// about, that of `io::Error`, and needs no type to be written.
pub struct Handle<T> {
    joint: Joint<T>,
}

impl<T> Coro<T> {
    pub(super) fn new(joint: Joint<T>) -> Coro<T> {
        Coro { handle: Handle { joint } }
    }

    /// Gives a number that no other living coroutine of this process has; 0 until its scheduler has
    /// taken it in, which only a coroutine spawned from another thread can see.
    pub fn id(&self) -> u64 {
        let key = self.key();
        if key.has_place() { key.pack() as u64 } else { 0 }
    }

    /// Tells whether the coroutine has ended, so that its value is there.
    pub fn is_finished(&self) -> bool {
        self.handle.joint.is_done()
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
        self.handle.joint.ask_to_end();
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
            match self.handle.joint.poll(&mut cx) {
                Poll::Ready(result) => return result,
                Poll::Pending => thread::park(),
            }
        }
    }

    fn key(&self) -> Key {
        Key::unpack(self.handle.joint.key())
    }
}

impl<T> Coro<io::Result<T>> {
    /// Detaches the coroutine, and has its error logged if it ends with one.
    ///
    /// For connections that nobody waits for: what went wrong should still be told. The log calls
    /// the coroutine by its name ([`super::Current::set_name`]; a good one tells the peer), or says
    /// where it was spawned. A peer that resets the connection (`ConnectionReset`,
    /// `ConnectionAborted`, `BrokenPipe`) is a line of level DEBUG, one that ends it within
    /// something (`UnexpectedEof`) one of level INFO, and all else is an ERROR. Where lines go, and
    /// how many in a second: [the log](crate::coro#the-log).
    ///
    /// Errors of other types than `io::Error` are logged by [`Handle::or_log`], to the same effect,
    /// each as an ERROR.
    ///
    /// ```
    /// asyncoro::run(async {
    ///     asyncoro::spawn(async {
    ///         asyncoro::coro::current().set_name("greeter");
    ///         let number: u32 = std::fs::read_to_string("/no/such/file")?.len() as u32;
    ///         println!("{number}");
    ///         Ok(()) // the error is an io::Error, which nobody has to say
    ///     })
    ///     .or_log(); // ERROR: greeter ended: No such file or directory
    /// });
    /// ```
    pub fn or_log(self) {
        self.handle.joint.log_io_errors();
    }
}

impl<T, E: fmt::Display> Handle<Result<T, E>> {
    /// Has the coroutine's error logged if it ends with one and the handle was dropped.
    ///
    /// Called on what [`crate::spawn`] gives it detaches the coroutine, as a dropped handle does.
    ///
    /// ```
    /// #[derive(Debug)]
    /// struct Refused;
    ///
    /// impl std::fmt::Display for Refused {
    ///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    ///         f.write_str("no")
    ///     }
    /// }
    ///
    /// asyncoro::run(async {
    ///     asyncoro::spawn(async { Err::<(), _>(Refused) }).or_log();
    /// });
    /// ```
    pub fn or_log(&self) {
        self.joint.log_errors();
    }
}

impl<T> Deref for Coro<T> {
    type Target = Handle<T>;

    fn deref(&self) -> &Handle<T> {
        &self.handle
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("ended", &self.joint.is_done()).finish()
    }
}

impl<T> Future for Coro<T> {
    type Output = Result<T, Ended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.handle.joint.poll(cx)
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
