//! The states of a connecting socket, and every transition between them, on both faces.

use std::{
    io::{self, ErrorKind, Write},
    net::{TcpListener, UdpSocket},
    os::{fd::AsFd, unix::net::UnixListener},
    thread,
    time::Duration,
};

use asyncoro::{
    Address, AsyncSocket, BlockingSocket,
    error::{Context, os_code},
    time::timeout,
};
use rustix::{io::Errno, net::connect_unspec};
use socket2::{Domain, Socket, Type};

use crate::{
    pairs::{Kind, Server, bounded, inner, run, settle, started},
    verbs::{CONNECT, End, FACES, Face, UNIT, each_face, each_face_at_once, named, unit},
};

/// Shorter than the second after which the system retries a listener that has not answered.
const SHORT: Duration = Duration::from_millis(50);

/// A listener that does not answer, since its queue is full, with the connections that fill it.
struct Silent {
    listener: Socket,
    address: Address,
    first: Socket,
    keeper: Option<Socket>,
}

/// An address whose listener has closed.
struct Left {
    address: Address,
    /// Nobody else gets its port.
    _keeper: Option<Socket>,
}

impl Silent {
    fn new(kind: Kind) -> Silent {
        let open = || Socket::new(kind.domain(), Type::STREAM, None).unwrap();
        let listener = open();
        let keeper = (kind != Kind::Unix).then(open);
        for socket in keeper.iter().chain((kind != Kind::Unix).then_some(&listener)) {
            socket.set_reuse_port(true).unwrap();
        }
        listener.bind(&kind.any()).unwrap();
        if let Some(keeper) = &keeper {
            keeper.bind(&listener.local_addr().unwrap()).unwrap();
        }
        listener.listen(0).unwrap();
        let first = open();
        first.connect(&listener.local_addr().unwrap()).unwrap();
        Silent { address: address_of(&listener), listener, first, keeper }
    }

    /// Empties the queue: the system's next attempt, a second after the first, succeeds.
    fn answer(&self) -> Socket {
        self.listener.accept().unwrap().0
    }

    /// Empties the queue, and serves the next connection as a server of this kind does.
    fn serve(&self, server: &Server) -> (Socket, thread::JoinHandle<BlockingSocket>) {
        let (listener, server) = (self.listener.try_clone().unwrap(), server.handshake());
        let room = self.answer();
        (room, thread::spawn(move || server(listener.accept().unwrap().0)))
    }

    /// Closes the listener: the next attempt is refused.
    fn leave(self) -> Left {
        drop(self.first);
        Left { address: self.address, _keeper: self.keeper }
    }
}

fn address_of(socket: &Socket) -> Address {
    BlockingSocket::new(socket.try_clone().unwrap()).unwrap().local_addr().unwrap()
}

fn listening() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    (listener, address)
}

/// Returns an address without a listener, and a socket that reserves it.
fn refusing(kind: Kind) -> (Socket, Address) {
    let socket = Socket::new(kind.domain(), Type::STREAM, None).unwrap();
    socket.bind(&kind.any()).unwrap();
    let address = address_of(&socket);
    (socket, address)
}

fn open() -> AsyncSocket {
    AsyncSocket::open(Domain::IPV4, Type::STREAM).unwrap()
}

fn open_blocking() -> BlockingSocket {
    BlockingSocket::open(Domain::IPV4, Type::STREAM).unwrap()
}

#[track_caller]
fn assert_code<T: std::fmt::Debug>(result: io::Result<T>, code: Errno) {
    let error = result.unwrap_err();
    assert_eq!(os_code(&error), Some(code.raw_os_error()), "{error}");
}

/// Makes a listener that answers, and an end that can connect to it.
async fn server_and_end(kind: Kind, face: Face) -> (Server, Address, End) {
    let server = Server::new(kind).await;
    let address = server.socket.local_addr().unwrap();
    let end = End::new(face, server.open()).await;
    (server, address, end)
}

async fn connect(end: &End, to: &Address) -> io::Result<()> {
    end.call(CONNECT, to.to_string().as_bytes()).await.map(drop)
}

/// Begins to connect and gives up: by dropping the future on one face, by a timeout on the other.
async fn give_up(end: &End, to: &Address) {
    match end {
        End::Asynchronous(socket) => {
            timeout(SHORT, socket.connect(to)).await.unwrap_err();
        }
        End::Blocking(_) => {
            end.set_timeout(Some(SHORT));
            assert_eq!(connect(end, to).await.unwrap_err().kind(), ErrorKind::TimedOut);
            end.set_timeout(None);
        }
    }
}

fn peer_addr(end: &End) -> Address {
    match end {
        End::Asynchronous(socket) => socket.peer_addr().unwrap(),
        End::Blocking(socket) => socket.peer_addr().unwrap(),
    }
}

fn local_addr(end: &End) -> Address {
    match end {
        End::Asynchronous(socket) => socket.local_addr().unwrap(),
        End::Blocking(socket) => socket.local_addr().unwrap(),
    }
}

/// Connects to `server`, and asserts that the peer is `server`.
async fn connect_to(end: &End, server: &Server) -> AsyncSocket {
    let (socket, to) = (server.socket.clone(), server.socket.local_addr().unwrap());
    let accepting = started(async move { socket.accept().await.unwrap().0 }).await;
    connect(end, &to).await.unwrap();
    assert_eq!(peer_addr(end), to);
    let far = accepting.await.unwrap();
    end.call(named("send_all"), &unit(7)).await.unwrap();
    assert_eq!(far.recv_all_bytes(UNIT).await.unwrap(), unit(7)[..]);
    far
}

/// Waits by poll(2) until the attempt in progress has succeeded.
fn wait_for_success(socket: impl AsFd) {
    let mut bytes = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::OUT)];
    rustix::event::poll(&mut bytes, None).unwrap();
}

#[test]
fn a_connect_to_another_address_gives_up_the_one_before() {
    each_face_at_once(async |kind, face| {
        let silent = Silent::new(kind);
        let (server, _, end) = server_and_end(kind, face).await;
        give_up(&end, &silent.address).await;
        let far = connect_to(&end, &server).await;
        end.close().await.unwrap();
        assert_eq!(far.recv_bytes(9).await.unwrap(), "");
    });
}

#[test]
fn a_connect_to_another_address_gives_up_one_that_has_succeeded_meanwhile() {
    each_face_at_once(async |kind, face| {
        if kind == Kind::Unix {
            // The system makes no attempt that a Unix socket does not wait for.
            return;
        }
        let silent = Silent::new(kind);
        let (server, _, end) = server_and_end(kind, face).await;
        give_up(&end, &silent.address).await;
        let _room = silent.answer();
        wait_for_success(&end);
        assert_eq!(peer_addr(&end), silent.address, "nobody was told");
        connect_to(&end, &server).await;
    });
}

#[test]
fn a_connect_to_the_same_address_goes_on_with_the_one_before() {
    each_face_at_once(async |kind, face| {
        let server = Server::new(kind).await;
        // One that is still under way, and one that has succeeded before anybody asks again.
        for waits in [false, true] {
            let silent = Silent::new(kind);
            let end = End::new(face, server.open()).await;
            give_up(&end, &silent.address).await;
            let local = local_addr(&end);
            let (_room, serving) = silent.serve(&server);
            if waits {
                wait_for_success(&end);
            }
            connect(&end, &silent.address).await.unwrap();
            assert_eq!(local_addr(&end), local, "the very attempt");
            assert_eq!(peer_addr(&end), silent.address);
            assert_code(connect(&end, &silent.address).await, Errno::ISCONN);
            drop(serving.join().unwrap());
        }
    });
}

#[test]
fn a_connect_after_one_that_was_given_up_and_has_failed_begins_anew() {
    each_face_at_once(async |kind, face| {
        let silent = Silent::new(kind);
        let (server, _, end) = server_and_end(kind, face).await;
        give_up(&end, &silent.address).await;
        let left = silent.leave();
        wait_for_success(&end);
        assert_code(connect(&end, &left.address).await, Errno::CONNREFUSED);
        connect_to(&end, &server).await;
    });
}

#[test]
fn after_a_refusal_the_next_connect_is_one_like_any_other() {
    each_face(async |kind, face| {
        let (_refusing, refused) = refusing(kind);
        let (server, _, end) = server_and_end(kind, face).await;
        for _ in 0..5 {
            assert_code(connect(&end, &refused).await, Errno::CONNREFUSED);
        }
        connect_to(&end, &server).await;
    });
}

#[test]
fn a_connected_socket_refuses_another_address_and_stays_connected() {
    each_face(async |kind, face| {
        let other = Server::new(kind).await;
        let second = other.socket.local_addr().unwrap();
        let (server, first, end) = server_and_end(kind, face).await;
        let far = connect_to(&end, &server).await;
        for _ in 0..3 {
            assert_code(connect(&end, &second).await, Errno::ISCONN);
        }
        assert_eq!(peer_addr(&end), first);
        end.call(named("send_all"), &unit(8)).await.unwrap();
        assert_eq!(far.recv_all_bytes(UNIT).await.unwrap(), unit(8)[..]);
        // Converted from a regular one, whose connecting nobody has told us of.
        let silent = Silent::new(kind);
        let _room = silent.answer();
        let regular = Socket::new(kind.domain(), Type::STREAM, None).unwrap();
        regular.set_nonblocking(true).unwrap();
        let _ = regular.connect(&silent.listener.local_addr().unwrap());
        wait_for_success(&regular);
        let end = End::new(face, AsyncSocket::new(regular).unwrap()).await;
        assert_code(connect(&end, &second).await, Errno::ISCONN);
        assert_eq!(peer_addr(&end), silent.address);
    });
}

#[test]
fn an_attempt_that_was_begun_elsewhere_is_not_taken_for_ours() {
    each_face_at_once(async |kind, face| {
        let (silent, server) = (Silent::new(kind), Server::new(kind).await);
        let regular = Socket::new(kind.domain(), Type::STREAM, None).unwrap();
        regular.set_nonblocking(true).unwrap();
        let _ = regular.connect(&silent.listener.local_addr().unwrap());
        let socket = server.client(AsyncSocket::new(regular).unwrap());
        let end = End::new(face, socket).await;
        connect_to(&end, &server).await;
    });
}

/// The attempt is refused while a connect and a reader wait.
#[test]
fn a_refusal_is_told_to_the_connect_and_to_the_readers() {
    run(async || {
        let silent = Silent::new(Kind::Tcp4);
        let socket = open();
        let to = silent.address.clone();
        let writer = socket.clone();
        let connecting = started(async move { writer.connect(to).await }).await;
        let mut readers = Vec::new();
        for _ in 0..3 {
            let reader = socket.clone();
            readers.push(started(async move { reader.recv(&mut [0; 8]).await }).await);
        }
        let _left = silent.leave();
        assert_code(connecting.await.unwrap(), Errno::CONNREFUSED);
        for reader in readers {
            assert_code(reader.await.unwrap(), Errno::CONNREFUSED);
        }
    });
    bounded(|| {
        let silent = Silent::new(Kind::Tcp4);
        let socket = open_blocking();
        let (to, writer) = (silent.address.clone(), socket.clone());
        let connecting = thread::spawn(move || writer.connect(to));
        while socket.local_addr().unwrap().port() == Some(0) {
            thread::yield_now();
        }
        let readers = [0; 3].map(|_| {
            let reader = socket.clone();
            thread::spawn(move || reader.recv(&mut [0; 8]))
        });
        let _left = silent.leave();
        assert_code(connecting.join().unwrap(), Errno::CONNREFUSED);
        for reader in readers {
            // One that comes late finds a socket that is not connected.
            let error = reader.join().unwrap().unwrap_err();
            let codes = [Errno::CONNREFUSED, Errno::NOTCONN].map(|code| Some(code.raw_os_error()));
            assert!(codes.contains(&os_code(&error)), "{error}");
        }
    });
}

#[test]
fn an_error_that_was_taken_off_the_socket_still_ends_the_connect() {
    run(async || {
        for face in FACES {
            let codes = |error: &io::Error, codes: &[Errno]| {
                let is_one = codes.iter().any(|code| os_code(error) == Some(code.raw_os_error()));
                assert!(is_one, "{face:?}: {error}");
            };
            let begun = async || {
                let silent = Silent::new(Kind::Tcp4);
                let end = End::new(face, open()).await;
                let to = silent.address.to_string();
                let connecting = end.begin(CONNECT, to.as_bytes()).await;
                let left = silent.leave();
                wait_for_success(&end);
                (end, connecting, left)
            };
            let (end, connecting, _left) = begun().await;
            // Before the scheduler hears of it; a thread may have heard, or ask in between.
            let (taken, told) = match &end {
                End::Asynchronous(socket) => {
                    (Some(socket.take_error().unwrap().unwrap()), &[Errno::CONNREFUSED][..])
                }
                End::Blocking(socket) => {
                    let told = &[Errno::CONNREFUSED, Errno::CONNABORTED];
                    (socket.take_error().unwrap(), &told[..])
                }
            };
            taken.iter().for_each(|taken| codes(taken, &[Errno::CONNREFUSED]));
            codes(&connecting.result().await.unwrap_err(), told);

            // Taken behind our back, its reason is lost, but not that it has failed.
            let (end, connecting, _left) = begun().await;
            let taken = match &end {
                End::Asynchronous(socket) => socket.options().take_error().unwrap(),
                End::Blocking(socket) => socket.options().take_error().unwrap(),
            };
            let told = connecting.result().await.unwrap_err();
            let reason = if taken.is_some() { Errno::CONNABORTED } else { Errno::CONNREFUSED };
            codes(&told, &[reason]);
        }
    });
}

#[test]
fn a_reader_waits_on_while_another_address_is_tried() {
    run(async || {
        for face in FACES {
            let (silent, (listener, address)) = (Silent::new(Kind::Tcp4), listening());
            let end = End::new(face, open()).await;
            give_up(&end, &silent.address).await;
            let reading = end.begin(named("recv_bytes"), &[]).await;
            connect(&end, &address).await.unwrap();
            settle().await;
            listener.accept().unwrap().0.write_all(&unit(7)).unwrap();
            assert_eq!(reading.result().await.unwrap(), unit(7), "{face:?}");
        }
    });
}

#[test]
fn a_second_connect_stands_in_line_behind_the_first() {
    each_face_at_once(async |kind, face| {
        let (silent, server) = (Silent::new(kind), Server::new(kind).await);
        let end = End::new(face, server.open()).await;
        let to = silent.address.to_string();
        let first = end.begin(CONNECT, to.as_bytes()).await;
        let second = end.begin(CONNECT, to.as_bytes()).await;
        let (_room, serving) = silent.serve(&server);
        let results = [first.result().await, second.result().await];
        drop(serving.join().unwrap());
        match results {
            // Each attempts it now and then, since the system does not.
            [Err(_), Ok(_)] if kind == Kind::Unix => {}
            [first, second] => {
                first.unwrap();
                assert_code(second, Errno::ISCONN);
            }
        }
    });
}

#[test]
fn a_unix_socket_connects_after_a_refusal_and_once() {
    let name = |what: &str| {
        std::env::temp_dir().join(format!("asyncoro-connect-{what}-{}", std::process::id()))
    };
    let (gone, there) = (name("gone"), name("there"));
    drop(UnixListener::bind(&gone).unwrap());
    let listener = UnixListener::bind(&there).unwrap();
    let paths = [gone.clone(), there.clone()];
    run(async move || {
        let [gone, there] = paths;
        for kind in [Type::STREAM, Type::DGRAM] {
            let socket = AsyncSocket::open(Domain::UNIX, kind).unwrap();
            assert_code(socket.connect(&*gone).await, Errno::CONNREFUSED);
            if kind == Type::STREAM {
                socket.connect(&*there).await.unwrap();
                assert_eq!(socket.peer_addr().unwrap().as_path(), Some(&*there));
                assert_code(socket.connect(&*there).await, Errno::ISCONN);
            }
            let socket = BlockingSocket::open(Domain::UNIX, kind).unwrap();
            assert_code(socket.connect(&*gone), Errno::CONNREFUSED);
            if kind == Type::STREAM {
                socket.connect(&*there).unwrap();
                assert_code(socket.connect(&*there), Errno::ISCONN);
            }
        }
    });
    drop(listener);
    std::fs::remove_file(gone).unwrap();
    std::fs::remove_file(there).unwrap();
}

#[test]
fn a_datagram_socket_is_connected_again_and_again() {
    run(async || {
        let peers = [0; 3].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        let socket = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        let blocking = BlockingSocket::create_datagram("127.0.0.1:0").unwrap();
        for peer in peers.iter().chain(&peers) {
            let address: Address = peer.local_addr().unwrap().into();
            socket.connect(&address).await.unwrap();
            assert_eq!(socket.peer_addr().unwrap(), address);
            socket.send(b"a").await.unwrap();
            blocking.connect(&address).unwrap();
            blocking.send(b"a").unwrap();
            for _ in 0..2 {
                assert_eq!(peer.recv(&mut [0; 8]).unwrap(), 1);
            }
        }
        connect_unspec(&socket).unwrap();
        assert_code(socket.peer_addr(), Errno::NOTCONN);
        assert_code(socket.send(b"to nobody").await, Errno::DESTADDRREQ);
        socket.send_to(b"to one", peers[0].local_addr().unwrap()).await.unwrap();
    });
}

#[test]
fn a_name_gives_an_address_of_the_sockets_family() {
    run(async || {
        let (_listener, address) = listening();
        let port = address.port().unwrap();
        // Whichever the machine has first.
        open().connect(("localhost", port)).await.unwrap();
        open_blocking().connect(("localhost", port)).unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        let name = ("localhost", far.local_addr().unwrap().port());
        let near = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        near.send_to(b"x", name).await.unwrap();
        BlockingSocket::create_datagram("127.0.0.1:0").unwrap().send_to(b"x", name).unwrap();
        for _ in 0..2 {
            assert_eq!(far.recv(&mut [0; 8]).unwrap(), 1);
        }
    });
}

#[test]
fn errors_of_connect_bind_and_accept_name_what_was_tried() {
    run(async || {
        let (_refusing, refused) = refusing(Kind::Tcp4);
        let tell = |verb: &str, error: io::Error, code: Errno| {
            assert_eq!(os_code(&error), Some(code.raw_os_error()));
            let context = inner::<Context>(&error).unwrap();
            assert_eq!((context.verb, &context.address), (verb, &refused.to_string()));
            let text = error.to_string();
            assert_eq!(text.matches(verb).count(), 1, "{text}");
        };
        tell("connect", open().connect(&refused).await.unwrap_err(), Errno::CONNREFUSED);
        tell("connect", open_blocking().connect(&refused).unwrap_err(), Errno::CONNREFUSED);
        tell("bind", open().bind(&refused).unwrap_err(), Errno::ADDRINUSE);
        tell("bind", open_blocking().bind(&refused).unwrap_err(), Errno::ADDRINUSE);
        for error in [open().accept().await.unwrap_err(), open_blocking().accept().unwrap_err()] {
            assert_eq!(os_code(&error), Some(Errno::INVAL.raw_os_error()));
            assert!(error.to_string().starts_with("accept without listen"), "{error}");
        }
        let name = ("localhost", refused.port().unwrap());
        let error = open().connect(name).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("connect localhost:{}: ", name.1)), "{error}");
    });
}

#[cfg(feature = "tls")]
#[test]
fn a_tls_connect_says_its_verb_once() {
    run(async || {
        let (_refusing, refused) = refusing(Kind::Tcp4);
        let tls = crate::tls::localhost().1;
        let error = AsyncSocket::create_tls_connection(&refused, &tls).await.unwrap_err();
        assert_eq!(os_code(&error), Some(Errno::CONNREFUSED.raw_os_error()));
        let text = error.to_string();
        assert_eq!(text.matches(&refused.to_string()).count(), 1, "{text}");
        assert!(!text.contains("create_connection"), "{text}");
    });
}
