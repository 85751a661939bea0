//! Handles a result that no handle takes: its drop, its panic, and its error in the log.
//!
//! All foreign code here is called with its panics caught, and they are logged.
//!
//! Unsafe: [`show_error`] and [`show_io_error`] take a result whose type is erased. The owner to
//! which the state gives the result calls them, and only for cells of the type for which they were
//! chosen.
#![allow(unsafe_code)]

use std::{
    fmt, io, mem,
    panic::{self, AssertUnwindSafe},
};

use crate::{
    coro::{
        ended::Failure,
        who::{Who, log_panic},
    },
    error, foreign, log,
};

/// Drops a value whose drop may panic; the panic is logged.
pub(super) fn drop_caught<V>(value: V) {
    if mem::needs_drop::<V>() {
        foreign::contain("the drop of a coroutine's value", || drop(value));
    }
}

/// Calls foreign code; its panic is logged, since no caller can handle it.
pub(super) fn caught(what: &str, whose: Who<'_>, call: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(call)) {
        let text = foreign::panic_text(&*payload);
        log::error(format_args!("{whose} has ended, and {what} panicked: {text}"));
        foreign::discard(payload);
    }
}

/// The reason why a coroutine has no value, and its name, in the place of a panic's payload. It
/// never leaves the cell.
struct Named {
    name: String,
    failure: Failure,
}

/// Stores a name beside a failure.
pub(super) fn name(failure: &mut Failure, name: &str) {
    let bare = mem::replace(failure, Failure::Terminated);
    *failure = Failure::Panicked(Box::new(Named { name: name.to_owned(), failure: bare }));
}

/// Restores the failure as it was, and returns the name stored beside it.
#[inline]
pub(super) fn unname<T>(result: &mut Result<T, Failure>) -> Option<String> {
    match result {
        Err(failure @ Failure::Panicked(_)) => unname_failure(failure),
        _ => None,
    }
}

#[cold]
fn unname_failure(failure: &mut Failure) -> Option<String> {
    let Failure::Panicked(payload) = failure else { return None };
    let named = payload.downcast_mut::<Named>()?;
    let name = mem::take(&mut named.name);
    let bare = mem::replace(&mut named.failure, Failure::Terminated);
    *failure = bare;
    Some(name)
}

pub(super) fn show_error<T, E: fmt::Display>(result: *const (), whose: Who<'_>) {
    // SAFETY: `Joint::log_errors` has stored this function in a cell with this type of result,
    // whose owner calls it while the result is in place.
    show(unsafe { &*result.cast::<Result<Result<T, E>, Failure>>() }, whose, |_| Fault::Own);
}

/// Logs an error like [`show_error`], at a level that depends on whose fault it is.
pub(super) fn show_io_error<T>(result: *const (), whose: Who<'_>) {
    // SAFETY: `Joint::log_io_errors` has stored this function in a cell with this type of result.
    show(unsafe { &*result.cast::<Result<io::Result<T>, Failure>>() }, whose, Fault::of);
}

fn show<T, E: fmt::Display>(
    result: &Result<Result<T, E>, Failure>,
    whose: Who<'_>,
    fault: impl FnOnce(&E) -> Fault,
) {
    // The text is made here, since making it may panic.
    match result {
        Ok(Ok(_)) | Err(Failure::Terminated) => {}
        Ok(Err(error)) => {
            let (text, fault) = (error.to_string(), fault(error));
            fault.log(format_args!("{whose} ended: {text}"));
        }
        Err(Failure::Panicked(payload)) => log_panic(whose, &**payload),
    }
}

/// Whose fault an error is, which decides the level of the log line.
enum Fault {
    Own,
    /// The peer has cut off what it had begun.
    Peers,
    /// The peer has gone, which is normal.
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
