//! Operations that are made of others, and of waiting: each written once, for both faces.
//!
//! What waiting is, a [`Face`] says: the asynchronous one waits in a coroutine, the blocking one in
//! the call, so that its futures are ready when they are polled first.

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

/// What a socket can be asked for on either face, and how one waits there.
pub(crate) trait Face {
    /// Calls `f` with the link, unless the socket is closed.
    fn with_link<R>(&self, f: impl FnOnce(&Link) -> io::Result<R>) -> io::Result<R>;

    /// Tells whether TLS is spoken.
    fn is_secure(&self) -> bool;

    /// Tells, without waiting, whether the socket can be closed and nothing be lost; see
    /// [`Link::settle`].
    fn settle(&self) -> io::Result<bool>;

    /// Gives the socket's timeout.
    fn timeout(&self) -> Option<Duration>;

    /// Runs an operation to its end, behind a handshake that is due.
    async fn run<O: Op>(&self, op: O) -> io::Result<O::Output>;

    /// Runs an operation that is part of a handshake or of the end, no longer than until an
    /// instant.
    async fn run_until<O: Op>(&self, op: O, until: Option<Instant>) -> io::Result<O::Output>;

    /// Waits for a while.
    async fn pause(&self, time: Duration) -> io::Result<()>;

    /// Looks up the addresses of a target.
    async fn resolve(target: Target) -> io::Result<Vec<Address>>;

    /// Tells the log that no descriptor is left for a connection; `is_first` in this call.
    fn tell_of_limit(&self, error: &io::Error, is_first: bool);

    /// Gives up something that has a descriptor; `false` if there is nothing.
    async fn frees_descriptor(&self) -> bool;

    /// Waits until a descriptor may have become free.
    async fn wait_for_descriptor(&self) -> io::Result<()>;
}

/// Gives the address that a socket can use: the first of its family, resolved if need be.
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

/// Connects to an address, and waits where a Unix listener's queue is full.
pub(crate) async fn connect(face: &impl Face, address: Address) -> io::Result<()> {
    patiently(face, async || face.run(Connect::To(address.clone())).await).await
}

/// Attempts anew where the queue of another Unix socket is full, under the socket's timeout.
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

/// Accepts the next connection; at the limit of open files it waits for a descriptor.
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

/// Ends one direction or both, after what is queued has left.
pub(crate) async fn shut_down(face: &impl Face, how: Shutdown) -> io::Result<()> {
    if how == Shutdown::Read {
        // Nobody who sends has to be waited for, and whoever receives is to be woken.
        return face.with_link(|link| Ok(link.shutdown(how)?));
    }
    face.run(ShutDown(how)).await?;
    if how == Shutdown::Both && face.is_secure() {
        // The stream's end follows when all of it has arrived.
        let settled = settled(face, Driver::now() + LONGEST).await;
        let ended = face.with_link(|link| Ok(link.sys().shutdown(Shutdown::Write)?));
        return settled.and(ended);
    }
    Ok(())
}

/// Sends a close_notify, if TLS is spoken, and, if this closes the socket, waits until all of it
/// has arrived. A peer that does not read cannot hold this up for long.
pub(crate) async fn end_tls(face: &impl Face, ending: Ending) -> io::Result<()> {
    if !face.is_secure() {
        return Ok(());
    }
    let until = Driver::now() + LONGEST;
    let sent = face.run_until(CloseNotify, Some(until)).await;
    match ending {
        // If it cannot be sent, what was sent before may have arrived all the same.
        Ending::Close => settled(face, until).await,
        Ending::Keep => sent,
    }
}

/// Waits until what was sent has arrived; no event tells, so it is looked at now and then.
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
