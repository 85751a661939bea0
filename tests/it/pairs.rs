//! Helpers for tests of streams: connected pairs of every kind, time limits, and ways to wait for a
//! condition.

use std::{
    future::Future,
    io::{self, ErrorKind},
    net::TcpListener,
    os::{fd::AsFd, unix::net::UnixStream},
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use asyncoro::{
    AsynCoro, AsyncSocket, BlockingSocket, Coro, coro, coro::Statistics, error, time::timeout,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// How long a coroutine of a test may take; a test that blocks gets twice as long.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The kinds of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp4,
    Tcp6,
    Unix,
    /// TLS 1.3 over TCP.
    #[cfg(feature = "tls")]
    Tls,
    /// TLS 1.2 over TCP.
    #[cfg(feature = "tls")]
    Tls12,
}

/// All kinds: what a verb promises holds for each.
pub(crate) const KINDS: &[Kind] = &[
    Kind::Tcp4,
    Kind::Tcp6,
    Kind::Unix,
    #[cfg(feature = "tls")]
    Kind::Tls,
    #[cfg(feature = "tls")]
    Kind::Tls12,
];

impl Kind {
    pub(crate) fn is_plain(self) -> bool {
        [Kind::Tcp4, Kind::Tcp6, Kind::Unix].contains(&self)
    }

    pub(crate) fn domain(self) -> Domain {
        match self {
            Kind::Unix => Domain::UNIX,
            Kind::Tcp6 => Domain::IPV6,
            _ => Domain::IPV4,
        }
    }

    /// Returns an address to bind to, for which the system chooses the port or name.
    pub(crate) fn any(self) -> SockAddr {
        match self {
            // An empty name: the kernel gives one that is free, in its abstract space.
            Kind::Unix => SockAddr::unix("").unwrap(),
            Kind::Tcp6 => std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0)).into(),
            _ => std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0)).into(),
        }
    }

    /// Returns the version of TLS, if it is TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(self) -> Option<asyncoro::TlsVersion> {
        match self {
            Kind::Tls => Some(asyncoro::TlsVersion::V1_3),
            Kind::Tls12 => Some(asyncoro::TlsVersion::V1_2),
            _ => None,
        }
    }
}

/// Runs `test` in a thread of its own; fails if it takes too long or blocks.
pub(crate) fn bounded(test: impl FnOnce() + Send + 'static) {
    let (over, wait) = mpsc::channel::<()>();
    let name = thread::current().name().unwrap_or("test").to_owned();
    let runner = thread::Builder::new().name(name).spawn(move || {
        let _over = over;
        test();
    });
    let runner = runner.expect("a thread can be started");
    if wait.recv_timeout(2 * LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("the test hangs");
    }
    if let Err(payload) = runner.join() {
        std::panic::resume_unwind(payload);
    }
}

/// Runs a coroutine to its end, with a time limit.
pub(crate) fn run<F: Future>(test: impl FnOnce() -> F + Send + 'static) {
    bounded(move || {
        asyncoro::run_until(async { timeout(LIMIT, test()).await.expect("in time") });
    });
}

/// Runs a coroutine once for each kind of stream, with a time limit.
pub(crate) fn each<F: Future>(test: impl Fn(Kind) -> F + Send + 'static) {
    bounded(move || {
        for kind in KINDS.iter().copied() {
            // Seen if it fails.
            println!("{kind:?}");
            let run = asyncoro::run_until(timeout(LIMIT, test(kind)));
            assert!(run.is_ok(), "{kind:?}: the test hangs");
        }
    });
}

/// As [`each`], without TLS: for tests that need a regular socket as peer, to see what is on the
/// wire or to connect before anybody has accepted.
pub(crate) fn each_plain<F: Future>(test: impl Fn(Kind) -> F + Send + 'static) {
    bounded(move || {
        for kind in [Kind::Tcp4, Kind::Tcp6, Kind::Unix] {
            println!("{kind:?}");
            let run = asyncoro::run_until(timeout(LIMIT, test(kind)));
            assert!(run.is_ok(), "{kind:?}: the test hangs");
        }
    });
}

/// As [`each`], with a thread for each kind: for tests that mostly wait.
pub(crate) fn each_at_once<F: Future>(test: impl Fn(Kind) -> F + Copy + Send + 'static) {
    let threads = KINDS.iter().map(|&kind| {
        let one = move || asyncoro::run_until(timeout(LIMIT, test(kind))).expect("in time");
        (kind, thread::spawn(move || bounded(move || drop(one()))))
    });
    for (kind, thread) in threads.collect::<Vec<_>>() {
        println!("{kind:?}");
        if let Err(payload) = thread.join() {
            std::panic::resume_unwind(payload);
        }
    }
}

/// Makes two connected regular sockets, in blocking mode.
pub(crate) fn raw(kind: Kind) -> (Socket, Socket) {
    let address = match kind {
        Kind::Unix => {
            let (near, far) = UnixStream::pair().unwrap();
            return (near.into(), far.into());
        }
        Kind::Tcp6 => "[::1]:0",
        _ => "127.0.0.1:0",
    };
    let listener = TcpListener::bind(address).unwrap();
    let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near.into(), far.into())
}

/// Makes two connected sockets.
pub(crate) fn pair(kind: Kind) -> (AsyncSocket, AsyncSocket) {
    converted(kind, raw(kind))
}

fn converted(kind: Kind, (near, far): (Socket, Socket)) -> (AsyncSocket, AsyncSocket) {
    #[cfg(feature = "tls")]
    if let Some(version) = kind.tls() {
        let (near, far) = crate::tls::secured_by(version, near, far);
        return (near.into_async().unwrap(), far.into_async().unwrap());
    }
    let _ = kind;
    (AsyncSocket::new(near).unwrap(), AsyncSocket::new(far).unwrap())
}

/// Makes a socket and its regular peer.
pub(crate) fn half(kind: Kind) -> (AsyncSocket, Socket) {
    let (near, far) = raw(kind);
    #[cfg(feature = "tls")]
    if let Some(version) = kind.tls() {
        let (near, far) = crate::tls::secured_by(version, near, far);
        return (near.into_async().unwrap(), crate::tls::relayed(far));
    }
    (AsyncSocket::new(near).unwrap(), far)
}

/// As [`pair`], with buffers so small that [`BIG`] does not fit.
pub(crate) fn narrow(kind: Kind) -> (AsyncSocket, AsyncSocket) {
    let (near, far) = raw(kind);
    for socket in [&near, &far] {
        // Not less, and nothing about receiving: a tiny window makes TCP wait for its timers.
        socket.set_send_buffer_size(32 << 10).unwrap();
    }
    converted(kind, (near, far))
}

/// Converts to a blocking socket, outside of a scheduler.
pub(crate) fn blocking(socket: AsyncSocket) -> BlockingSocket {
    asyncoro::run(async { socket.into_blocking().await.unwrap() })
}

/// As [`pair`], for threads.
pub(crate) fn blocking_pair(kind: Kind) -> (BlockingSocket, BlockingSocket) {
    let (near, far) = pair(kind);
    (blocking(near), blocking(far))
}

/// A listening socket of a kind, and the configuration that its clients need.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) socket: AsyncSocket,
    kind: Kind,
    #[cfg(feature = "tls")]
    tls: Option<(asyncoro::ServerTls, asyncoro::ClientTls)>,
}

impl Server {
    pub(crate) async fn new(kind: Kind) -> Server {
        #[cfg(feature = "tls")]
        if let Some(version) = kind.tls() {
            let (server, client) = crate::tls::localhost();
            let client = client.server_name("localhost").unwrap().versions(&[version]).unwrap();
            let socket = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
            let socket = socket.with_tls(&server).unwrap();
            return Server { socket, kind, tls: Some((server, client)) };
        }
        Server {
            socket: server(kind).await,
            kind,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Opens a socket that can connect to it.
    pub(crate) fn open(&self) -> AsyncSocket {
        self.client(AsyncSocket::open(self.kind.domain(), Type::STREAM).unwrap())
    }

    /// Configures TLS on a socket that is not connected yet, if this kind is TLS.
    pub(crate) fn client(&self, socket: AsyncSocket) -> AsyncSocket {
        #[cfg(feature = "tls")]
        if let Some((_, tls)) = &self.tls {
            return socket.with_tls(tls).unwrap();
        }
        socket
    }

    /// Returns a function that does the server's handshake on an accepted regular socket, in any
    /// thread.
    pub(crate) fn handshake(&self) -> impl FnOnce(Socket) -> BlockingSocket + Send + use<> {
        #[cfg(feature = "tls")]
        let tls = self.tls.clone();
        move |socket| {
            let socket = BlockingSocket::new(socket).unwrap();
            #[cfg(feature = "tls")]
            if let Some((tls, _)) = tls {
                socket.start_tls(tls).unwrap();
            }
            socket
        }
    }

    pub(crate) async fn connect(&self) -> io::Result<AsyncSocket> {
        let socket = self.open();
        socket.connect(self.socket.local_addr()?).await?;
        Ok(socket)
    }

    /// Makes a connection and returns both ends.
    pub(crate) async fn accept(&self) -> (AsyncSocket, AsyncSocket) {
        let client = self.clone();
        let connecting = coro::spawn(async move { client.connect().await });
        let (near, _) = self.socket.accept().await.unwrap();
        (near, connecting.await.unwrap().unwrap())
    }
}

/// Ends a connection of any kind with a reset.
pub(crate) fn reset(kind: Kind, near: impl AsFd, far: AsyncSocket) {
    if kind == Kind::Unix {
        // A peer that leaves with something unread.
        rustix::net::send(near, b"unread", rustix::net::SendFlags::empty()).unwrap();
    } else {
        rustix::net::connect_unspec(&far).unwrap();
    }
    drop(far);
}

/// Waits for bytes or the end of the stream, without ending the turn of the loop.
pub(crate) fn wait_for_bytes(socket: impl AsFd) {
    assert!(is_ready(socket, PollFlags::IN, LIMIT), "nothing comes");
}

/// Waits until the system has received the end of a connection.
pub(crate) fn wait_for_end(socket: impl AsFd) {
    assert!(is_ready(socket, PollFlags::RDHUP, LIMIT), "there is no end");
}

fn is_ready(socket: impl AsFd, flags: PollFlags, time: Duration) -> bool {
    let time = Timespec::try_from(time).unwrap();
    let mut polled = [PollFd::new(&socket, flags)];
    retry_on_intr(|| poll(&mut polled, Some(&time))).unwrap() > 0
}

/// Receives `count` bytes without ending the turn of the loop, so they must have been sent already.
pub(crate) fn take_now(socket: &AsyncSocket, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let mut filled = 0;
    while filled < count {
        match socket.try_recv(&mut bytes[filled..]) {
            Ok(0) => panic!("the end, after {filled} of {count} bytes"),
            Ok(more) => filled += more,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "after {filled} of {count} bytes");
                wait_for_bytes(socket);
            }
        }
    }
    bytes
}

/// Sends by `try_send` until the buffers to the peer stay full; returns how many bytes were sent.
pub(crate) fn fill_up(
    socket: impl AsFd,
    mut try_send: impl FnMut(&[u8]) -> io::Result<usize>,
) -> usize {
    let mut all = 0;
    loop {
        let before = all;
        for size in [1 << 16, 1] {
            while let Ok(sent) = try_send(&[0; 1 << 16][..size]) {
                all += sent;
            }
        }
        // TCP moves bytes on by itself: after 200 ms it sends what fits the rest of the window.
        let has_room = is_ready(&socket, PollFlags::OUT, Duration::from_millis(250));
        if !has_room && all == before {
            return all;
        }
    }
}

/// More bytes than fit between two sockets of [`narrow`].
pub(crate) const BIG: usize = 1 << 20;

/// Makes `len` bytes that depend on their position.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = (0..251).collect::<Vec<u8>>().repeat(len / 251 + 1);
    bytes.truncate(len);
    bytes
}

/// Makes a listening socket of this kind, at a free address.
pub(crate) async fn server(kind: Kind) -> AsyncSocket {
    match kind {
        Kind::Tcp4 => AsyncSocket::create_server("127.0.0.1:0").await.unwrap(),
        #[cfg(feature = "tls")]
        Kind::Tls | Kind::Tls12 => {
            let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
            let tls = crate::tls::localhost().0.versions(&[kind.tls().unwrap()]).unwrap();
            server.with_tls(tls).unwrap()
        }
        Kind::Tcp6 => AsyncSocket::create_server("[::1]:0").await.unwrap(),
        Kind::Unix => {
            let socket = AsyncSocket::open(Domain::UNIX, Type::STREAM).unwrap();
            SockRef::from(&socket).bind(&kind.any()).unwrap();
            socket.listen(128).unwrap();
            socket
        }
    }
}

/// Lets other coroutines run and two turns of the loop end, so that queues are flushed and
/// readiness is reported.
pub(crate) async fn settle() {
    let begun = statistics().turns;
    while statistics().turns < begun + 3 {
        coro::yield_now().await;
    }
}

/// Starts a coroutine and lets it run until it waits.
pub(crate) async fn started<F: Future + 'static>(future: F) -> Coro<F::Output> {
    let coro = asyncoro::spawn(future);
    settle().await;
    coro
}

/// Polls once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

pub(crate) fn statistics() -> Statistics {
    AsynCoro::current().statistics()
}

/// Asserts that a verb failed because its socket is closed.
#[track_caller]
pub(crate) fn assert_closed<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.expect_err("the socket is closed");
    assert_eq!(error.kind(), ErrorKind::NotConnected, "{error:?}");
    assert!(inner::<error::Closed>(&error).is_some(), "{error:?}");
}

/// Returns the typed condition in an error.
pub(crate) fn inner<T: std::error::Error + 'static>(error: &io::Error) -> Option<&T> {
    error.get_ref()?.downcast_ref()
}

/// Reads `count` bytes of a regular socket in another thread.
pub(crate) fn read_in_thread(mut socket: Socket, count: usize) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = vec![0; count];
        io::Read::read_exact(&mut socket, &mut bytes).unwrap();
        bytes
    })
}

/// Reads everything that is in a regular socket now.
pub(crate) fn read_now(socket: &Socket) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let flags = rustix::net::RecvFlags::DONTWAIT;
        match rustix::net::recv(socket, &mut buffer[..], flags) {
            Ok((0, _)) | Err(rustix::io::Errno::AGAIN) => return all,
            Ok((count, _)) => all.extend_from_slice(&buffer[..count]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
