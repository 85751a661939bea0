//! What the tests of streams share: connected pairs of every kind, bounds on their time, and small
//! steps that say what they wait for.

use std::{
    future::Future,
    io::{self, ErrorKind},
    net::TcpListener,
    os::unix::net::UnixStream,
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use asyncoro::{AsynCoro, AsyncSocket, Coro, coro, coro::Statistics, error, time::timeout};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// Longest time that a coroutine of a test may take; a test that blocks gets twice as long.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// What a stream can be.
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

/// All of them: what a verb promises it promises for each.
pub(crate) const KINDS: &[Kind] = &[
    Kind::Tcp4,
    Kind::Tcp6,
    Kind::Unix,
    #[cfg(feature = "tls")]
    Kind::Tls,
    #[cfg(feature = "tls")]
    Kind::Tls12,
];

#[cfg(feature = "tls")]
impl Kind {
    /// The version of TLS that it speaks.
    pub(crate) fn tls(self) -> Option<asyncoro::TlsVersion> {
        match self {
            Kind::Tls => Some(asyncoro::TlsVersion::V1_3),
            Kind::Tls12 => Some(asyncoro::TlsVersion::V1_2),
            _ => None,
        }
    }
}

/// Runs `test` in a thread of its own; fails if it takes too long, even if it blocks.
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

/// Runs a coroutine to its end, in bounded time.
pub(crate) fn run<F: Future>(test: impl FnOnce() -> F + Send + 'static) {
    bounded(move || {
        asyncoro::run_until(async { timeout(LIMIT, test()).await.expect("in time") });
    });
}

/// Runs a coroutine once for each kind of stream, in bounded time.
pub(crate) fn each<F: Future>(test: impl Fn(Kind) -> F + Send + 'static) {
    bounded(move || {
        for kind in KINDS.iter().copied() {
            let run = asyncoro::run_until(timeout(LIMIT, test(kind)));
            assert!(run.is_ok(), "{kind:?}: the test hangs");
        }
    });
}

/// As [`each`], for what is only so where regular sockets are at the other end: what is on the
/// wire at this moment, connections that stand before anybody has accepted them.
pub(crate) fn each_plain<F: Future>(test: impl Fn(Kind) -> F + Send + 'static) {
    bounded(move || {
        for kind in [Kind::Tcp4, Kind::Tcp6, Kind::Unix] {
            let run = asyncoro::run_until(timeout(LIMIT, test(kind)));
            assert!(run.is_ok(), "{kind:?}: the test hangs");
        }
    });
}

/// Two regular sockets, connected, in blocking mode.
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

/// Two connected sockets.
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

/// A socket and its regular peer.
pub(crate) fn half(kind: Kind) -> (AsyncSocket, Socket) {
    let (near, far) = raw(kind);
    #[cfg(feature = "tls")]
    if let Some(version) = kind.tls() {
        let (near, far) = crate::tls::secured_by(version, near, far);
        return (near.into_async().unwrap(), crate::tls::relayed(far));
    }
    (AsyncSocket::new(near).unwrap(), far)
}

/// As [`pair`], with so little room between them that [`BIG`] does not fit.
pub(crate) fn narrow(kind: Kind) -> (AsyncSocket, AsyncSocket) {
    let (near, far) = raw(kind);
    for socket in [&near, &far] {
        // Not less, and nothing about receiving: a tiny window makes TCP wait for its timers.
        socket.set_send_buffer_size(32 << 10).unwrap();
    }
    converted(kind, (near, far))
}

/// Bytes that do not fit between two sockets of [`narrow`].
pub(crate) const BIG: usize = 1 << 20;

/// `len` bytes, each telling its place.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = (0..251).collect::<Vec<u8>>().repeat(len / 251 + 1);
    bytes.truncate(len);
    bytes
}

/// A listening socket of this kind, at a free address.
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
            // An empty name: the kernel gives one that is free, in its abstract space.
            let any = SockAddr::unix("").unwrap();
            SockRef::from(&socket).bind(&any).unwrap();
            socket.listen(128).unwrap();
            socket
        }
    }
}

/// Lets the others run and two turns of the loop end, so that what is queued has been flushed and
/// what is ready has been reported.
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

/// Asserts that a verb was told that its socket is closed.
#[track_caller]
pub(crate) fn assert_closed<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.expect_err("the socket is closed");
    assert_eq!(error.kind(), ErrorKind::NotConnected, "{error:?}");
    assert!(inner::<error::Closed>(&error).is_some(), "{error:?}");
}

/// The typed condition in an error.
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

/// Everything that is in a regular socket right now.
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
