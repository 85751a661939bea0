//! `Ended`: the reason why a coroutine has no value.

use std::{any::Any, error::Error, fmt, io};

use crate::foreign::panic_text;

/// The reason why a coroutine has no value.
#[non_exhaustive]
pub enum Ended {
    /// The coroutine was terminated, or its scheduler has ended.
    Terminated,
    /// The coroutine panicked; the panic's payload, as from `std::thread::JoinHandle::join`.
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
    /// Makes an error of kind `Other` with the text; the panic's payload is not kept.
    fn from(ended: Ended) -> io::Error {
        io::Error::other(ended.to_string())
    }
}
