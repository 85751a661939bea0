//! The asynchronous face: [`AsyncSocket`], whose verbs wait in coroutines.
//!
//! - this file is the type: converting, options; `borrowed.rs` is for descriptors that
//!   somebody else owns; `convert.rs` takes it apart, `close.rs` closes it;
//! - `create.rs` makes and connects sockets, `listen.rs` accepts connections,
//!   with TLS in `handshakes.rs`;
//! - `stream.rs`, `message.rs`, `datagram.rs` are the verbs, `attempt.rs` those that never wait;
//! - `verb.rs` is the future that drives an operation, `lock.rs` the lock of a direction;
//! - `core.rs` is the state that the handles of a socket share.

mod attempt;
mod borrowed;
mod close;
pub(super) mod convert;
mod core;
mod create;
mod datagram;
mod face;
#[cfg(feature = "tls")]
mod handshakes;
mod listen;
mod lock;
mod message;
mod stream;
#[cfg(feature = "tls")]
mod tls;
mod verb;

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
/// There is one type for TCP, UDP and Unix sockets, as in BSD. It is made from any socket there is
/// ([`AsyncSocket::new`]) or by a call that does the usual steps ([`AsyncSocket::create_server`],
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
/// A clone is a cheap handle to the same socket; [`AsyncSocket::close`] acts for all. One coroutine
/// may receive while another sends; several in one direction take turns, first come, first served.
/// A socket stays on its thread: to move it, use [`AsyncSocket::into_blocking`], or move the
/// regular socket and convert it there. It binds to the scheduler that first waits on it, and to
/// another one when that has ended.
///
/// So this does not compile; `Rc<..>` "cannot be sent between threads safely", says the compiler:
///
/// ```compile_fail,E0277
/// # async fn f(socket: asyncoro::AsyncSocket) -> std::io::Result<()> {
/// std::thread::spawn(move || socket.try_send(b"from a thread"));
/// # Ok(())
/// # }
/// ```
///
/// And this does:
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
/// Dropping a verb's future, and a timeout, never loses received bytes, except those that
/// [`AsyncSocket::recv_all`] has already put into the caller's buffer. `docs/cancel.md` says it for
/// each verb.
///
/// # Drop
/// When the last handle is dropped, what is queued is still sent, by the scheduler, for at most 5
/// s.
pub struct AsyncSocket {
    core: Rc<Core>,
}

impl AsyncSocket {
    /// Converts a regular socket: `std::net`'s, `std::os::unix::net`'s, a `socket2::Socket`, an
    /// `OwnedFd`. Its options and mode stay as they are.
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

    /// Makes a new socket, as socket(2) does: closed on exec, not bound, not connected.
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

    /// Binds to a local address, as bind(2).
    ///
    /// # Errors
    /// The system's, with the address in the text ([`error::os_code`] finds the code);
    /// `InvalidInput` for a host name, which [`AsyncSocket::create_server`] resolves.
    pub fn bind(&self, address: impl ToAddress) -> io::Result<()> {
        let address = numeric(&address, "bind")?;
        let bound = self.core.with_sys(|sys| Ok(sys.bind(&address)?));
        bound.map_err(|error| error::of_system("bind", address, error))
    }

    /// Starts listening, as listen(2): at most `backlog` connections wait to be accepted.
    ///
    /// # Errors
    /// The system's.
    pub fn listen(&self, backlog: i32) -> io::Result<()> {
        self.core.with_sys(|sys| Ok(sys.listen(backlog)?))
    }

    /// Gives the address the socket is bound to.
    ///
    /// # Errors
    /// The system's.
    #[doc(alias = "getsockname")]
    pub fn local_addr(&self) -> io::Result<Address> {
        self.core.with_sys(|sys| Ok(sys.local_addr()?))
    }

    /// Gives the address it is connected to.
    ///
    /// # Errors
    /// The system's, `ENOTCONN` among them.
    #[doc(alias = "getpeername")]
    pub fn peer_addr(&self) -> io::Result<Address> {
        self.core.with_sys(|sys| Ok(sys.peer_addr()?))
    }

    /// Gives the pending error of the socket, taken (`SO_ERROR`).
    ///
    /// # Errors
    /// The system's, about asking.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.core.with_sys(Sys::take_error)
    }

    /// Every option a socket has, see `socket2::SockRef`.
    ///
    /// Once the socket is closed, each of them is an error.
    #[doc(alias = "setsockopt")]
    #[doc(alias = "getsockopt")]
    pub fn options(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    /// Sets the longest time that an operation may wait without progress; `None` for as long as it
    /// takes (the default). Zero is taken as `None`.
    ///
    /// It counts for each operation by itself and starts anew with each byte that moves. To bound a
    /// whole thing use [`crate::time::timeout`].
    #[doc(alias = "settimeout")]
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.core.set(|settings| settings.set_timeout(timeout));
    }

    /// Gives the timeout in force.
    #[doc(alias = "gettimeout")]
    pub fn timeout(&self) -> Option<Duration> {
        self.core.settings().timeout()
    }

    /// Sets the longest payload, in bytes, that [`AsyncSocket::recv_msg`] takes (default 64 MiB).
    pub fn set_message_limit(&self, max: usize) {
        self.core.set(|settings| settings.set_message_limit(max));
    }

    /// Sets how many bytes the socket queues before [`AsyncSocket::send_msg`] waits and
    /// [`AsyncSocket::try_send_msg`] is refused (default 64 KiB), in whole KiB, from 1 KiB to just
    /// under 64 MiB. More takes more memory for a peer that does not read; less makes more system
    /// calls.
    ///
    /// A message that is longer than the limit may still be queued alone, where nothing else is.
    /// What is queued already stays. Connections that `accept` gives inherit it.
    pub fn set_queue_limit(&self, max: usize) {
        self.core.set(|settings| settings.set_queue_limit(max));
    }

    /// Sets whether small messages wait for the end of the turn to leave together (default), or
    /// each leaves at once.
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
    /// Gives the descriptor; of a closed socket, one that is inert but still this socket's.
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
        // What writes the text may be foreign code, so that nothing is borrowed then.
        let seen = self.core.look(Seen::of);
        show(f, "AsyncSocket", self.core.kind(), state, seen)
    }
}
