//! `Coro<T>`: the handle to a coroutine and its value.

use std::{
    fmt,
    future::Future,
    io,
    ops::{Deref, DerefMut},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use super::{
    cell::Joint,
    ended::Ended,
    inbox,
    key::Key,
    monitor::{Call, Monitor, by_error, by_value},
};

/// The handle to a coroutine, for its starter: waits for its value, ends it, or, if dropped, lets
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
/// Dropping the handle detaches the coroutine. If it then panics, that is
/// [logged](crate::coro#the-log) with its name or the place where it was spawned.
#[must_use = "dropping a Coro detaches the coroutine; say so with `drop`, or await it"]
pub struct Coro<T> {
    handle: Handle<T>,
}

/// The part of a [`Coro`] that does not depend on errors of type [`io::Error`]. It has
/// [`Handle::or_log`], for errors of any type.
///
/// It is a separate type so that `spawn(async { ...?; Ok(()) }).or_log()` finds the `or_log` for
/// `io::Error` first, and its error type need not be written.
pub struct Handle<T> {
    joint: Joint<T>,
}

impl<T> Coro<T> {
    pub(super) fn new(joint: Joint<T>) -> Coro<T> {
        Coro { handle: Handle { joint } }
    }

    /// Returns a number that no other living coroutine of this process has. It is 0 until the
    /// scheduler has added the coroutine, which is seen only after a spawn from another thread.
    pub fn id(&self) -> u64 {
        let key = self.key();
        if key.has_place() { key.pack() as u64 } else { 0 }
    }

    /// Tells whether the coroutine has ended, so that its value is available.
    pub fn is_finished(&self) -> bool {
        self.handle.joint.is_done()
    }

    /// Ends the coroutine: its own scheduler drops its future, soon, and not in this call.
    ///
    /// An `await` of the handle returns [`Ended::Terminated`], or the value if the coroutine has
    /// ended before.
    ///
    /// ```
    /// use asyncoro::coro::Ended;
    ///
    /// asyncoro::run(async {
    ///     let forever = asyncoro::spawn(std::future::pending::<()>());
    ///     forever.terminate();
    ///     assert!(matches!(forever.await, Err(Ended::Terminated(_))));
    /// });
    /// ```
    pub fn terminate(&self) {
        self.handle.joint.ask_to_end();
        let key = self.key();
        // Without a place it was not resumed yet, and sees the mark at its first resume.
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
    /// On the thread of the coroutine's scheduler, entered or not, since the wait would never end:
    /// `.await` the handle there. After the coroutine has ended, it returns the value there too.
    #[track_caller]
    pub fn value(mut self) -> Result<T, Ended> {
        // The slot belongs to its scheduler only until that has ended.
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
    /// Detaches the coroutine, and logs its error if it ends with one.
    ///
    /// This is for connections whose handles are not kept but whose errors should be seen. The log
    /// line has the coroutine's name ([`super::Current::set_name`]; a good one names the peer), or
    /// the place where it was spawned. A peer that resets the connection (`ConnectionReset`,
    /// `ConnectionAborted`, `BrokenPipe`) causes a line of level DEBUG, one that ends the stream
    /// too early (`UnexpectedEof`) one of level INFO, and any other error an ERROR. For the
    /// destination and the number of lines see [the log](crate::coro#the-log).
    ///
    /// [`Handle::or_log`] does the same for errors of other types than `io::Error`, each as an
    /// ERROR.
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

impl<T: 'static, E: fmt::Display + 'static> Coro<Result<T, E>> {
    /// Watches how the coroutine ends, as [`Handle::monitor`] does, with the text of its error if
    /// it ends with one.
    pub fn monitor(&mut self) -> Monitor {
        let (monitor, see) = by_error();
        self.handle.joint.watch(see);
        monitor
    }
}

impl<T: 'static> Handle<T> {
    /// Watches how the coroutine ends: returns a future that tells it, in any coroutine, scheduler
    /// or thread, as often as wanted, and does not take the value. The handle may be dropped.
    ///
    /// For a coroutine whose value is a `Result` with an error that can be displayed, the text of
    /// the error is told, too.
    ///
    /// It needs `&mut` because a handle may be shared among threads, and a value may not.
    ///
    /// # Example
    /// ```
    /// use asyncoro::coro::How;
    ///
    /// asyncoro::run(async {
    ///     let mut worker = asyncoro::spawn(async {
    ///         asyncoro::coro::current().set_name("worker");
    ///         std::fs::read_to_string("/no/such/file")
    ///     });
    ///     let exit = worker.monitor().await;
    ///     assert!(matches!(exit.how(), How::Error(text) if text.contains("No such file")));
    ///     assert_eq!(exit.origin().name(), Some("worker"));
    ///     assert!(worker.await.unwrap().is_err()); // the value is still there
    /// });
    /// ```
    pub fn monitor(&mut self) -> Monitor {
        let (monitor, see) = by_value();
        self.joint.watch(see);
        monitor
    }

    /// Calls `see` with what the coroutine has ended with, by reference, once: on the scheduler's
    /// thread when it ends, or at once if it has ended; not at all if the handle has given out the
    /// value before. A panic of `see` is
    /// [logged](crate::coro#the-log).
    ///
    /// This is for those who want to see the value, or to send a message of their own.
    ///
    /// # Example
    /// ```
    /// use asyncoro::sync::mailbox;
    ///
    /// asyncoro::run(async {
    ///     let (sender, receiver) = mailbox(8);
    ///     for number in 0..3 {
    ///         let sender = sender.clone();
    ///         let mut worker = asyncoro::spawn(async move { number * 10 });
    ///         worker.when_ended(move |result| {
    ///             let _ = sender.try_send(result.ok().copied());
    ///         });
    ///     }
    ///     assert_eq!(receiver.receive().await, Some(Some(0)));
    ///     assert_eq!(receiver.receive().await, Some(Some(10)));
    /// });
    /// ```
    pub fn when_ended(&mut self, see: impl FnOnce(Result<&T, &Ended>) + Send + 'static) {
        self.joint.watch(Call(see));
    }
}

impl<T, E: fmt::Display> Handle<Result<T, E>> {
    /// Logs the coroutine's error if it ends with one and the handle was dropped.
    ///
    /// Called on the result of [`crate::spawn`], it detaches the coroutine, as dropping the handle
    /// does.
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

impl<T> DerefMut for Coro<T> {
    fn deref_mut(&mut self) -> &mut Handle<T> {
        &mut self.handle
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("ended", &self.joint.is_done()).finish()
    }
}

impl<T> Future for Coro<T> {
    type Output = Result<T, Ended>;

    #[inline(always)]
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

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
