//! `ThreadBound<T>`: a value of one scheduler, for code that demands `Send`.
//!
//! Here nothing is unsafe: the value lies in a `Homebound` (`coro/homebound.rs`), which is `Send`
//! and `Sync`, gives the value to its own thread only, and has the argument for that. It lies in a
//! box, so that a future need not be `Unpin`, and so that going home moves a pointer and no value.
//!
//! The files below forward the traits of others.

use std::{
    any::type_name,
    fmt,
    future::Future,
    ops::{Deref, DerefMut},
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    coro::{Home, Homebound, this_thread_name},
    log,
};

#[cfg(feature = "futures-io")]
mod futures;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "tokio-io")]
mod tokio;

/// A `Send + Sync` wrapper around a value of one scheduler, for code that demands `Send` and never
/// crosses threads: routes of axum, upgraded connections of hyper, connections of redis, all of
/// them on a scheduler or inside of an executor of one thread.
///
/// The value stays on the thread on which the wrapper was made. There the wrapper is the value: it
/// dereferences to it, and implements what it implements of these traits:
///
/// | trait | feature |
/// | --- | --- |
/// | `Future`, `Deref`, `DerefMut`, `Clone`, `Debug` | |
/// | `Stream`; `AsyncRead`, `AsyncBufRead`, `AsyncWrite` of futures-io | `futures-io` |
/// | `AsyncRead`, `AsyncBufRead`, `AsyncWrite` of tokio | `tokio-io` |
/// | `rt::Read`, `rt::Write` and `body::Body` of hyper; `Service` of tower | `hyper` |
///
/// Used on another thread it panics, and says which threads these are.
///
/// **It may be dropped anywhere.** On its own thread that drops the value. On another thread the
/// value goes home: its scheduler drops it, soon, while it runs (a socket still sends what it has
/// queued). If the scheduler has ended meanwhile nobody can drop the value, since the thread may be
/// gone; then it is leaked and [the log](crate::coro#the-log) has a warning.
///
/// The waker of a future that is polled through the wrapper may be woken on any thread, as always.
///
/// # Example
/// A future that holds a socket is not `Send`; this one is, and whoever gets it polls it here:
/// ```
/// use std::{os::unix::net::UnixStream, pin::Pin};
///
/// use asyncoro::{AsyncSocket, interop::ThreadBound};
///
/// # fn main() -> std::io::Result<()> {
/// let (near, far) = UnixStream::pair()?;
/// asyncoro::run(async {
///     let (near, far) = (AsyncSocket::new(near)?, AsyncSocket::new(far)?);
///     let receive = async move { near.recv_msg().await };
///     let demands_send: Pin<Box<dyn Future<Output = _> + Send>> =
///         Box::pin(ThreadBound::new(receive));
///     far.send_msg(b"hello").await?;
///     assert_eq!(demands_send.await?.unwrap(), "hello");
///     Ok(())
/// })
/// # }
/// ```
///
/// # Platform
/// In the child of a fork the wrapper can be used and dropped by the thread that has forked, if it
/// is the value's. What belonged to another thread is leaked there without a word: its thread stays
/// with the parent, and so does its value.
pub struct ThreadBound<T: 'static> {
    /// Empty only in a wrapper that is being dropped.
    value: Homebound<Pin<Box<T>>>,
    home: Home,
}

impl<T: 'static> ThreadBound<T> {
    /// Binds a value to this thread, and to the scheduler that runs on it.
    ///
    /// # Panics
    /// Outside a running scheduler: without one, a value that is dropped on another thread would
    /// have no way home.
    #[track_caller]
    pub fn new(value: T) -> ThreadBound<T> {
        let home = Home::here("ThreadBound::new");
        ThreadBound { value: Homebound::new(Box::pin(value)), home }
    }

    /// Returns the value.
    ///
    /// `T: Unpin`, since a future that was polled must not be moved: await it, or use
    /// [`ThreadBound::as_pin_mut`].
    ///
    /// # Panics
    /// On another thread; the value then goes home, as by a drop.
    #[track_caller]
    pub fn into_inner(mut self) -> T
    where
        T: Unpin,
    {
        match self.value.take() {
            Some(value) => *Pin::into_inner(value),
            None => elsewhere::<T>(&self.home),
        }
    }

    /// Returns the value, pinned, for a method of a trait that the wrapper does not forward.
    ///
    /// # Panics
    /// On another thread.
    #[track_caller]
    pub fn as_pin_mut(&mut self) -> Pin<&mut T> {
        match self.value.value_mut() {
            Some(value) => value.as_mut(),
            None => elsewhere::<T>(&self.home),
        }
    }

    /// Tells whether this thread is the one of the value, so that it may be used.
    pub fn is_home(&self) -> bool {
        self.value.is_home()
    }

    /// Binds a value that this one has made to the same thread.
    #[cfg_attr(not(feature = "hyper"), allow(dead_code, reason = "services make futures"))]
    fn bind_too<U: 'static>(&self, value: U) -> ThreadBound<U> {
        debug_assert!(self.is_home(), "it has just made that");
        ThreadBound { value: Homebound::new(Box::pin(value)), home: self.home.clone() }
    }
}

impl<T: 'static> Deref for ThreadBound<T> {
    type Target = T;

    /// # Panics
    /// On another thread.
    #[track_caller]
    #[inline]
    fn deref(&self) -> &T {
        match self.value.value() {
            Some(value) => value,
            None => elsewhere::<T>(&self.home),
        }
    }
}

impl<T: Unpin + 'static> DerefMut for ThreadBound<T> {
    /// # Panics
    /// On another thread.
    #[track_caller]
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.as_pin_mut().get_mut()
    }
}

impl<T: Clone + 'static> Clone for ThreadBound<T> {
    /// # Panics
    /// On another thread.
    #[track_caller]
    fn clone(&self) -> ThreadBound<T> {
        self.bind_too(T::clone(self))
    }
}

impl<F: Future + 'static> Future for ThreadBound<F> {
    type Output = F::Output;

    /// # Panics
    /// On another thread.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.as_pin_mut().poll(cx)
    }
}

impl<T: fmt::Debug + 'static> fmt::Debug for ThreadBound<T> {
    /// Shows the value on its own thread, and elsewhere only whose it is: a line of a log is no
    /// reason for a panic.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_tuple("ThreadBound");
        match self.value.value() {
            Some(value) => shown.field(value),
            None => shown.field(&format_args!("of the thread {}", self.home.thread_name())),
        };
        shown.finish()
    }
}

impl<T: 'static> Drop for ThreadBound<T> {
    fn drop(&mut self) {
        if !self.is_home() {
            self.go_home();
        }
    }
}

impl<T: 'static> ThreadBound<T> {
    #[cold]
    #[inline(never)]
    fn go_home(&mut self) {
        let Some(value) = self.value.leave() else { return };
        // What comes back is leaked by its drop.
        if self.home.take_back(value).is_err() && !self.home.is_inherited() {
            log::warn(format_args!(
                "a ThreadBound<{}> of the thread {} was dropped on the thread {} after its \
                 scheduler had ended, so it is leaked: drop it before, or on its own thread",
                type_name::<T>(),
                self.home.thread_name(),
                this_thread_name()
            ));
        }
    }
}

#[track_caller]
#[cold]
#[inline(never)]
fn elsewhere<T>(home: &Home) -> ! {
    panic!(
        "a ThreadBound<{}> belongs to the thread {} and was used on the thread {}: use it in \
         coroutines and tasks of its own thread only (a task that must stay there is spawned by \
         `asyncoro::spawn`, or `spawn_local` of tokio), and from elsewhere run code there, by \
         `asyncoro::on(&scheduler, ..)`. Only its drop may happen anywhere",
        type_name::<T>(),
        home.thread_name(),
        this_thread_name()
    )
}

const _: () = {
    const fn crosses_threads<T: Send + Sync + Unpin>() {}
    crosses_threads::<ThreadBound<*const ()>>();
    crosses_threads::<ThreadBound<std::marker::PhantomPinned>>();
};
