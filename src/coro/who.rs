//! The log's name for a coroutine, and the line about a panic that nobody awaits.

use std::{any::Any, fmt, panic::Location};

use crate::{foreign::panic_text, log};

/// The log's name for a coroutine.
#[derive(Clone, Copy)]
pub(super) enum Who<'a> {
    Named(&'a str),
    SpawnedAt(&'static Location<'static>),
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Named(name) => f.write_str(name),
            Who::SpawnedAt(place) => write!(f, "the coroutine spawned at {place}"),
        }
    }
}

/// Logs a panic that no handle will return.
pub(super) fn log_panic(whose: Who<'_>, payload: &(dyn Any + Send)) {
    log::error(format_args!("{whose} panicked: {}", panic_text(payload)));
}
