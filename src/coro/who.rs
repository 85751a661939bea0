//! The log's name for a coroutine, and the line about a panic that nobody awaits.

use std::{any::Any, fmt, panic::Location};

use crate::{foreign::panic_text, log};

/// The log's name for a coroutine: its own, if it has one, and where it was spawned.
#[derive(Clone, Copy)]
pub(super) struct Who<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) place: &'static Location<'static>,
}

impl<'a> Who<'a> {
    pub(super) fn new(name: Option<&'a str>, place: &'static Location<'static>) -> Who<'a> {
        Who { name, place }
    }
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{name} (spawned at {})", self.place),
            None => write!(f, "the coroutine spawned at {}", self.place),
        }
    }
}

/// Logs a panic that no handle will return.
pub(super) fn log_panic(whose: Who<'_>, payload: &(dyn Any + Send)) {
    log::error(format_args!("{whose} panicked: {}", panic_text(payload)));
}
