//! Operations made of other operations and of waiting, written once for both faces.
//!
//! The [`Face`] decides how to wait: the asynchronous one suspends a coroutine, the blocking one
//! waits in the call, so its futures are ready at the first poll.

use std::{
    io,
    net::Shutdown,
    time::{Duration, Instant},
};

use super::{
    accept::{Accept, is_out_of_descriptors},
    connect::Connect,
    end::{CloseNotify, ShutDown},
    operation::Op,
};
use crate::{
    addr::{Address, Target},
    coro::engine::{FIRST_PAUSE, LAST_PAUSE},
    driver::Driver,
    error,
    socket::{
        ending::{Ending, LONGEST, not_acknowledged},
        link::Link,
        make::{UNIX_PAUSE, of_family},
    },
    sys::Sys,
};

/// What these operations need of a face, and how it waits.
pub(crate) trait Face {
    /// Calls `f` with the link, unless the socket is closed.
    fn with_link<R>(&self, f: impl FnOnce(&Link) -> io::Result<R>) -> io::Result<R>;

    /// Tells whether TLS is spoken.
    fn is_secure(&self) -> bool;

    /// Tells, without waiting, whether the socket can be closed and lose nothing; see
    /// [`Link::settle`].
    fn settle(&self) -> io::Result<bool>;

    /// Returns the socket's timeout.
    fn timeout(&self) -> Option<Duration>;

    /// Runs an operation to its end, after a handshake that is due.
    async fn run<O: Op>(&self, op: O) -> io::Result<O::Output>;

    /// Runs an operation that is part of a handshake or of the end, until `until` at most.
    async fn run_until<O: Op>(&self, op: O, until: Option<Instant>) -> io::Result<O::Output>;

    /// Waits for a duration.
    async fn pause(&self, time: Duration) -> io::Result<()>;

    /// Looks up the addresses of a target.
    async fn resolve(target: Target) -> io::Result<Vec<Address>>;

    /// Logs that no descriptor is left for a connection; `is_first` is the first time in this call.
    fn tell_of_limit(&self, error: &io::Error, is_first: bool);

    /// Closes something that has a descriptor; returns `false` if there is nothing to close.
    async fn frees_descriptor(&self) -> bool;

    /// Waits until a descriptor may have become free.
    async fn wait_for_descriptor(&self) -> io::Result<()>;
}

/// Returns the address that a socket can use: the first of its family, after resolving a name.
pub(crate) async fn first<F: Face>(face: &F, target: Target) -> io::Result<Address> {
    match target {
        Target::Address(address) => Ok(address),
        name => {
            let addresses = F::resolve(name).await?;
            let domain = face.with_link(|link| Ok(link.sys().domain()))?;
            Ok(of_family(addresses, domain))
        }
    }
}

/// Connects to an address; waits where a Unix listener's queue is full.
pub(crate) async fn connect(face: &impl Face, address: Address) -> io::Result<()> {
    patiently(face, async || face.run(Connect::To(address.clone())).await).await
}

/// Repeats an attempt while the queue of another Unix socket is full, within the socket's timeout.
pub(crate) async fn patiently<T>(
    face: &impl Face,
    mut attempt: impl AsyncFnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut deadline = None;
    loop {
        match attempt().await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let now = Driver::now();
                let timeout = face.timeout();
                let deadline = *deadline.get_or_insert_with(|| now.checked_add(timeout?));
                if deadline.is_some_and(|deadline| now >= deadline) {
                    return Err(error::timed_out(0, false));
                }
                face.pause(UNIX_PAUSE).await?;
            }
            result => return result,
        }
    }
}

/// Accepts the next connection; at the limit of open files, waits for a descriptor.
pub(crate) async fn accept(face: &impl Face) -> io::Result<(Sys, Address)> {
    let mut is_first = true;
    let mut waiting_since = None;
    loop {
        match face.run(Accept).await {
            Err(error) if is_out_of_descriptors(&error) => {
                face.tell_of_limit(&error, is_first);
                is_first = false;
                if face.frees_descriptor().await {
                    continue;
                }
                let since = *waiting_since.get_or_insert_with(Driver::now);
                if face.timeout().is_some_and(|timeout| Driver::now() - since >= timeout) {
                    return Err(error::timed_out(0, false));
                }
                face.wait_for_descriptor().await?;
            }
            accepted => return accepted,
        }
    }
}

/// Shuts one direction or both down, after the queue was sent.
pub(crate) async fn shut_down(face: &impl Face, how: Shutdown) -> io::Result<()> {
    if how == Shutdown::Read {
        // No sender has to be waited for, and receivers must wake.
        return face.with_link(|link| Ok(link.shutdown(how)?));
    }
    face.run(ShutDown::new(how)).await?;
    if how == Shutdown::Both && face.is_secure() {
        // Over TLS, sending ends only after all that was sent has arrived.
        let settled = settled(face, Driver::now() + LONGEST).await;
        let ended = face.with_link(|link| Ok(link.sys().shutdown(Shutdown::Write)?));
        return settled.and(ended);
    }
    Ok(())
}

/// Sends a close_notify, if TLS is spoken, and waits until all has arrived, if this closes the
/// socket. A peer that does not read delays this by [`LONGEST`] at most.
pub(crate) async fn end_tls(face: &impl Face, ending: Ending) -> io::Result<()> {
    if !face.is_secure() {
        return Ok(());
    }
    let until = Driver::now() + LONGEST;
    let sent = face.run_until(CloseNotify, Some(until)).await;
    match ending {
        // Even if it cannot be sent, what was sent before may have arrived.
        Ending::Close => settled(face, until).await,
        Ending::Keep => sent,
    }
}

/// Waits until what was sent has arrived. No event reports that, so it polls.
pub(crate) async fn settled(face: &impl Face, until: Instant) -> io::Result<()> {
    let mut pause = FIRST_PAUSE;
    while !face.settle()? {
        let left = until.saturating_duration_since(Driver::now());
        if left.is_zero() {
            return Err(not_acknowledged());
        }
        face.pause(pause.min(left)).await?;
        pause = (2 * pause).min(LAST_PAUSE);
    }
    Ok(())
}
