//! Listeners that go from one process to the next, over a Unix socket.
//!
//! The giver sends the names, each with a line end, then an empty line; the descriptors come with
//! the first byte. The taker answers with a line when it is ready.

use std::{
    io,
    net::Shutdown,
    os::fd::{AsFd, BorrowedFd},
};

use super::inherited::Inherited;
use crate::{error, socket::AsyncSocket};

/// The most descriptors that one message carries.
const MOST: usize = 253;

/// The longest list of names, in bytes.
const LONGEST: usize = 64 << 10;

/// What the taker answers.
const READY: &str = "ready";

/// Hands listeners to another process, over a connected Unix socket, and waits until that says that
/// it accepts ([`TakenOver::ready`]). Both have them then. [`ServerHandle::release`] ends this one,
/// and no connection is lost: those in the queue of a listener are accepted by the other process.
///
/// With TLS it hands over the plain listener; the other process gives it its own `with_tls`.
///
/// [`ServerHandle::release`]: super::ServerHandle::release
///
/// # Example
/// Both ends, which are in one process here:
/// ```
/// use std::os::unix::net::UnixStream;
///
/// use asyncoro::{AsyncSocket, serve::{hand_over, take_over}};
///
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let listener = AsyncSocket::create_server("127.0.0.1:0").await?;
///     let address = listener.local_addr()?;
///     let (old, new) = UnixStream::pair()?;
///     let (old, new) = (AsyncSocket::new(old)?, AsyncSocket::new(new)?);
///
///     let taking = asyncoro::spawn(async move {
///         let mut taken = take_over(&new).await?;
///         let http = taken.listeners.pop().expect("one was handed over").into_socket()?;
///         // It serves from here on.
///         taken.ready().await?;
///         http.accept().await
///     });
///     hand_over(&old, &[("http", &listener)]).await?;
///     listener.close().await?; // a `Server` is told by its handle: `release`
///
///     AsyncSocket::create_connection(address).await?;
///     taking.await??;
///     Ok(())
/// })
/// # }
/// ```
///
/// # Errors
/// The other process has ended, or failed, before it was ready: go on serving. `InvalidInput` if
/// there are none or more than 253 listeners, or a name with a line end; those of
/// [`AsyncSocket::send_fds`].
///
/// It waits as long as the other process takes: bound it by a [`timeout`](crate::time::timeout()).
///
/// # Cancel
/// The other process may have the listeners, and accept.
pub async fn hand_over(to: &AsyncSocket, listeners: &[(&str, &AsyncSocket)]) -> io::Result<()> {
    let is_bad = |name: &str| name.is_empty() || name.contains('\n');
    if listeners.is_empty()
        || listeners.len() > MOST
        || listeners.iter().any(|(name, _)| is_bad(name))
    {
        let text = format!("{} listeners with names of one line are handed over", listeners.len());
        return Err(error::invalid_input(text));
    }
    let mut text = String::new();
    for (name, listener) in listeners {
        listener.leave_nonblocking()?;
        text.push_str(name);
        text.push('\n');
    }
    text.push('\n');
    let fds: Vec<BorrowedFd<'_>> = listeners.iter().map(|(_, listener)| listener.as_fd()).collect();
    let sent = to.send_fds(text.as_bytes(), &fds).await?;
    to.send_all(&text.as_bytes()[sent..]).await?;
    match to.recv_line(READY.len() + 1).await? {
        Some(line) if line == READY => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the other process has ended before it was ready to accept",
        )),
    }
}

/// Takes the listeners that another process hands over ([`hand_over`]), over a connected Unix
/// socket.
///
/// # Errors
/// `InvalidData`, if something else has come, or fewer descriptors than names; those of
/// [`AsyncSocket::recv_fds`].
///
/// # Cancel
/// What has come is closed; the other process is told when the socket is dropped.
pub async fn take_over(from: &AsyncSocket) -> io::Result<TakenOver> {
    let mut buffer = vec![0; LONGEST];
    let (mut filled, fds) = from.recv_fds(&mut buffer, MOST).await?;
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    while !buffer[..filled].ends_with(b"\n\n") {
        if filled == buffer.len() {
            return Err(invalid("the names of listeners that are handed over do not end"));
        }
        match from.recv(&mut buffer[filled..]).await? {
            0 => return Err(invalid("the stream has ended before the listeners had come")),
            count => filled += count,
        }
    }
    let text = std::str::from_utf8(&buffer[..filled - 2])
        .map_err(|_| invalid("the names of listeners are no text"))?;
    let names: Vec<&str> = text.split('\n').collect();
    if names.len() != fds.len() {
        return Err(invalid("not as many listeners have come as names"));
    }
    let both = names.into_iter().zip(fds);
    let listeners = both.map(|(name, fd)| Inherited::new(name.to_owned(), fd)).collect();
    Ok(TakenOver { listeners, giver: Giver { socket: from.clone(), is_told: false } })
}

/// Listeners that were taken from another process.
#[derive(Debug)]
#[must_use = "the other process waits for `ready`"]
pub struct TakenOver {
    /// The listeners, in the order in which they were handed over.
    pub listeners: Vec<Inherited>,
    giver: Giver,
}

/// The way to the process that waits until this one accepts.
#[derive(Debug)]
struct Giver {
    socket: AsyncSocket,
    is_told: bool,
}

impl Drop for Giver {
    fn drop(&mut self) {
        if !self.is_told {
            // That one goes on.
            self.socket.watched().shut_down(Shutdown::Both);
        }
    }
}

impl TakenOver {
    /// Tells the other process that this one accepts from now on. If it is dropped before, the
    /// connection to that one is shut down, and it goes on.
    ///
    /// # Errors
    /// The other process has ended.
    ///
    /// # Cancel
    /// As [`AsyncSocket::send_all`].
    pub async fn ready(mut self) -> io::Result<()> {
        self.giver.socket.send_all(format!("{READY}\n").as_bytes()).await?;
        self.giver.is_told = true;
        Ok(())
    }
}
