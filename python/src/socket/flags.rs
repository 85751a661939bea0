//! Flags of receiving and sending: which of them the socket itself obeys, which only the system
//! knows, and where these would take bytes that are not for the program.

use pyo3::{
    exceptions::{PyOSError, PyRuntimeError, PyValueError},
    prelude::*,
};

// As Linux has them.
const OOB: i32 = 0x1;
const PEEK: i32 = 0x2;
/// Ancillary data was cut.
pub(super) const CTRUNC: i32 = 0x8;
const DONTWAIT: i32 = 0x40;
const WAITALL: i32 = 0x100;
const ERRQUEUE: i32 = 0x2000;
const NOSIGNAL: i32 = 0x4000;
const MORE: i32 = 0x8000;
/// Descriptors that are received are closed on exec.
pub(super) const CMSG_CLOEXEC: i32 = 0x4000_0000;
/// EOPNOTSUPP.
const NOT_SUPPORTED: i32 = 95;

/// How to receive from a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Receiving {
    /// Once there is anything.
    Some,
    /// Once all that is asked for has come, or the end.
    All,
    /// What is there, without waiting.
    AtOnce,
    /// Once there is anything, which stays.
    Peek,
    /// What is there, which stays, without waiting.
    PeekAtOnce,
}

impl Receiving {
    /// Returns what the flags ask for; `None` if only the system knows one of them.
    pub(super) fn of(flags: i32) -> Option<Receiving> {
        if flags & !(PEEK | DONTWAIT | WAITALL | NOSIGNAL | CMSG_CLOEXEC) != 0 {
            return None;
        }
        let at_once = flags & DONTWAIT != 0;
        Some(match (flags & PEEK != 0, flags & WAITALL != 0) {
            (true, _) if at_once => Receiving::PeekAtOnce,
            (true, _) => Receiving::Peek,
            (false, _) if at_once => Receiving::AtOnce,
            (false, true) => Receiving::All,
            (false, false) => Receiving::Some,
        })
    }
}

/// Returns whether a send with these flags is one without. A send never raises SIGPIPE, and what is
/// queued together leaves together.
pub(super) fn is_plain(flags: i32) -> bool {
    flags & !(NOSIGNAL | MORE) == 0
}

/// Returns whether it is one that does not wait.
pub(super) fn is_at_once(flags: i32) -> bool {
    flags & !(NOSIGNAL | MORE | DONTWAIT) == 0
}

/// Returns whether a call with these flags does not wait.
pub(super) fn has_dont_wait(flags: i32) -> bool {
    flags & DONTWAIT != 0
}

/// Returns whether a call with these flags waits for what one without them does.
pub(super) fn waits_as_usual(flags: i32) -> bool {
    flags & (OOB | ERRQUEUE | DONTWAIT) == 0
}

/// Refuses flags that the system would obey with bytes that are not the program's.
pub(super) fn refuse_to_receive(flags: i32, speaks_tls: bool, has_received: bool) -> PyResult<()> {
    // Neither takes bytes of the stream.
    if flags & ERRQUEUE != 0 || (flags & OOB != 0 && !speaks_tls) {
        return Ok(());
    }
    if speaks_tls {
        return Err(not_with_tls("receiving with these flags"));
    }
    if has_received {
        return Err(PyRuntimeError::new_err(
            "bytes were received that nobody has taken, and the system would not see them: recv() \
             them first, without these flags",
        ));
    }
    Ok(())
}

/// Refuses flags of `recvall` other than those that it obeys anyway.
pub(super) fn refuse_in_recvall(flags: i32) -> PyResult<()> {
    if flags & !(WAITALL | NOSIGNAL | CMSG_CLOEXEC) == 0 {
        return Ok(());
    }
    Err(PyValueError::new_err("recvall waits for all its bytes and takes them: flags of recv"))
}

/// Returns the error of what would put bytes on the wire in clear, or take encrypted ones.
pub(super) fn not_with_tls(what: &str) -> PyErr {
    let text = format!("Operation not supported: with TLS there is no {what}");
    PyOSError::new_err((NOT_SUPPORTED, text))
}
