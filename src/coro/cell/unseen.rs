//! What becomes of a result that nobody takes: its drop, its panic and its error in the log.
//!
//! Whatever of this is foreign code is caught here, since nobody else can be told of its panic.
//!
//! Unsafe: [`show_error`] and [`show_io_error`] are given a result whose type is forgotten. They
//! are called by the owner whom the state says the result belongs to, and only for cells of the
//! type that they were chosen for.
#![allow(unsafe_code)]

use std::{
    any::Any,
    fmt, io, mem,
    panic::{self, AssertUnwindSafe},
};

use crate::{
    coro::{ended::Ended, who::Who},
    error, foreign, log,
};

/// Drops a value whose drop may panic; there is nobody but the log to tell.
pub(super) fn drop_caught<V>(value: V) {
    if mem::needs_drop::<V>() {
        foreign::contain("the drop of a coroutine's value", || drop(value));
    }
}

/// Calls what is not ours; its panic goes to the log, since nobody else can be told.
pub(super) fn caught(what: &str, whose: Who<'_>, call: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(call)) {
        let text = foreign::panic_text(&*payload);
        log::error(format_args!("{whose} has ended, and {what} panicked: {text}"));
        foreign::discard(payload);
    }
}

/// The payload of a panic and the name of its coroutine, for a handle that is dropped unseen. It
/// never leaves the cell.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) thrown: Box<dyn Any + Send>,
}

/// Puts the payload of a panic back as it was thrown, and gives the name that stood beside it.
#[inline]
pub(super) fn unname<T>(result: &mut Result<T, Ended>) -> Option<String> {
    match result {
        Err(Ended::Panicked(payload)) => unname_payload(payload),
        _ => None,
    }
}

#[cold]
fn unname_payload(payload: &mut Box<dyn Any + Send>) -> Option<String> {
    let named = payload.downcast_mut::<Named>()?;
    let name = mem::take(&mut named.name);
    let thrown = mem::replace(&mut named.thrown, Box::new(()));
    *payload = thrown;
    Some(name)
}

pub(super) fn show_error<T, E: fmt::Display>(result: *const (), whose: Who<'_>) {
    // SAFETY: `Joint::log_errors` has left this function in a cell with this type of result, whose
    // owner calls it while the result is in place.
    show(unsafe { &*result.cast::<Result<Result<T, E>, Ended>>() }, whose, |_| Fault::Own);
}

/// Shows an error as [`show_error`] does, which says whose fault it is.
pub(super) fn show_io_error<T>(result: *const (), whose: Who<'_>) {
    // SAFETY: as in `show_error`.
    show(unsafe { &*result.cast::<Result<io::Result<T>, Ended>>() }, whose, Fault::of);
}

fn show<T, E: fmt::Display>(
    result: &Result<Result<T, E>, Ended>,
    whose: Who<'_>,
    fault: impl FnOnce(&E) -> Fault,
) {
    // The text is made here, since what makes it may panic.
    match result {
        Ok(Ok(_)) | Err(Ended::Terminated) => {}
        Ok(Err(error)) => {
            let (text, fault) = (error.to_string(), fault(error));
            fault.log(format_args!("{whose} ended: {text}"));
        }
        Err(panicked) => log::error(format_args!("{whose}: {panicked}")),
    }
}

/// Whose fault an error is, which decides how loud the log says it.
enum Fault {
    Own,
    /// The peer has cut off what it had begun.
    Peers,
    /// The peer has gone, as peers do.
    Nobodys,
}

impl Fault {
    fn of(error: &io::Error) -> Fault {
        match error.kind() {
            _ if error::peer_has_gone(error) => Fault::Nobodys,
            io::ErrorKind::UnexpectedEof => Fault::Peers,
            _ => Fault::Own,
        }
    }

    fn log(self, line: fmt::Arguments<'_>) {
        match self {
            Fault::Own => log::error(line),
            Fault::Peers => log::info(line),
            Fault::Nobodys => log::debug(line),
        }
    }
}
