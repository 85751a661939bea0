//! Tables of all verbs that may wait, and an end of a connection on either face, so that one test
//! can check all verbs on both faces.

use std::{
    fmt,
    future::Future,
    io,
    io::IoSliceMut,
    net::Shutdown,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    time::Duration,
};

use asyncoro::{
    AsyncSocket, BlockingSocket, Coro, DatagramBatch, error::TimedOut, spawn, sync::mailbox,
    time::timeout,
};
use bytes::Bytes;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::{
    bounded::Watched,
    embed::taken,
    pairs::{KINDS, Kind, LIMIT, bounded, inner, narrow, settle},
};

/// One of the two socket types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    Asynchronous,
    Blocking,
}

pub(crate) const FACES: [Face; 2] = [Face::Asynchronous, Face::Blocking];

/// Runs a coroutine for each kind of stream on each face, each with a time limit.
pub(crate) fn each_face<F: Future>(test: impl Fn(Kind, Face) -> F + Copy + Send + 'static) {
    for kind in KINDS.iter().copied() {
        for face in FACES {
            bounded(move || {
                println!("{kind:?}, {face:?}");
                let run = asyncoro::run_until(timeout(LIMIT, test(kind, face)));
                assert!(run.is_ok(), "{kind:?}, {face:?}: the test hangs");
            });
        }
    }
}

/// As [`each_face`], with a thread for each: for tests that mostly wait.
pub(crate) fn each_face_at_once<F: Future>(test: impl Fn(Kind, Face) -> F + Copy + Send + 'static) {
    let all = KINDS.iter().flat_map(|&kind| FACES.map(|face| (kind, face)));
    let threads = all.map(|(kind, face)| {
        let one = move || asyncoro::run_until(timeout(LIMIT, test(kind, face))).expect("in time");
        (kind, face, std::thread::spawn(move || bounded(move || drop(one()))))
    });
    for (kind, face, thread) in threads.collect::<Vec<_>>() {
        println!("{kind:?}, {face:?}");
        if let Err(payload) = thread.join() {
            std::panic::resume_unwind(payload);
        }
    }
}

/// As [`each_face`], on the asynchronous face only.
pub(crate) fn each_kind<F: Future>(test: impl Fn(Kind) -> F + Copy + Send + 'static) {
    for kind in KINDS.iter().copied() {
        bounded(move || {
            println!("{kind:?}");
            let run = asyncoro::run_until(timeout(LIMIT, test(kind)));
            assert!(run.is_ok(), "{kind:?}: the test hangs");
        });
    }
}

pub(crate) type Received = io::Result<Vec<u8>>;
pub(crate) type Call = Pin<Box<dyn Future<Output = Received>>>;

/// A verb of both faces. Its result is the bytes that it receives, a message with its header.
#[derive(Clone, Copy)]
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    pub(crate) call: fn(AsyncSocket, Vec<u8>) -> Call,
    pub(crate) block: fn(&BlockingSocket, &[u8]) -> Received,
}

impl fmt::Debug for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Verb {
    /// Tells whether it leaves the bytes that it returns to the next verb.
    pub(crate) fn only_looks(self) -> bool {
        ["peek", "readable"].contains(&self.name)
    }

    /// Tells whether it collects several pieces and leaves them to the next verb if it is
    /// cancelled.
    pub(crate) fn gathers(self) -> bool {
        ["recv_all_bytes", "recv_until", "recv_line", "recv_msg", "recv_msg_into"]
            .contains(&self.name)
    }
}

/// Makes a unit that each receiving verb can take: a message of two bytes, a line, six bytes.
pub(crate) fn unit(number: u8) -> [u8; 6] {
    assert!(!b"\r\n".contains(&number));
    [0, 0, 0, 2, number, b'\n']
}

pub(crate) const UNIT: usize = 6;

/// Makes a [`Verb`] from one call: the verb, its arguments, and the conversion of its result.
macro_rules! verb {
    (
        $name:ident($socket:ident, $bytes:ident)
        [$($setup:tt)*] $call:expr => $got:pat => $gives:expr
    ) => {
        Verb {
            name: stringify!($name),
            call: |socket, bytes| {
                Box::pin(async move {
                    let ($socket, $bytes) = (&socket, &bytes[..]);
                    let _ = $bytes;
                    $($setup)*
                    let $got = $call.await?;
                    Ok($gives)
                })
            },
            block: |$socket, $bytes| {
                let _ = $bytes;
                $($setup)*
                let $got = $call?;
                Ok($gives)
            },
        }
    };
}

/// The verbs that receive from a stream.
pub(crate) const READERS: &[Verb] = &[
    verb!(recv(s, _b) [let mut to = [0; UNIT];] s.recv(&mut to) => got => to[..got].to_vec()),
    verb!(recv_bytes(s, _b) [] s.recv_bytes(UNIT) => got => got.to_vec()),
    verb!(recv_with(s, _b) [] s.recv_with(<[u8]>::to_vec) => got => got),
    verb!(recv_with_limit(s, _b) [] s.recv_with_limit(UNIT, <[u8]>::to_vec) => got => got),
    verb!(recv_uninit(s, _b)
        [let make = || Box::<[u8]>::new_uninit_slice(UNIT);]
        s.recv_uninit(make) => got => taken(got)),
    verb!(peek(s, _b) [let mut to = [0; UNIT];] s.peek(&mut to) => got => to[..got].to_vec()),
    verb!(readable(s, _b) [] s.readable() => () => Vec::new()),
    verb!(recv_vectored(s, _b)
        [let (mut one, mut two) = ([0; 2], [0; UNIT - 2]);]
        s.recv_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)])
        => got => [&one[..], &two].concat()[..got].to_vec()),
    verb!(recv_all(s, _b) [let mut to = [0; UNIT];] s.recv_all(&mut to) => () => to.to_vec()),
    verb!(recv_all_bytes(s, _b) [] s.recv_all_bytes(UNIT) => got => got.to_vec()),
    verb!(recv_until(s, _b) [] s.recv_until(b"\n", UNIT) => got => got.to_vec()),
    verb!(recv_line(s, _b) [] s.recv_line(UNIT) => got => ended(got.as_deref())),
    verb!(recv_msg(s, _b) [] s.recv_msg() => got => framed(got.as_deref())),
    verb!(recv_msg_into(s, _b)
        [let mut to = Vec::new();]
        s.recv_msg_into(&mut to) => got => framed(got.map(|_| &to[..]))),
];

/// The verbs that send to a stream.
pub(crate) const WRITERS: &[Verb] = &[
    verb!(send(s, b) [] s.send(b) => _ => Vec::new()),
    verb!(send_all(s, b) [] s.send_all(b) => () => Vec::new()),
    verb!(send_vectored(s, b)
        [let (one, two) = b.split_at(2);] s.send_vectored(&[one, two]) => _ => Vec::new()),
    verb!(send_msg(s, b) [] s.send_msg(&b[4..]) => () => Vec::new()),
    verb!(send_queued(s, b) [] s.send_queued(b) => () => Vec::new()),
    verb!(flush(s, _b) [] s.flush() => () => Vec::new()),
    verb!(writable(s, _b) [] s.writable() => () => Vec::new()),
    SHUTDOWN,
];

pub(crate) const SHUTDOWN: Verb =
    verb!(shutdown(s, _b) [] s.shutdown(Shutdown::Write) => () => Vec::new());

pub(crate) const ACCEPT: Verb = verb!(accept(s, _b) [] s.accept() => _ => Vec::new());

/// Connects to the address whose text is in the bytes.
pub(crate) const CONNECT: Verb =
    verb!(connect(s, b) [] s.connect(std::str::from_utf8(b).unwrap()) => () => Vec::new());

/// The verbs of datagram sockets only; those that send get an address.
pub(crate) const DATAGRAMS: &[Verb] = &[
    verb!(recv_from(s, _b)
        [let mut to = [0; UNIT];] s.recv_from(&mut to) => (got, _) => to[..got].to_vec()),
    verb!(recv_batch(s, _b)
        [let mut batch = DatagramBatch::new(1, UNIT);]
        s.recv_batch(&mut batch) => _ => batch.iter().next().unwrap().bytes.to_vec()),
    verb!(send_to(s, b)
        [let to = std::str::from_utf8(b).unwrap();] s.send_to(b"x", to) => _ => Vec::new()),
    verb!(send_batch(s, b)
        [let to: asyncoro::Address = std::str::from_utf8(b).unwrap().parse().unwrap();]
        s.send_batch(&[("x", to)]) => _ => Vec::new()),
];

/// The verbs that receive a datagram.
pub(crate) fn datagram_readers() -> impl Iterator<Item = Verb> {
    let shared = [
        "recv",
        "recv_bytes",
        "recv_with",
        "recv_with_limit",
        "recv_uninit",
        "peek",
        "readable",
        "recv_vectored",
    ];
    let both = READERS.iter().filter(move |verb| shared.contains(&verb.name));
    both.chain(&DATAGRAMS[..2]).copied()
}

/// Returns the verb of this name.
pub(crate) fn named(name: &str) -> Verb {
    let all = READERS.iter().chain(WRITERS).chain(DATAGRAMS).chain(&[ACCEPT, CONNECT]);
    *all.into_iter().find(|verb| verb.name == name).expect("there is such a verb")
}

fn ended(line: Option<&[u8]>) -> Vec<u8> {
    line.map_or_else(Vec::new, |line| [line, b"\n"].concat())
}

fn framed(message: Option<&[u8]>) -> Vec<u8> {
    let Some(payload) = message else { return Vec::new() };
    [&(payload.len() as u32).to_be_bytes(), payload].concat()
}

/// One end of a connection, on one of the faces.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Asynchronous(AsyncSocket),
    Blocking(BlockingSocket),
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            End::Asynchronous(socket) => socket.as_fd(),
            End::Blocking(socket) => socket.as_fd(),
        }
    }
}

impl End {
    pub(crate) async fn new(face: Face, socket: AsyncSocket) -> End {
        match face {
            Face::Asynchronous => End::Asynchronous(socket),
            Face::Blocking => End::Blocking(socket.into_blocking().await.unwrap()),
        }
    }

    /// Begins a verb, in a coroutine or thread of its own; on return it waits, or has ended.
    pub(crate) async fn begin(&self, verb: Verb, bytes: &[u8]) -> Waiting {
        let bytes = bytes.to_vec();
        match self {
            End::Asynchronous(socket) => {
                let coro = spawn((verb.call)(socket.clone(), bytes));
                settle().await;
                Waiting::Coroutine(coro)
            }
            End::Blocking(socket) => {
                let socket = socket.clone();
                let waiting = in_thread(move || (verb.block)(&socket, &bytes));
                // Twice, since a thread may sleep for a moment on its way.
                let Waiting::Thread(thread, result) = waiting else { unreachable!() };
                let thread = thread.asleep();
                settle().await;
                Waiting::Thread(thread.asleep(), result)
            }
        }
    }

    /// Calls a verb and waits for its result.
    pub(crate) async fn call(&self, verb: Verb, bytes: &[u8]) -> Received {
        match self {
            End::Asynchronous(socket) => (verb.call)(socket.clone(), bytes.to_vec()).await,
            End::Blocking(socket) => {
                let (socket, bytes) = (socket.clone(), bytes.to_vec());
                in_thread(move || (verb.block)(&socket, &bytes)).result().await
            }
        }
    }

    pub(crate) async fn close(&self) -> io::Result<()> {
        match self {
            End::Asynchronous(socket) => socket.close().await,
            End::Blocking(socket) => {
                let socket = socket.clone();
                in_thread(move || socket.close().map(|()| Vec::new())).result().await.map(drop)
            }
        }
    }

    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) {
        match self {
            End::Asynchronous(socket) => socket.set_timeout(timeout),
            End::Blocking(socket) => socket.set_timeout(timeout),
        }
    }

    pub(crate) fn try_recv(&self) -> Received {
        let mut to = [0; UNIT];
        let got = match self {
            End::Asynchronous(socket) => socket.try_recv(&mut to),
            End::Blocking(socket) => socket.try_recv(&mut to),
        };
        got.map(|got| to[..got].to_vec())
    }

    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            End::Asynchronous(socket) => socket.try_send(bytes),
            End::Blocking(socket) => socket.try_send(bytes),
        }
    }

    pub(crate) fn try_send_msg(&self, payload: &'static [u8]) -> io::Result<()> {
        let payload = Bytes::from_static(payload);
        match self {
            End::Asynchronous(socket) => socket.try_send_msg(&payload),
            End::Blocking(socket) => socket.try_send_msg(&payload),
        }
    }
}

/// A verb that was begun.
pub(crate) enum Waiting {
    Coroutine(Coro<Received>),
    Thread(Watched<()>, asyncoro::sync::Receiver<Received>),
}

impl Waiting {
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Waiting::Coroutine(coro) => coro.is_finished(),
            Waiting::Thread(_, result) => !result.is_empty(),
        }
    }

    pub(crate) async fn result(self) -> Received {
        match self {
            Waiting::Coroutine(coro) => coro.await.unwrap(),
            Waiting::Thread(_, result) => result.receive().await.expect("the verb does not panic"),
        }
    }
}

fn in_thread(work: impl FnOnce() -> Received + Send + 'static) -> Waiting {
    let (give, take) = mailbox(1);
    let thread = Watched::spawn(move || drop(give.try_send(work())));
    Waiting::Thread(thread, take)
}

/// Makes an end with full buffers and most of a message of [`FILLING`] bytes queued, and its peer,
/// which has received nothing yet.
pub(crate) async fn full(kind: Kind, face: Face) -> (End, AsyncSocket) {
    let (near, far) = narrow(kind);
    let end = End::new(face, near).await;
    end.set_timeout(Some(Duration::from_millis(30)));
    let filling = [&[0; 4][..], &[0; FILLING]].concat();
    let error = end.call(named("send_msg"), &filling).await.unwrap_err();
    let TimedOut { done, rest_queued } = *inner(&error).unwrap();
    assert!(rest_queued && FILLING - done > 64 << 10, "{error}");
    end.set_timeout(None);
    (end, far)
}

/// Receives the message of [`full`].
pub(crate) async fn receive_filling(far: &AsyncSocket) {
    assert_eq!(far.recv_msg().await.unwrap().unwrap().len(), FILLING);
}

/// Receives everything up to the end of the stream.
pub(crate) async fn drained(far: AsyncSocket) {
    while far.recv_bytes(FILLING).await.is_ok_and(|some| !some.is_empty()) {}
}

/// Makes a bound datagram socket of each family, and a peer that is connected to it.
pub(crate) async fn datagram_pairs(tag: &str) -> Vec<(AsyncSocket, AsyncSocket)> {
    let unix = format!("@asyncoro-{tag}-{}", std::process::id());
    let mut pairs = Vec::new();
    for address in ["127.0.0.1:0", "[::1]:0", &unix] {
        let near = AsyncSocket::create_datagram(address).await.unwrap();
        let to = near.local_addr().unwrap();
        let domain = match to.ip() {
            None => Domain::UNIX,
            Some(ip) if ip.is_ipv4() => Domain::IPV4,
            Some(_) => Domain::IPV6,
        };
        let far = AsyncSocket::new(Socket::new(domain, Type::DGRAM, None).unwrap()).unwrap();
        far.connect(&to).await.unwrap();
        pairs.push((near, far));
    }
    pairs
}

/// A listener whose queue is full, so that connections to it never complete.
pub(crate) struct Deaf {
    pub(crate) address: String,
    domain: Domain,
    _queue: Vec<Socket>,
}

impl Deaf {
    /// Listens at any port of an address, or at any name if it is empty.
    pub(crate) fn new(any: &str) -> Deaf {
        let (domain, any) = match any.parse::<std::net::SocketAddr>() {
            Ok(any) => (Domain::for_address(any), any.into()),
            Err(_) => (Domain::UNIX, SockAddr::unix(any).unwrap()),
        };
        let listener = Socket::new(domain, Type::STREAM, None).unwrap();
        listener.bind(&any).unwrap();
        listener.listen(0).unwrap();
        let address = BlockingSocket::new(listener.try_clone().unwrap()).unwrap().local_addr();
        let mut deaf = Deaf { address: address.unwrap().to_string(), domain, _queue: Vec::new() };
        for _ in 0..8 {
            let socket = deaf.open();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&listener.local_addr().unwrap());
            deaf._queue.push(socket);
        }
        deaf._queue.push(listener);
        deaf
    }

    /// Opens a socket of its family.
    pub(crate) fn open(&self) -> Socket {
        Socket::new(self.domain, Type::STREAM, None).unwrap()
    }
}

/// Asserts that a verb timed out before it moved any byte.
#[track_caller]
pub(crate) fn assert_timed_out(result: Received, verb: Verb, sees_queue: bool) {
    let error = result.expect_err("nothing can come of it");
    // What was queued before is no part of a verb that sends, but all that these wait for.
    let rest_queued = sees_queue && ["flush", "shutdown"].contains(&verb.name);
    assert_eq!(inner(&error), Some(&TimedOut { done: 0, rest_queued }), "{verb:?}: {error:?}");
}

/// The length of the message that [`full`] leaves half sent, in bytes.
pub(crate) const FILLING: usize = 1 << 20;
