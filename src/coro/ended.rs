//! `Ended`: the reason why a coroutine has no value, and `Origin`: which coroutine that was.

use std::{any::Any, error::Error, fmt, io, panic::Location};

use super::who::Who;
use crate::foreign::panic_text;

/// The reason why a coroutine has no value, and which coroutine that was.
///
/// ```
/// asyncoro::run(async {
///     let failed = asyncoro::spawn(async { panic!("no more room") }).await;
///     let text = failed.map(|()| "a value").unwrap_err().to_string();
///     // the coroutine spawned at src/main.rs:2:18 panicked: no more room
///     assert!(text.starts_with("the coroutine spawned at "), "{text}");
///     assert!(text.ends_with(" panicked: no more room"), "{text}");
/// });
/// ```
#[non_exhaustive]
pub enum Ended {
    /// The coroutine was terminated, or its scheduler has ended.
    Terminated(Origin),
    /// The coroutine panicked; the panic's payload, as from `std::thread::JoinHandle::join`.
    Panicked(Box<dyn Any + Send>, Origin),
}

/// Which coroutine it was: its name, if it had one, and where it was spawned. As text it is what
/// [the log](crate::coro#the-log) calls a coroutine.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    name: Option<Box<str>>,
    place: &'static Location<'static>,
}

impl Origin {
    pub(crate) fn new(name: Option<&str>, place: &'static Location<'static>) -> Origin {
        Origin { name: name.map(Box::from), place }
    }

    /// Returns the coroutine's name, if it had one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the line of the program that has spawned the coroutine.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.place
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Who::new(self.name(), self.place).fmt(f)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ended {
    /// Returns which coroutine has ended so.
    pub fn origin(&self) -> &Origin {
        match self {
            Ended::Terminated(origin) | Ended::Panicked(_, origin) => origin,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Terminated(origin) => write!(f, "{origin} was terminated"),
            Ended::Panicked(payload, origin) => {
                write!(f, "{origin} panicked: {}", panic_text(&**payload))
            }
        }
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Terminated(origin) => write!(f, "Terminated({origin})"),
            Ended::Panicked(payload, origin) => {
                write!(f, "Panicked({:?}, {origin})", panic_text(&**payload))
            }
        }
    }
}

impl Error for Ended {}

impl From<Ended> for io::Error {
    /// Makes an error of kind `Other` with the text; the panic's payload is not kept.
    fn from(ended: Ended) -> io::Error {
        io::Error::other(ended.to_string())
    }
}

/// The same as it is kept in a cell, where the place of the spawn is known already.
pub(super) enum Failure {
    Terminated,
    Panicked(Box<dyn Any + Send>),
}

impl Failure {
    pub(super) fn of(self, origin: Origin) -> Ended {
        match self {
            Failure::Terminated => Ended::Terminated(origin),
            Failure::Panicked(payload) => Ended::Panicked(payload, origin),
        }
    }
}

const _: () = {
    // A value that is no larger makes its cell no larger.
    assert!(size_of::<Failure>() == 16);
};
