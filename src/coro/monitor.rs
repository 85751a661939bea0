//! `Monitor`: how a coroutine has ended, for those who do not take its value.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Weak,
    task::{Context, Poll, Waker},
};

use super::{
    cell::See,
    ended::{Ended, Origin},
};
use crate::{
    foreign::panic_text,
    primitives::{Mutex, lock},
};

/// How a coroutine has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum How {
    /// With a value.
    Value,
    /// With an error, which has this text.
    Error(String),
    /// With a panic, which has this text.
    Panicked(String),
    /// It was terminated, or its scheduler has ended.
    Terminated,
    /// In a way that is not known any more: its handle had given out the value before.
    Taken,
}

/// What a [`Monitor`] tells: which coroutine has ended, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    origin: Origin,
    how: How,
}

impl Exit {
    /// Returns how it has ended.
    pub fn how(&self) -> &How {
        &self.how
    }

    /// Returns which coroutine it was.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Tells whether it has ended with a value that is no error.
    pub fn is_well(&self) -> bool {
        self.how == How::Value
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.origin;
        match &self.how {
            How::Value | How::Taken => write!(f, "{origin} has ended"),
            How::Error(text) => write!(f, "{origin} ended: {text}"),
            How::Panicked(text) => write!(f, "{origin} panicked: {text}"),
            How::Terminated => write!(f, "{origin} was terminated"),
        }
    }
}

/// The future of [`Handle::monitor`](super::Handle::monitor): tells how a coroutine has ended.
///
/// It may be awaited again, and cloned; each tells the same.
///
/// # Cancel
/// Nothing is lost. If all clones are dropped, nobody watches any more.
#[derive(Clone)]
#[must_use = "a monitor tells when it is awaited"]
pub struct Monitor {
    seen: std::sync::Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    exit: Option<Exit>,
    wakers: Vec<Waker>,
}

impl Monitor {
    /// Returns how the coroutine has ended, if it has.
    pub fn try_exit(&self) -> Option<Exit> {
        lock(&self.seen).exit.clone()
    }
}

impl Future for Monitor {
    type Output = Exit;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Exit> {
        // A clone of a waker is foreign code.
        let waker = cx.waker().clone();
        let mut seen = lock(&self.seen);
        if let Some(exit) = &seen.exit {
            return Poll::Ready(exit.clone());
        }
        if !seen.wakers.iter().any(|known| known.will_wake(&waker)) {
            seen.wakers.push(waker);
        }
        Poll::Pending
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("exit", &self.try_exit()).finish()
    }
}

/// Makes a monitor that tells no errors.
pub(super) fn by_value<T>() -> (Monitor, impl See<T>) {
    by(|_: &T| None)
}

/// Makes a monitor that tells errors.
pub(super) fn by_error<T, E: fmt::Display>() -> (Monitor, impl See<Result<T, E>>) {
    by(|value: &Result<T, E>| value.as_ref().err().map(ToString::to_string))
}

fn by<T>(error: impl Fn(&T) -> Option<String> + Send + 'static) -> (Monitor, impl See<T>) {
    let monitor = Monitor { seen: std::sync::Arc::default() };
    let see = Watcher { seen: std::sync::Arc::downgrade(&monitor.seen), error };
    (monitor, see)
}

struct Watcher<F> {
    seen: Weak<Mutex<Seen>>,
    error: F,
}

impl<F> Watcher<F> {
    fn tell(&self, origin: Origin, how: How) -> Vec<Waker> {
        let Some(seen) = self.seen.upgrade() else { return Vec::new() };
        let mut seen = lock(&seen);
        seen.exit = Some(Exit { origin, how });
        std::mem::take(&mut seen.wakers)
    }
}

impl<T, F: Fn(&T) -> Option<String> + Send + 'static> See<T> for Watcher<F> {
    fn see(self, result: Result<&T, &Ended>, origin: Origin) -> Vec<Waker> {
        let how = match result {
            Ok(value) => (self.error)(value).map_or(How::Value, How::Error),
            Err(Ended::Terminated(_)) => How::Terminated,
            Err(Ended::Panicked(payload, _)) => How::Panicked(panic_text(&**payload).to_owned()),
        };
        self.tell(origin, how)
    }

    fn see_none(self, origin: Origin) -> Vec<Waker> {
        self.tell(origin, How::Taken)
    }

    fn is_wanted(&self) -> bool {
        self.seen.strong_count() > 0
    }
}

/// Calls a function.
pub(super) struct Call<F>(pub(super) F);

impl<T, F: FnOnce(Result<&T, &Ended>) + Send + 'static> See<T> for Call<F> {
    fn see(self, result: Result<&T, &Ended>, _: Origin) -> Vec<Waker> {
        (self.0)(result);
        Vec::new()
    }

    fn see_none(self, _: Origin) -> Vec<Waker> {
        Vec::new()
    }

    fn is_wanted(&self) -> bool {
        true
    }
}
