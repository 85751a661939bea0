//! `BlockingSocket`: the same operations, driven by poll(2), for plain threads.
//!
//! Each direction has a lock (`exclusive.rs`), which a verb holds until it is done. `close` marks
//! the socket, sends the queue, shuts the socket down, which wakes threads in poll(2), and
//! puts an inert descriptor in its place. Composite operations (`op/composite.rs`) are those of the
//! other face but wait in the call (`face.rs`), so both faces behave the same.
//!
//! - this file has the type: conversion, options; `borrowed.rs` is for descriptors with another
//!   owner; `convert.rs` takes a socket apart, `close.rs` closes it, `create.rs` makes and connects
//!   sockets;
//! - `verbs.rs` has the verbs, `tls.rs` everything about TLS;
//! - `twin.rs` has the state that handles share and drives operations on it; `interrupt.rs` handles
//!   a signal that reaches a waiting thread;
//! - `late.rs` finishes TLS sockets that were dropped before their peers had all.

mod borrowed;
mod close;
pub(super) mod convert;
mod create;
mod exclusive;
mod face;
mod interrupt;
#[cfg(feature = "tls")]
mod late;
#[cfg(feature = "tls")]
mod tls;
mod twin;
mod verbs;

use std::{
    fmt,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

use self::{
    exclusive::Exclusive,
    twin::{Twin, WholeLink},
};
#[cfg(doc)]
use crate::socket::AsyncSocket;
use crate::{
    addr::{Address, ToAddress},
    error,
    primitives::{Mutex, lock},
    socket::{
        link::Link,
        make::numeric,
        parts::Parts,
        shown::{Seen, show},
    },
    sys::Sys,
};

/// A socket for plain threads: the same verbs as [`AsyncSocket`], which wait in the call.
///
/// Each verb does what its namesake of `AsyncSocket` does, with the same errors and the same
/// promises about timeouts. Messages are sent at once instead of at the end of a turn. A socket can
/// be cloned and shared between threads; one thread may receive while another sends, several in one
/// direction take turns.
///
/// ```
/// use std::thread;
/// use asyncoro::BlockingSocket;
///
/// # fn main() -> std::io::Result<()> {
/// let server = BlockingSocket::create_server("127.0.0.1:0")?;
/// let address = server.local_addr()?;
/// let echo = thread::spawn(move || {
///     let (client, _) = server.accept()?;
///     while let Some(message) = client.recv_msg()? {
///         client.send_msg(&message)?;
///     }
///     std::io::Result::Ok(())
/// });
///
/// let socket = BlockingSocket::create_connection(address)?;
/// socket.send_msg(b"there and back")?;
/// assert_eq!(socket.recv_msg()?.unwrap(), "there and back");
/// socket.close()?;
/// echo.join().unwrap()
/// # }
/// ```
///
/// Dropping the last handle waits for nothing: what a timed-out verb has left queued is sent at
/// once, as far as the system accepts it, and lost bytes are logged. Over TLS a thread of the
/// process continues for at most 5 s, until the peer has all of it or the process ends.
/// [`BlockingSocket::close`] waits.
///
/// In a coroutine this would block all others; use [`BlockingSocket::into_async`] there.
#[derive(Clone)]
pub struct BlockingSocket {
    twin: Arc<Twin>,
}

impl BlockingSocket {
    /// Converts a regular socket, see [`AsyncSocket::new`].
    ///
    /// # Errors
    /// `ENOTSOCK` if the descriptor is no socket.
    pub fn new(socket: impl Into<Socket>) -> io::Result<BlockingSocket> {
        Ok(BlockingSocket::from_parts(Sys::new(socket)?.into()))
    }

    /// Opens a new socket, see [`AsyncSocket::open`].
    ///
    /// # Errors
    /// The system's.
    pub fn open(domain: Domain, kind: Type) -> io::Result<BlockingSocket> {
        Ok(BlockingSocket::from_parts(Sys::open(domain, kind)?.into()))
    }

    /// Tells whether bytes were received and not taken, see [`AsyncSocket::has_received`]. It is
    /// `true` while another thread receives, since the answer is not known then.
    pub fn has_received(&self) -> bool {
        let held = self.twin.read.try_take().is_none_or(|side| !side.held().is_empty());
        held || self.twin.link.has_plaintext()
    }

    pub(crate) fn from_parts(mut parts: Parts) -> BlockingSocket {
        parts.link.prepare_tls();
        let twin = Twin {
            link: WholeLink(Some(parts.link)),
            settings: Mutex::new(parts.settings),
            read: Exclusive::new(parts.read),
            write: Exclusive::new(parts.write),
            closed: AtomicBool::new(false),
            queue_waits: AtomicBool::new(false),
            #[cfg(feature = "tls")]
            shaking: Mutex::new(()),
            #[cfg(feature = "tls")]
            gate: parts.gate,
        };
        BlockingSocket { twin: Arc::new(twin) }
    }

    pub(super) fn with_sys<R>(&self, f: impl FnOnce(&Sys) -> io::Result<R>) -> io::Result<R> {
        self.with_link(|link| f(link.sys()))
    }

    pub(super) fn with_link<R>(&self, f: impl FnOnce(&Link) -> io::Result<R>) -> io::Result<R> {
        self.twin.with_link(f)
    }

    /// Binds to a local address, see [`AsyncSocket::bind`].
    ///
    /// # Errors
    /// As [`AsyncSocket::bind`].
    pub fn bind(&self, address: impl ToAddress) -> io::Result<()> {
        let address = numeric(&address, "bind")?;
        let bound = self.with_sys(|sys| Ok(sys.bind(&address)?));
        bound.map_err(|error| error::of_system("bind", address, error))
    }

    /// Starts listening, see [`AsyncSocket::listen`].
    ///
    /// # Errors
    /// As [`AsyncSocket::listen`].
    pub fn listen(&self, backlog: i32) -> io::Result<()> {
        self.with_sys(|sys| Ok(sys.listen(backlog)?))
    }

    /// Returns the address that the socket is bound to.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<Address> {
        self.with_sys(|sys| Ok(sys.local_addr()?))
    }

    /// Returns the address that the socket is connected to.
    ///
    /// # Errors
    /// The system's.
    pub fn peer_addr(&self) -> io::Result<Address> {
        self.with_sys(|sys| Ok(sys.peer_addr()?))
    }

    /// Takes and returns the pending error of the socket (`SO_ERROR`).
    ///
    /// # Errors
    /// The system's, for the query.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.with_sys(Sys::take_error)
    }

    /// Returns access to every option, see `socket2::SockRef`; once closed, each is an error.
    pub fn options(&self) -> SockRef<'_> {
        self.twin.link.sys().options()
    }

    /// Sets the longest wait without progress, see [`AsyncSocket::set_timeout`].
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        lock(&self.twin.settings).set_timeout(timeout);
    }

    /// Returns the timeout in force.
    pub fn timeout(&self) -> Option<Duration> {
        self.twin.settings().timeout()
    }

    /// Sets the longest payload that `recv_msg` accepts, see [`AsyncSocket::set_message_limit`].
    pub fn set_message_limit(&self, max: usize) {
        lock(&self.twin.settings).set_message_limit(max);
    }

    /// Sets how many bytes the socket queues, see [`AsyncSocket::set_queue_limit`]: here bytes that
    /// `try_send_msg` could not send at once.
    pub fn set_queue_limit(&self, max: usize) {
        lock(&self.twin.settings).set_queue_limit(max);
    }

    /// Sets coalescing for the asynchronous face, see [`AsyncSocket::set_coalescing`]; a blocking
    /// socket sends each message at once.
    pub fn set_coalescing(&self, coalescing: bool) {
        lock(&self.twin.settings).coalescing = coalescing;
    }

    /// Calls `check` whenever a signal interrupts a verb's wait on this thread; an error from it
    /// ends the verb. `check` replaces an earlier one.
    ///
    /// `check` may use sockets. A verb on the interrupted socket, in the direction of the wait,
    /// fails with kind `Deadlock`.
    ///
    /// A signal between two waits is noticed at the end of the next one. A thread that waits for a
    /// lock calls `check` every 50 ms, since a signal does not end that wait. A panic of `check` is
    /// logged and ends the verb with an error.
    ///
    /// ```
    /// use asyncoro::BlockingSocket;
    ///
    /// // SIGINT ends a wait, and the program can end in an orderly way.
    /// BlockingSocket::on_interrupt(|| Err(std::io::ErrorKind::Interrupted.into()));
    /// ```
    pub fn on_interrupt(check: impl Fn() -> io::Result<()> + 'static) {
        interrupt::set(check);
    }
}

impl Read for BlockingSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv(buffer)
    }
}

impl Write for BlockingSocket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.send(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        BlockingSocket::flush(self)
    }
}

impl Read for &BlockingSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv(buffer)
    }
}

impl Write for &BlockingSocket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.send(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        BlockingSocket::flush(self)
    }
}

impl AsFd for BlockingSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.twin.link.sys().fd()
    }
}

impl fmt::Debug for BlockingSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.twin.is_closed() { "closed" } else { "open" };
        let seen = Seen::of(&self.twin.link);
        show(f, "BlockingSocket", self.twin.link.kind(), state, Some(seen))
    }
}
