//! The states of a socket that connects, and every way from one to another, on both faces.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
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

use crate::pairs::{bounded, inner, run, settle, started};

/// Shorter than the second after which the system asks again a listener that has not answered.
const SHORT: Duration = Duration::from_millis(50);

/// A listener that does not answer, since its queue is full, and what fills it.
struct Silent {
    listener: Socket,
    address: Address,
    first: TcpStream,
}

impl Silent {
    fn new() -> Silent {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let first = TcpStream::connect(address).unwrap();
        Silent { listener, address: address.into(), first }
    }

    /// Makes room: the system's next attempt to reach it, a second after the first, succeeds.
    fn answer(&self) -> Socket {
        self.listener.accept().unwrap().0
    }

    /// The next attempt to reach it is refused.
    fn leave(self) -> Address {
        drop(self.first);
        self.address
    }
}

fn listening() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    (listener, address)
}

/// An address that nobody listens at, and what keeps it from others.
fn refusing() -> (Socket, Address) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap().into();
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

/// Begins to connect and gives up.
async fn give_up(socket: &AsyncSocket, to: &Address) {
    timeout(SHORT, socket.connect(to)).await.unwrap_err();
}

fn give_up_blocking(socket: &BlockingSocket, to: &Address) {
    socket.set_timeout(Some(SHORT));
    assert_eq!(socket.connect(to).unwrap_err().kind(), ErrorKind::TimedOut);
    socket.set_timeout(None);
}

/// Waits until the attempt that is under way has succeeded, by the descriptor itself.
fn wait_for_success(socket: impl AsFd) {
    let mut bytes = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::OUT)];
    rustix::event::poll(&mut bytes, None).unwrap();
}

#[test]
fn a_connect_to_another_address_gives_up_the_one_before() {
    run(async || {
        let (silent, (listener, address)) = (Silent::new(), listening());
        let socket = open();
        give_up(&socket, &silent.address).await;
        socket.connect(&address).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
        let (mut far, _) = listener.accept().unwrap();
        socket.send_all(b"to the second").await.unwrap();
        socket.close().await.unwrap();
        let mut came = String::new();
        far.read_to_string(&mut came).unwrap();
        assert_eq!(came, "to the second");
    });
    bounded(|| {
        let (silent, (_listener, address)) = (Silent::new(), listening());
        let socket = open_blocking();
        give_up_blocking(&socket, &silent.address);
        socket.connect(&address).unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
    });
}

#[test]
fn a_connect_to_another_address_gives_up_one_that_has_succeeded_meanwhile() {
    run(async || {
        let (silent, (_listener, address)) = (Silent::new(), listening());
        let socket = open();
        give_up(&socket, &silent.address).await;
        let _room = silent.answer();
        wait_for_success(&socket);
        assert_eq!(socket.peer_addr().unwrap(), silent.address, "nobody was told");
        socket.connect(&address).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
    });
    bounded(|| {
        let (silent, (_listener, address)) = (Silent::new(), listening());
        let socket = open_blocking();
        give_up_blocking(&socket, &silent.address);
        let _room = silent.answer();
        wait_for_success(&socket);
        socket.connect(&address).unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
    });
}

#[test]
fn a_connect_to_the_same_address_goes_on_with_the_one_before() {
    run(async || {
        let silent = Silent::new();
        let socket = open();
        give_up(&socket, &silent.address).await;
        let local = socket.local_addr().unwrap();
        let _room = silent.answer();
        socket.connect(&silent.address).await.unwrap();
        assert_eq!(socket.local_addr().unwrap(), local, "the very attempt");
        assert_code(socket.connect(&silent.address).await, Errno::ISCONN);

        // One that has succeeded before anybody asks again.
        let silent = Silent::new();
        let socket = open();
        give_up(&socket, &silent.address).await;
        let _room = silent.answer();
        wait_for_success(&socket);
        socket.connect(&silent.address).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), silent.address);
    });
    bounded(|| {
        let silent = Silent::new();
        let socket = open_blocking();
        give_up_blocking(&socket, &silent.address);
        let _room = silent.answer();
        socket.connect(&silent.address).unwrap();
        assert_eq!(socket.peer_addr().unwrap(), silent.address);
    });
}

#[test]
fn a_connect_after_one_that_was_given_up_and_has_failed_begins_anew() {
    run(async || {
        let silent = Silent::new();
        let socket = open();
        give_up(&socket, &silent.address).await;
        let address = silent.leave();
        wait_for_success(&socket);
        let _listener = TcpListener::bind(address.socket_addr().unwrap());
        match _listener {
            Ok(_) => socket.connect(&address).await.unwrap(),
            // Its old connection may hold the address for a while.
            Err(_) => assert_code(socket.connect(&address).await, Errno::CONNREFUSED),
        }
    });
}

#[test]
fn after_a_refusal_the_next_connect_is_one_like_any_other() {
    run(async || {
        let ((_refusing, refused), (_listener, address)) = (refusing(), listening());
        let socket = open();
        for _ in 0..5 {
            assert_code(socket.connect(&refused).await, Errno::CONNREFUSED);
        }
        socket.connect(&address).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
        socket.send_all(b"x").await.unwrap();
    });
    bounded(|| {
        let ((_refusing, refused), (_listener, address)) = (refusing(), listening());
        let socket = open_blocking();
        for _ in 0..5 {
            assert_code(socket.connect(&refused), Errno::CONNREFUSED);
        }
        socket.connect(&address).unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
        socket.send_all(b"x").unwrap();
    });
}

#[test]
fn a_connected_socket_refuses_another_address_and_stays_connected() {
    run(async || {
        let ((listener, first), (_other, second)) = (listening(), listening());
        let socket = open();
        socket.connect(&first).await.unwrap();
        for _ in 0..3 {
            assert_code(socket.connect(&second).await, Errno::ISCONN);
        }
        assert_eq!(socket.peer_addr().unwrap(), first);
        socket.send_all(b"x").await.unwrap();
        let mut byte = [0];
        listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
        // Converted from a regular one, whose connecting nobody has told us of.
        let regular = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        regular.set_nonblocking(true).unwrap();
        let _ = regular.connect(&first.socket_addr().unwrap().into());
        wait_for_success(&regular);
        let socket = AsyncSocket::new(regular).unwrap();
        assert_code(socket.connect(&second).await, Errno::ISCONN);
        assert_eq!(socket.peer_addr().unwrap(), first);
    });
    bounded(|| {
        let ((_listener, first), (_other, second)) = (listening(), listening());
        let socket = open_blocking();
        socket.connect(&first).unwrap();
        for _ in 0..3 {
            assert_code(socket.connect(&second), Errno::ISCONN);
        }
        assert_eq!(socket.peer_addr().unwrap(), first);
    });
}

#[test]
fn an_attempt_that_was_begun_elsewhere_is_not_taken_for_ours() {
    run(async || {
        let (silent, (_listener, address)) = (Silent::new(), listening());
        let regular = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        regular.set_nonblocking(true).unwrap();
        let _ = regular.connect(&silent.address.socket_addr().unwrap().into());
        let socket = AsyncSocket::new(regular).unwrap();
        socket.connect(&address).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
    });
}

/// A connect and a reader wait; the attempt is refused.
#[test]
fn a_refusal_is_told_to_the_connect_and_to_the_readers() {
    run(async || {
        let silent = Silent::new();
        let socket = open();
        let to = silent.address.clone();
        let writer = socket.clone();
        let connecting = started(async move { writer.connect(to).await }).await;
        let mut readers = Vec::new();
        for _ in 0..3 {
            let reader = socket.clone();
            readers.push(started(async move { reader.recv(&mut [0; 8]).await }).await);
        }
        silent.leave();
        assert_code(connecting.await.unwrap(), Errno::CONNREFUSED);
        for reader in readers {
            assert_code(reader.await.unwrap(), Errno::CONNREFUSED);
        }
    });
    bounded(|| {
        let silent = Silent::new();
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
        silent.leave();
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
        let silent = Silent::new();
        let socket = open();
        let (to, writer) = (silent.address.clone(), socket.clone());
        let connecting = started(async move { writer.connect(to).await }).await;
        silent.leave();
        wait_for_success(&socket);
        // Before the scheduler hears of it.
        let taken = socket.take_error().unwrap().unwrap();
        assert_eq!(taken.kind(), ErrorKind::ConnectionRefused);
        assert_code(connecting.await.unwrap(), Errno::CONNREFUSED);

        // Taken behind our back, its reason is lost, but not that it has failed.
        let silent = Silent::new();
        let socket = open();
        let (to, writer) = (silent.address.clone(), socket.clone());
        let connecting = started(async move { writer.connect(to).await }).await;
        silent.leave();
        wait_for_success(&socket);
        socket.options().take_error().unwrap().unwrap();
        assert_code(connecting.await.unwrap(), Errno::CONNABORTED);
    });
}

#[test]
fn a_reader_waits_on_while_another_address_is_tried() {
    run(async || {
        let (silent, (listener, address)) = (Silent::new(), listening());
        let socket = open();
        give_up(&socket, &silent.address).await;
        let reader = socket.clone();
        let reading = started(async move { reader.recv_bytes(8).await }).await;
        socket.connect(&address).await.unwrap();
        settle().await;
        listener.accept().unwrap().0.write_all(b"at last").unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), "at last");
    });
}

#[test]
fn a_second_connect_stands_in_line_behind_the_first() {
    run(async || {
        let silent = Silent::new();
        let socket = open();
        let (to, first) = (silent.address.clone(), socket.clone());
        let first = started(async move { first.connect(to).await }).await;
        let (to, second) = (silent.address.clone(), socket.clone());
        let second = started(async move { second.connect(to).await }).await;
        let _room = silent.answer();
        first.await.unwrap().unwrap();
        assert_code(second.await.unwrap(), Errno::ISCONN);
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
        let (_refusing, refused) = refusing();
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
        let (_refusing, refused) = refusing();
        let tls = crate::tls::localhost().1;
        let error = AsyncSocket::create_tls_connection(&refused, &tls).await.unwrap_err();
        assert_eq!(os_code(&error), Some(Errno::CONNREFUSED.raw_os_error()));
        let text = error.to_string();
        assert_eq!(text.matches(&refused.to_string()).count(), 1, "{text}");
        assert!(!text.contains("create_connection"), "{text}");
    });
}
