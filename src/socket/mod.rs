//! Sockets: [`AsyncSocket`] for coroutines and [`BlockingSocket`] for threads, with the same verbs.
//!
//! One byte's way: kernel -> the verb's operation (`ops/`), into the caller's buffer -> the caller.
//! If the call would block: driver -> scheduler resumes the coroutine -> the same operation again.
//!
//! - `sys/` makes the system calls, `hot.rs` lends the buffer they receive into;
//! - `inbound.rs` and `outbound.rs` hold what was received and not taken, queued and not sent;
//! - `ops/` are the operations, `step.rs` the future that drives one, `turn.rs` whose turn it is;
//! - `core.rs` is the state that an asynchronous socket's handles share, `blocking/` the other
//!   face, whose turns are `exclusive.rs`;
//! - `stream.rs`, `message.rs`, `datagram.rs` are the verbs; `create.rs` makes and connects
//!   sockets;
//! - this file is the type: converting, options, closing, taking apart.
//!
//! Unsafe: the way to `sys/` for sockets whose descriptor somebody else owns.
#![allow(unsafe_code)]

mod batch;
mod blocking;
mod connection;
mod core;
mod create;
mod datagram;
mod exclusive;
mod hot;
mod inbound;
mod link;
mod message;
mod ops;
mod outbound;
#[cfg_attr(not(feature = "tls"), path = "secure/off.rs")]
mod secure;
mod settings;
mod step;
mod stream;

mod turn;

use std::{
    fmt, io,
    net::Shutdown,
    os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use socket2::{Domain, SockRef, Socket, Type};

pub use self::{
    batch::{Datagram, DatagramBatch},
    blocking::{BlockingRefused, BlockingSocket},
};
use self::{
    core::{Core, Parts, Side},
    inbound::ReadSide,
    link::Link,
    ops::{Farewell, Flush},
    outbound::WriteSide,
    settings::Settings,
    step::{Op, Progress, Verb},
};
use crate::{
    addr::{Address, ToAddress},
    coro::{
        self, current,
        engine::Engine,
        settle::{FIRST_PAUSE, LAST_PAUSE},
    },
    error,
    sys::{Direction, Kind, Sys},
    time::{sleep, timeout},
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
        Ok(AsyncSocket::from_sys(Sys::new(socket)?, Settings::new()))
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
        Ok(AsyncSocket::from_sys(Sys::open(domain, kind)?, Settings::new()))
    }

    /// Converts a socket whose descriptor somebody else owns and keeps open, an object of another
    /// language say. Whatever ends this socket leaves the descriptor open.
    ///
    /// ```
    /// use std::{net::UdpSocket, os::fd::AsRawFd};
    /// use asyncoro::AsyncSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let owner = UdpSocket::bind("127.0.0.1:0")?;
    /// // SAFETY: `owner` is dropped after it.
    /// let socket = unsafe { AsyncSocket::borrow_raw(owner.as_raw_fd())? };
    /// assert_eq!(socket.local_addr()?.to_string(), owner.local_addr()?.to_string());
    /// # drop(socket);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// `fd` is open and stays open until the socket is closed, or dropped and has nothing left to
    /// send.
    ///
    /// # Errors
    /// `ENOTSOCK` if the descriptor is no socket.
    pub unsafe fn borrow_raw(fd: RawFd) -> io::Result<AsyncSocket> {
        // SAFETY: the caller's.
        Ok(AsyncSocket::from_sys(unsafe { Sys::borrow(fd)? }, Settings::new()))
    }

    /// Gives the descriptor to a new owner; the socket goes on borrowing it. `None` if it is
    /// borrowed already, or closed.
    ///
    /// # Safety
    /// The descriptor stays open as [`AsyncSocket::borrow_raw`] says.
    pub unsafe fn disown(&self) -> Option<OwnedFd> {
        // SAFETY: the caller's.
        self.core.with_sys(|sys| Ok(unsafe { sys.disown() })).ok().flatten()
    }

    fn from_sys(sys: Sys, settings: Settings) -> AsyncSocket {
        let (read, write) = (ReadSide::default(), WriteSide::default());
        AsyncSocket::from_parts(Parts { link: sys.into(), settings, read, write })
    }

    fn from_parts(mut parts: Parts) -> AsyncSocket {
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
        let address = create::numeric(&address, "bind")?;
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

    /// The address the socket is bound to.
    ///
    /// # Errors
    /// The system's.
    #[doc(alias = "getsockname")]
    pub fn local_addr(&self) -> io::Result<Address> {
        self.core.with_sys(|sys| Ok(sys.local_addr()?))
    }

    /// The address it is connected to.
    ///
    /// # Errors
    /// The system's, `ENOTCONN` among them.
    #[doc(alias = "getpeername")]
    pub fn peer_addr(&self) -> io::Result<Address> {
        self.core.with_sys(|sys| Ok(sys.peer_addr()?))
    }

    /// The pending error of the socket, taken (`SO_ERROR`).
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

    /// The timeout in force.
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

    /// Whether small messages wait for the end of the turn to leave together (default), or each
    /// leaves at once.
    pub fn set_coalescing(&self, coalescing: bool) {
        self.core.set(|settings| settings.coalescing = coalescing);
    }

    /// Closes the socket for all its handles, after what is queued has left. With TLS the peer is
    /// told that nothing follows, and the socket is closed when the peer has ended, too, or its
    /// system has acknowledged all that was sent: a moment as a rule, and at most 5 s.
    ///
    /// Everybody who waits on it is woken at once and gets `NotConnected` (inner error
    /// [`error::Closed`]), as does any verb from now on.
    ///
    /// # Errors
    /// That of a send that failed since the last verb, or `TimedOut` if the queue did not move for
    /// the socket's timeout. With TLS also `TimedOut`, or what has broken the connection, if the
    /// peer may not get all of it. The socket is closed all the same.
    ///
    /// # Cancel
    /// A dropped `close` leaves the socket closed to all verbs; what is queued is then sent as if
    /// it had been dropped.
    pub async fn close(&self) -> io::Result<()> {
        current::expect("close", |_| ());
        if self.core.is_closing() && !self.is_open() {
            return Ok(());
        }
        self.core.begin_close();
        // Who has the turn to send was woken: it leaves when it is resumed, and what it has begun
        // goes to the queue. One that nobody polls any more must not hold this up.
        for _ in 0..PATIENCE {
            if !self.core.is_writer_leaving() {
                break;
            }
            coro::yield_now().await;
        }
        self.core.seize_writing();
        let mut flushed = Verb::new(self, Flush::<true>).await;
        if flushed.is_ok() {
            flushed = self.end_tls::<true>().await;
        }
        self.core.close();
        match flushed {
            Err(error) if error::is_closed(&error) => Ok(()),
            flushed => flushed,
        }
    }

    /// Tells the peer that nothing follows, if there is TLS to say it in, and, if this closes the
    /// socket, waits until all of it has arrived. One that does not read cannot hold this up for
    /// long.
    async fn end_tls<const CLOSES: bool>(&self) -> io::Result<()> {
        if !self.core.is_secure() {
            return Ok(());
        }
        let told = async {
            // If it cannot be said, what was sent before may have arrived all the same.
            let told = Verb::new(self, Farewell::<CLOSES>).await;
            if CLOSES { self.settle().await } else { told }
        };
        timeout(GOODBYE, told).await.unwrap_or_else(|_| Err(not_acknowledged()))
    }

    /// Waits until what was sent has arrived, see `Link::settle`.
    async fn settle(&self) -> io::Result<()> {
        let mut pause = FIRST_PAUSE;
        while !self.core.settle()? {
            sleep(pause).await;
            pause = (2 * pause).min(LAST_PAUSE);
        }
        Ok(())
    }

    /// The rest of a shutdown of both directions over TLS: the stream's end, once all of it has
    /// arrived.
    async fn end_both(&self) -> io::Result<()> {
        let settled = timeout(GOODBYE, self.settle()).await;
        let ended = self.core.with_sys(|sys| Ok(sys.shutdown(Shutdown::Write)?));
        settled.unwrap_or_else(|_| Err(not_acknowledged())).and(ended)
    }

    fn is_open(&self) -> bool {
        self.core.is_open()
    }

    /// Takes the socket apart: the regular socket, in the mode it had, and the bytes that were
    /// received but not yet taken.
    ///
    /// What is queued is sent first. TLS ends there: the peer is told (close_notify), and the
    /// regular socket is a plain one, on which nothing of the conversation can be read.
    ///
    /// # Errors
    /// [`Refused`], which gives the socket back, if there are clones of it, if it is closed, if it
    /// borrows its descriptor, or if what is queued cannot be sent.
    ///
    /// # Cancel
    /// Dropping it drops the socket.
    #[doc(alias = "unwrap")]
    pub async fn into_parts(self) -> Result<(Socket, Bytes), Refused> {
        let mut parts = self.take_apart::<true>().await?;
        let received = parts.take_received();
        Ok((parts.link.into_sys().into_socket(), received))
    }

    /// Makes it a socket for threads; nothing received or queued is lost.
    ///
    /// # Errors
    /// As [`AsyncSocket::into_parts`].
    ///
    /// # Cancel
    /// Dropping it drops the socket.
    pub async fn into_blocking(self) -> Result<BlockingSocket, Refused> {
        Ok(BlockingSocket::from_parts(self.take_apart::<false>().await?))
    }

    /// `LAST`: TLS ends here.
    async fn take_apart<const LAST: bool>(self) -> Result<Parts, Refused> {
        // Before the flush, which would wait for a clone's verb.
        if self.core.handles.get() > 1 {
            return Err(Refused { socket: self, error: has_clones() });
        }
        if LAST && self.core.is_borrowed() {
            return Err(Refused { socket: self, error: is_borrowed() });
        }
        if let Err(error) = Verb::new(&self, Flush::<false>).await {
            return Err(Refused { socket: self, error });
        }
        if LAST {
            // Whoever cannot be told has at least all that was sent before.
            let _ = self.end_tls::<false>().await;
        }
        match self.core.take_parts() {
            Some(parts) => Ok(parts),
            None => Err(Refused { socket: self, error: error::closed() }),
        }
    }

    /// Makes one attempt, out of turn if nobody has it, without waiting.
    fn attempt<O: Op>(&self, mut op: O) -> io::Result<O::Output> {
        if self.core.is_closing() {
            return Err(error::closed());
        }
        O::check(self.core.kind())?;
        {
            let mut half = O::Side::half(&self.core);
            if half.turn.is_taken() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // What is known may be old: nobody has to watch a socket that is only tried.
            half.side.refill();
        }
        if O::Side::DIRECTION == Direction::Write {
            current::with(Engine::note_sent);
        }
        let mut progress = self.core.step(&mut op);
        // What is queued here nobody would go on with.
        while matches!(progress, Progress::Again)
            && O::Side::DIRECTION == Direction::Write
            && current::with(|_| ()).is_none()
        {
            progress = self.core.step(&mut op);
        }
        if self.core.has_pending() {
            current::with(|engine| self.core.mark_dirty(engine));
        }
        match progress {
            Progress::Done(result) => result,
            Progress::Wait | Progress::Again => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Has what was queued outside a verb sent: at the end of the turn, or, outside a scheduler,
    /// now.
    fn flush_soon(&self) {
        if current::with(|engine| self.core.mark_dirty(engine)).is_none() {
            self.flush_now();
        }
    }

    /// Has what was queued outside a verb sent as far as it goes. In a scheduler the rest leaves
    /// without a verb, else with the next one, which is also told of a failure.
    fn flush_now(&self) {
        let _ = self.attempt(Flush::<false>);
        current::with(|engine| self.core.mark_dirty(engine));
    }
}

/// How long the end of a socket waits for room to say goodbye; as long as a dropped one lingers.
const GOODBYE: Duration = Duration::from_secs(5);

/// For a peer that has not taken in that time what was sent to it.
fn not_acknowledged() -> io::Error {
    let text = "the peer has not acknowledged all that was sent within 5 s, and may not get it";
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// Resumes of others that `close` waits for a verb to leave its turn.
const PATIENCE: usize = 8;

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
    /// The descriptor; of a closed socket, one that is inert but still this socket's.
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

/// What the text form of a socket needs to ask the socket for.
struct Seen {
    local: Option<Address>,
    peer: Option<Address>,
    tls: bool,
}

impl Seen {
    fn of(link: &Link) -> Seen {
        Seen {
            local: link.sys().local_addr().ok(),
            peer: link.sys().peer_addr().ok(),
            tls: link.is_secure(),
        }
    }
}

/// `seen` is `None` while the socket is in use, in a closure that is called by a verb of it.
fn show(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    kind: Kind,
    state: &str,
    seen: Option<Seen>,
) -> fmt::Result {
    let mut text = f.debug_struct(name);
    text.field("kind", &format_args!("{}", kind.name())).field("state", &format_args!("{state}"));
    let Some(seen) = seen else { return text.finish_non_exhaustive() };
    // A closed socket has an inert descriptor, of which there is nothing to say.
    for (which, address) in [("local", &seen.local), ("peer", &seen.peer)] {
        match address {
            Some(address) if state != "closed" => text.field(which, &format_args!("{address}")),
            _ => text.field(which, &format_args!("-")),
        };
    }
    text.field("tls", &seen.tls).finish()
}

fn has_clones() -> io::Error {
    let text = "the socket has clones; drop them before it is taken apart";
    io::Error::new(io::ErrorKind::ResourceBusy, text)
}

fn is_borrowed() -> io::Error {
    let text = "the socket borrows its descriptor: whoever owns that has it already";
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// A socket that was not taken apart, and why.
#[derive(Debug)]
pub struct Refused {
    /// The socket, unharmed.
    pub socket: AsyncSocket,
    /// The reason.
    pub error: io::Error,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<Refused> for io::Error {
    /// The reason; the socket is dropped.
    fn from(refused: Refused) -> io::Error {
        refused.error
    }
}
