//! The asynchronous face: [`AsyncSocket`], whose verbs wait in coroutines.
//!
//! - this file has the type: conversion, options; `borrowed.rs` is for descriptors with another
//!   owner; `convert.rs` takes a socket apart, `close.rs` closes it;
//! - `create.rs` makes and connects sockets, `listen.rs` accepts connections, with TLS in
//!   `handshakes.rs`;
//! - `stream.rs`, `message.rs`, `datagram.rs`, `fds.rs` are the verbs, `attempt.rs` those that
//!   never wait, `poll.rs` those that leave waiting to their caller; `copy.rs` copies from socket
//!   to socket;
//! - `verb.rs` is the future that drives an operation, `lock.rs` the lock of a direction;
//! - `watched.rs` is a socket as who serves it sees it;
//! - `core.rs` is the state that the handles of a socket share.

mod attempt;
mod borrowed;
mod close;
pub(super) mod convert;
pub(super) mod copy;
mod core;
mod create;
mod datagram;
mod face;
mod fds;
#[cfg(feature = "tls")]
mod handshakes;
pub(super) mod listen;
mod lock;
mod message;
mod poll;
mod stream;
#[cfg(feature = "tls")]
mod tls;
#[cfg(any(feature = "futures-io", feature = "tokio-io"))]
mod unread;
mod verb;
pub(super) mod watched;

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd},
    rc::Rc,
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

use self::core::Core;
use crate::{
    addr::{Address, ToAddress},
    error,
    socket::{
        make::numeric,
        parts::Parts,
        shown::{Seen, show},
    },
    sys::Sys,
};

/// A socket for coroutines: the verbs of a blocking socket, with `.await` where they would block.
///
/// There is one type for TCP, UDP and Unix sockets, as in BSD. It is made from any existing socket
/// ([`AsyncSocket::new`]) or by a call with the usual steps ([`AsyncSocket::create_server`],
/// [`AsyncSocket::create_connection`], [`AsyncSocket::create_datagram`]).
///
/// ```
/// use asyncoro::AsyncSocket;
///
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let server = AsyncSocket::create_server("127.0.0.1:0").await?;
///     let address = server.local_addr()?;
///     asyncoro::spawn(async move {
///         let (client, _) = server.accept().await?;
///         while let Some(message) = client.recv_msg().await? {
///             client.send_msg(&message).await?;
///         }
///         std::io::Result::Ok(())
///     })
///     .or_log();
///
///     let socket = AsyncSocket::create_connection(address).await?;
///     socket.send_msg(b"there and back").await?;
///     assert_eq!(socket.recv_msg().await?.unwrap(), "there and back");
///     Ok(())
/// })
/// # }
/// ```
///
/// # Clones, threads, schedulers
/// A clone is a cheap handle to the same socket; [`AsyncSocket::close`] closes it for all. One
/// coroutine may receive while another sends; several in one direction take turns, first come,
/// first served. A socket stays on its thread: to move it, use [`AsyncSocket::into_blocking`], or
/// move the regular socket and convert it there. It binds to the scheduler on which it first waits,
/// and to another one when that has ended.
///
/// So this does not compile; the compiler says that `Rc<..>` "cannot be sent between threads
/// safely":
///
/// ```compile_fail,E0277
/// # async fn f(socket: asyncoro::AsyncSocket) -> std::io::Result<()> {
/// std::thread::spawn(move || socket.try_send(b"from a thread"));
/// # Ok(())
/// # }
/// ```
///
/// This compiles:
///
/// ```
/// # use asyncoro::AsyncSocket;
/// # async fn f(socket: AsyncSocket) -> std::io::Result<()> {
/// let socket = socket.into_blocking().await?;
/// std::thread::spawn(move || socket.send_all(b"from a thread")); // the same verbs
/// # Ok(())
/// # }
/// # let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
/// # asyncoro::run(async {
/// #     f(AsyncSocket::new(near).unwrap()).await.unwrap();
/// #     let mut bytes = [0; 13];
/// #     AsyncSocket::new(far).unwrap().recv_all(&mut bytes).await.unwrap();
/// #     assert_eq!(&bytes, b"from a thread");
/// # });
/// ```
///
/// # Cancel
/// Dropping a verb's future, and a timeout, never lose received bytes, except those that
/// [`AsyncSocket::recv_all`] has already put into the caller's buffer. `docs/cancel.md` has the
/// details for each verb.
///
/// # Drop
/// When the last handle is dropped, the scheduler still sends the queue, for at most 5 s.
pub struct AsyncSocket {
    core: Rc<Core>,
}

impl AsyncSocket {
    /// Converts a regular socket: one of `std::net` or `std::os::unix::net`, a `socket2::Socket`,
    /// an `OwnedFd`. Its options and mode stay as they are.
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use asyncoro::AsyncSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = AsyncSocket::new(TcpListener::bind("127.0.0.1:0")?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `ENOTSOCK` if the descriptor is no socket.
    pub fn new(socket: impl Into<Socket>) -> io::Result<AsyncSocket> {
        Ok(AsyncSocket::from_parts(Sys::new(socket)?.into()))
    }

    /// Opens a new socket, like socket(2): closed on exec, not bound, not connected.
    ///
    /// ```
    /// use asyncoro::{AsyncSocket, socket2::{Domain, Type}};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = AsyncSocket::open(Domain::IPV4, Type::STREAM)?;
    /// socket.options().set_reuse_address(true)?;
    /// socket.bind("127.0.0.1:0")?;
    /// socket.listen(128)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's.
    pub fn open(domain: Domain, kind: Type) -> io::Result<AsyncSocket> {
        Ok(AsyncSocket::from_parts(Sys::open(domain, kind)?.into()))
    }

    pub(super) fn from_parts(mut parts: Parts) -> AsyncSocket {
        parts.link.forget_tls_if_plain();
        let core = Core::new(parts);
        core.handles.set(1);
        AsyncSocket { core }
    }

    /// Binds to a local address, like bind(2).
    ///
    /// # Errors
    /// The system's, with the address in the text ([`error::os_code`] finds the code);
    /// `InvalidInput` for a host name, which [`AsyncSocket::create_server`] resolves.
    pub fn bind(&self, address: impl ToAddress) -> io::Result<()> {
        let address = numeric(&address, "bind")?;
        let bound = self.core.with_sys(|sys| Ok(sys.bind(&address)?));
        bound.map_err(|error| error::of_system("bind", address, error))
    }

    /// Starts listening, like listen(2): at most `backlog` connections wait to be accepted.
    ///
    /// # Errors
    /// The system's.
    pub fn listen(&self, backlog: i32) -> io::Result<()> {
        self.core.with_sys(|sys| Ok(sys.listen(backlog)?))
    }

    /// Returns the address that the socket is bound to.
    ///
    /// # Errors
    /// The system's.
    #[doc(alias = "getsockname")]
    pub fn local_addr(&self) -> io::Result<Address> {
        self.core.with_sys(|sys| Ok(sys.local_addr()?))
    }

    /// Returns the address that the socket is connected to.
    ///
    /// # Errors
    /// The system's, `ENOTCONN` among them.
    #[doc(alias = "getpeername")]
    pub fn peer_addr(&self) -> io::Result<Address> {
        self.core.with_sys(|sys| Ok(sys.peer_addr()?))
    }

    /// Takes and returns the pending error of the socket (`SO_ERROR`).
    ///
    /// # Errors
    /// The system's, for the query.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.core.with_sys(Sys::take_error)
    }

    /// Returns access to every option of the socket, see `socket2::SockRef`.
    ///
    /// Once the socket is closed, each option is an error.
    #[doc(alias = "setsockopt")]
    #[doc(alias = "getsockopt")]
    pub fn options(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    /// Sets the longest time that an operation may wait without progress; `None` (the default) has
    /// no limit, and neither has zero.
    ///
    /// It applies to each operation separately and starts again with each byte that moves. To limit
    /// a whole sequence, use [`crate::time::timeout`]. It does not apply to poll methods
    /// ([`AsyncSocket::poll_recv`]): nothing tells when one of them is abandoned.
    #[doc(alias = "settimeout")]
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.core.set(|settings| settings.set_timeout(timeout));
    }

    /// Returns the timeout in force.
    #[doc(alias = "gettimeout")]
    pub fn timeout(&self) -> Option<Duration> {
        self.core.settings().timeout()
    }

    /// Sets the longest payload, in bytes, that [`AsyncSocket::recv_msg`] accepts (default 64 MiB).
    pub fn set_message_limit(&self, max: usize) {
        self.core.set(|settings| settings.set_message_limit(max));
    }

    /// Sets how many bytes the socket queues before [`AsyncSocket::send_msg`] waits and
    /// [`AsyncSocket::try_send_msg`] is refused (default 64 KiB), in whole KiB, from 1 KiB to just
    /// under 64 MiB. A higher limit takes more memory for a peer that does not read; a lower one
    /// makes more system calls.
    ///
    /// A message longer than the limit may still be queued if nothing else is. What is already
    /// queued stays. Connections from `accept` inherit the limit.
    pub fn set_queue_limit(&self, max: usize) {
        self.core.set(|settings| settings.set_queue_limit(max));
    }

    /// Sets whether small messages wait for the end of the turn to be sent together (default), or
    /// each is sent at once.
    pub fn set_coalescing(&self, coalescing: bool) {
        self.core.set(|settings| settings.coalescing = coalescing);
    }
}

impl Clone for AsyncSocket {
    fn clone(&self) -> AsyncSocket {
        let handles = self.core.handles.get().checked_add(1);
        self.core.handles.set(handles.expect("fewer than 4 billion handles to one socket"));
        AsyncSocket { core: Rc::clone(&self.core) }
    }
}

impl Drop for AsyncSocket {
    fn drop(&mut self) {
        self.core.release();
    }
}

impl AsFd for AsyncSocket {
    /// Returns the descriptor; once the socket is closed, an inert one that still belongs to it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.fd()
    }
}

impl fmt::Debug for AsyncSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.core.is_closing(), self.core.is_open()) {
            (false, _) => "open",
            (true, true) => "closing",
            (true, false) => "closed",
        };
        // The formatter may run foreign code, so nothing may be borrowed meanwhile.
        let seen = self.core.look(Seen::of);
        show(f, "AsyncSocket", self.core.kind(), state, seen)
    }
}
