//! Sockets themselves: creating, converting, cloning, closing, and the texts of their errors.

use std::{
    future::Future,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    pin::{Pin, pin},
    task::Context,
    time::Duration,
};

use asyncoro::{
    Address, AsyncSocket, BlockingSocket, Refused,
    error::{Unresolved, WrongKind, os_code},
    pool, resolve,
    time::{sleep, timeout},
};
use rustix::fs::{OFlags, fcntl_getfl};
use socket2::{Domain, Socket, Type};

use crate::pairs::{
    BIG, KINDS, Kind, Server, assert_closed, bounded, each, each_plain, half, inner, narrow, pair,
    pattern, poll_once, raw, read_now, run, server, settle, started, statistics,
};

const SHORT: Duration = Duration::from_millis(20);

// ---- made and converted

#[test]
fn any_regular_socket_is_converted_in_the_mode_it_has() {
    let is_blocking = |socket: &dyn AsFd| {
        let flags = fcntl_getfl(socket.as_fd()).unwrap();
        !flags.contains(OFlags::NONBLOCK)
    };
    run(async move || {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let address = listener.local_addr().unwrap();
            let server = AsyncSocket::new(listener).unwrap();
            let stream = TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            assert!(is_blocking(&stream));
            let client = AsyncSocket::new(stream).unwrap();
            assert!(client.options().tcp_nodelay().unwrap(), "options stay");
            let (accepted, from) = server.accept().await.unwrap();
            assert_eq!(from, client.local_addr().unwrap());
            assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
            client.send_msg(b"hi").await.unwrap();
            assert_eq!(accepted.recv_msg().await.unwrap().unwrap(), "hi");
            timeout(SHORT, client.recv_bytes(1)).await.unwrap_err();
            assert!(is_blocking(&client), "it may be shared with blocking code");
        }
        let (near, far) = UnixStream::pair().unwrap();
        let (near, far) = (AsyncSocket::new(near).unwrap(), OwnedFd::from(far));
        let far = AsyncSocket::new(far).unwrap();
        near.send_msg(b"unix").await.unwrap();
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "unix");
        AsyncSocket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        AsyncSocket::new(Socket::new(Domain::IPV6, Type::STREAM, None).unwrap()).unwrap();
        let path = std::env::temp_dir().join(format!("asyncoro-{}", std::process::id()));
        let unix = AsyncSocket::new(UnixListener::bind(&path).unwrap()).unwrap();
        assert_eq!(unix.local_addr().unwrap().as_path(), Some(&*path));
        let client = AsyncSocket::create_connection(path.as_path()).await.unwrap();
        unix.accept().await.unwrap();
        let again = AsyncSocket::create_server(path.as_path()).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AddrInUse);
        assert!(again.to_string().contains(path.to_str().unwrap()), "{again}");
        drop(client);
        std::fs::remove_file(&path).unwrap();
        let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let error = AsyncSocket::new(file()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(88), "ENOTSOCK");
        let error = BlockingSocket::new(file()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(88), "ENOTSOCK");
    });
    // The blocking face, in each mode.
    bounded(move || {
        for kind in [Kind::Tcp4, Kind::Tcp6, Kind::Unix] {
            for blocks in [true, false] {
                let (near, far) = raw(kind);
                near.set_nonblocking(!blocks).unwrap();
                near.set_linger(Some(Duration::from_secs(7))).unwrap();
                let (near, far) =
                    (BlockingSocket::new(near).unwrap(), BlockingSocket::new(far).unwrap());
                near.set_timeout(Some(SHORT));
                assert_eq!(near.recv_bytes(1).unwrap_err().kind(), ErrorKind::TimedOut);
                assert_eq!(is_blocking(&near), blocks, "{kind:?}");
                let linger = near.options().linger().unwrap();
                assert_eq!(linger, Some(Duration::from_secs(7)), "{kind:?}: options stay");
                near.send_msg(b"hi").unwrap();
                assert_eq!(far.recv_msg().unwrap().unwrap(), "hi");
                let (near, _) = near.into_parts().unwrap();
                assert_eq!(is_blocking(&near), blocks, "{kind:?}");
            }
        }
    });
}

#[test]
fn open_bind_and_listen_are_those_of_bsd() {
    run(async || {
        let unix = format!("@asyncoro-open-{}", std::process::id());
        for (domain, any) in
            [(Domain::IPV4, "127.0.0.1:0"), (Domain::IPV6, "[::1]:0"), (Domain::UNIX, &*unix)]
        {
            let server = AsyncSocket::open(domain, Type::STREAM).unwrap();
            server.options().set_reuse_address(true).unwrap();
            server.bind(any).unwrap();
            server.listen(16).unwrap();
            let client = AsyncSocket::open(domain, Type::STREAM).unwrap();
            assert_eq!(client.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
            client.connect(server.local_addr().unwrap()).await.unwrap();
            let (accepted, _) = server.accept().await.unwrap();
            client.send_all(b"x").await.unwrap();
            assert_eq!(accepted.recv_bytes(9).await.unwrap(), "x");
            assert!(client.take_error().unwrap().is_none());
            let error = client.bind("localhost:0").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            let error = AsyncSocket::open(domain, Type::STREAM).unwrap().accept().await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput, "it does not listen");
            let name = if domain == Domain::UNIX { "Unix stream socket" } else { "TCP socket" };
            assert!(format!("{client:?}").contains(name), "{client:?}");
        }
    });
}

#[test]
fn every_form_of_an_address_connects() {
    run(async || {
        let server = AsyncSocket::create_server("localhost:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let port = address.port().unwrap();
        let std = address.socket_addr().unwrap();
        let sockets = [
            AsyncSocket::create_connection(&address).await,
            AsyncSocket::create_connection(std).await,
            AsyncSocket::create_connection((std.ip(), port)).await,
            AsyncSocket::create_connection(("localhost", port)).await,
            AsyncSocket::create_connection(format!("localhost:{port}")).await,
            AsyncSocket::create_connection(&*std.to_string()).await,
        ];
        for socket in sockets {
            let socket = socket.unwrap();
            assert_eq!(socket.peer_addr().unwrap(), address);
            server.accept().await.unwrap();
        }
        let by_name = AsyncSocket::open(
            if std.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 },
            Type::STREAM,
        )
        .unwrap();
        by_name.connect(("localhost", port)).await.unwrap();
        assert!(!resolve::resolve("localhost", 1).await.unwrap().is_empty());
    });
}

#[test]
fn servers_and_connections_have_the_written_defaults() {
    each_plain(async |kind| {
        let server = server(kind).await;
        let client = AsyncSocket::create_connection(server.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = server.accept().await.unwrap();
        if kind != Kind::Unix {
            assert!(server.options().reuse_address().unwrap());
            assert!(client.options().tcp_nodelay().unwrap());
            assert!(accepted.options().tcp_nodelay().unwrap());
        }
        for socket in [&server, &client, &accepted] {
            let flags = rustix::io::fcntl_getfd(socket.as_fd()).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
    });
}

#[test]
fn an_accepted_socket_inherits_the_message_limit_and_no_timeout() {
    each_plain(async |kind| {
        let server = server(kind).await;
        server.set_timeout(Some(SHORT));
        server.set_message_limit(3);
        assert_eq!(server.accept().await.unwrap_err().kind(), ErrorKind::TimedOut);
        let client = AsyncSocket::create_connection(server.local_addr().unwrap()).await.unwrap();
        let (accepted, from) = server.accept().await.unwrap();
        assert_eq!(from, client.local_addr().unwrap());
        assert_eq!(accepted.timeout(), None);
        client.send_msg(b"four").await.unwrap();
        assert_eq!(accepted.recv_msg().await.unwrap_err().kind(), ErrorKind::InvalidData);
    });
}

#[test]
fn accept_goes_on_after_clients_that_left() {
    each(async |kind| {
        let server = Server::new(kind).await;
        let address = server.socket.local_addr().unwrap();
        for _ in 0..3 {
            // Without TLS, since it leaves before its handshake.
            let client = AsyncSocket::create_connection(&address).await.unwrap();
            if kind != Kind::Unix {
                client.options().set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
        settle().await;
        let other = server.clone();
        let client = asyncoro::spawn(async move {
            let client = other.connect().await.unwrap();
            client.send_all(b"here").await.unwrap();
            client
        });
        loop {
            let (accepted, _) = server.socket.accept().await.unwrap();
            match accepted.recv_bytes(9).await {
                Ok(bytes) if bytes == "here" => break,
                Ok(bytes) => assert_eq!(bytes, ""),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
            assert!(kind.is_plain(), "who has not shaken hands does not come out");
        }
        drop(client.await.unwrap());
    });
}

// ---- taken apart

#[test]
fn into_parts_gives_the_socket_in_its_mode_and_every_byte_received() {
    each_plain(async |kind| {
        let (near, mut far) = half(kind);
        far.write_all(b"line\nrest of it").unwrap();
        assert_eq!(near.recv_until(b"\n", 100).await.unwrap(), "line\n");
        let number = near.as_fd().as_raw_fd();
        near.send_msg(b"queued").await.unwrap();
        let (mut socket, rest) = near.into_parts().await.unwrap();
        assert_eq!(rest, "rest of it");
        assert_eq!(socket.as_raw_fd(), number);
        assert_eq!(read_now(&far), b"\0\0\0\x06queued");
        far.write_all(b"blocking").unwrap();
        let mut buffer = [0; 8];
        socket.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"blocking");
        assert_eq!(statistics().sockets, 0);
        // O_NONBLOCK, set for connecting, is taken back.
        let server = server(kind).await;
        let client = AsyncSocket::create_connection(server.local_addr().unwrap()).await.unwrap();
        assert!(fcntl_getfl(client.as_fd()).unwrap().contains(OFlags::NONBLOCK));
        let (socket, rest) = client.into_parts().await.unwrap();
        assert!(!fcntl_getfl(&socket).unwrap().contains(OFlags::NONBLOCK));
        assert_eq!(rest, "");
    });
}

#[test]
fn a_socket_whose_close_was_dropped_is_not_taken_apart() {
    each(async |kind| {
        let (near, _far) = narrow(kind);
        near.try_send_msg(&pattern(BIG).into()).unwrap();
        assert!(poll_once(pin!(near.close())).is_pending(), "what is queued does not fit");
        assert_closed(near.into_parts().await.map_err(std::io::Error::from));
    });
}

#[test]
fn a_socket_with_clones_is_not_taken_apart() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        let clone = near.clone();
        let Refused { socket, error } = near.into_parts().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
        let Refused { socket, .. } = socket.into_blocking().await.unwrap_err();
        // At once, also while the clone has the turn.
        let sender = started(async move { clone.send_all(&pattern(BIG)).await }).await;
        let refused = timeout(Duration::from_secs(2), socket.into_parts()).await;
        let Refused { socket, .. } = refused.expect("at once").unwrap_err();
        assert_eq!(far.recv_all_bytes(BIG).await.unwrap(), pattern(BIG));
        sender.await.unwrap().unwrap();
        socket.send_all(b"unharmed").await.unwrap();
        assert_eq!(far.recv_all_bytes(8).await.unwrap(), "unharmed");
        socket.into_parts().await.unwrap();
        let (near, _far) = pair(kind);
        near.close().await.unwrap();
        let refused = near.into_blocking().await.unwrap_err();
        assert_closed(Err::<(), _>(refused.into()));
    });
}

#[test]
fn there_and_back_to_blocking_loses_nothing() {
    each(async |kind| {
        let (near, far) = pair(kind);
        far.send_msg(b"first").await.unwrap();
        far.send_msg(b"second").await.unwrap();
        assert_eq!(near.recv_msg().await.unwrap().unwrap(), "first");
        near.send_msg(b"queued").await.unwrap();
        near.set_message_limit(1000);
        let blocking = near.into_blocking().await.unwrap();
        let blocking = pool::run(move || {
            assert_eq!(blocking.recv_msg().unwrap().unwrap(), "second");
            blocking.send_msg(b"in a thread").unwrap();
            blocking
        })
        .await;
        far.send_msg(b"third").await.unwrap();
        settle().await;
        let near = blocking.into_async().unwrap();
        assert_eq!(near.recv_msg().await.unwrap().unwrap(), "third");
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "queued");
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "in a thread");
        drop(near);
        assert_eq!(far.recv_msg().await.unwrap(), None);
    });
}

// ---- closed

#[test]
fn close_acts_for_all_clones_and_every_verb_says_so() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let clone = near.clone();
        clone.close().await.unwrap();
        clone.close().await.unwrap();
        near.close().await.unwrap();
        let to = "127.0.0.1:1";
        assert_closed(near.recv(&mut [0]).await);
        assert_closed(near.recv_msg().await);
        assert_closed(near.recv_msg_into(&mut Vec::new()).await);
        assert_closed(near.recv_vectored(&mut []).await);
        assert_closed(near.send_vectored(&[b"x"]).await);
        assert_closed(near.send_queued(b"x").await);
        assert_closed(near.accept().await.map(drop));
        assert_closed(near.connect(to).await);
        assert_closed(near.shutdown(Shutdown::Read).await);
        assert_closed(near.shutdown(Shutdown::Both).await);
        assert_closed(near.try_recv(&mut [0]));
        assert_closed(near.try_send(b"x"));
        assert_closed(near.try_send_msg(&"x".into()));
        assert_closed(near.try_send_queued(b"x"));
        assert_closed(near.local_addr());
        assert_closed(near.peer_addr());
        assert_closed(near.bind(to));
        assert_closed(near.listen(1));
        assert_closed(near.take_error());
        assert_eq!(far.recv_bytes(9).await.unwrap(), "", "the peer sees the end at once");
        assert_eq!(statistics().sockets, 0);
    });
}

#[test]
fn a_dropped_close_still_sends_what_is_queued() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        near.try_send_msg(&pattern(BIG).into()).unwrap();
        timeout(SHORT, near.close()).await.unwrap_err();
        assert_closed(near.send_all(b"x").await);
        drop(near);
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), pattern(BIG));
        assert_eq!(far.recv_msg().await.unwrap(), None);
    });
}

#[test]
fn close_under_a_timeout_gives_up_on_a_peer_that_does_not_read() {
    each(async |kind| {
        let (near, _far) = narrow(kind);
        near.try_send_msg(&pattern(BIG).into()).unwrap();
        near.set_timeout(Some(SHORT));
        assert_eq!(near.close().await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_closed(near.flush().await);
        assert_eq!(statistics().sockets, 0);
    });
}

// ---- registration

#[test]
fn a_socket_is_registered_once_when_it_first_waits() {
    each(async |kind| {
        let (near, far) = pair(kind);
        near.send_all(b"x").await.unwrap();
        assert_eq!(far.recv_bytes(9).await.unwrap(), "x");
        assert_eq!(statistics().sockets, 0, "nothing had to wait");
        timeout(Duration::from_millis(1), far.recv_bytes(9)).await.unwrap_err();
        timeout(Duration::from_millis(1), far.recv_msg()).await.unwrap_err();
        assert_eq!(statistics().sockets, 1);
        drop(far);
        assert_eq!(statistics().sockets, 0);
    });
}

#[test]
fn an_idle_unix_writer_costs_no_events() {
    run(async || {
        let (near, far) = narrow(Kind::Unix);
        let sender = started({
            let near = near.clone();
            async move { near.send_all(&pattern(BIG)).await }
        })
        .await;
        far.recv_all_bytes(BIG).await.unwrap();
        sender.await.unwrap().unwrap();
        settle().await;
        let before = statistics().events;
        for _ in 0..20 {
            near.send_all(b"x").await.unwrap();
            far.recv_bytes(1).await.unwrap();
            settle().await;
        }
        let events = statistics().events - before;
        assert!(events <= 24, "{events} events: OUT is watched only while a writer waits");
    });
}

// ---- errors

#[test]
fn errors_of_creating_name_verb_host_and_port_and_keep_the_code() {
    run(async || {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let before = statistics().sockets;
        for address in [free.to_string(), format!("localhost:{}", free.port())] {
            let error = AsyncSocket::create_connection(&address).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert_eq!(os_code(&error), Some(111));
            let text = error.to_string();
            assert!(text.contains("create_connection") && text.contains(&address), "{text}");
        }
        assert_eq!(statistics().sockets, before, "no registration is left");
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = AsyncSocket::create_server(&address).await.unwrap_err();
        assert_eq!((error.kind(), os_code(&error)), (ErrorKind::AddrInUse, Some(98)));
        let text = error.to_string();
        assert!(text.contains("create_server") && text.contains(&address), "{text}");
        let error = AsyncSocket::create_connection("no-such-host.invalid:7").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let text = error.to_string();
        assert!(text.contains("no-such-host.invalid") && text.contains('7'), "{text}");
        let found =
            std::iter::successors(error.get_ref().map(|e| e as &dyn std::error::Error), |e| {
                e.source()
            })
            .find_map(|error| {
                let inner = error.downcast_ref::<std::io::Error>().and_then(inner::<Unresolved>);
                inner.or_else(|| error.downcast_ref::<Unresolved>())
            });
        let unresolved = found.expect("the typed reason is inside");
        assert_eq!(unresolved.host, "no-such-host.invalid");
        assert!(unresolved.code < 0);
        let socket = AsyncSocket::open(Domain::IPV4, Type::STREAM).unwrap();
        let error = socket.connect(free).await.unwrap_err();
        assert_eq!(os_code(&error), Some(111));
    });
}

#[test]
fn verbs_on_the_wrong_kind_of_socket_name_both() {
    run(async || {
        let udp = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        let (stream, _peer) = pair(Kind::Unix);
        let to: Address = udp.local_addr().unwrap();
        let errors = [
            ("recv_msg", udp.recv_msg().await.unwrap_err()),
            ("recv_msg_into", udp.recv_msg_into(&mut Vec::new()).await.unwrap_err()),
            ("send_msg", udp.send_msg(b"").await.unwrap_err()),
            ("send_queued", udp.send_queued(b"").await.unwrap_err()),
            ("try_send_msg", udp.try_send_msg(&"".into()).unwrap_err()),
            ("recv_all", udp.recv_all(&mut [0]).await.unwrap_err()),
            ("recv_all_bytes", udp.recv_all_bytes(1).await.unwrap_err()),
            ("recv_until", udp.recv_until(b"\n", 9).await.unwrap_err()),
            ("recv_line", udp.recv_line(9).await.unwrap_err()),
            ("send_all", udp.send_all(b"x").await.unwrap_err()),
            ("accept", udp.accept().await.map(drop).unwrap_err()),
            ("recv_from", stream.recv_from(&mut [0]).await.map(drop).unwrap_err()),
            ("send_to", stream.send_to(b"x", &to).await.unwrap_err()),
        ];
        for (verb, error) in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{verb}: {error:?}");
            let wrong = inner::<WrongKind>(&error).expect("a typed inner error");
            assert_eq!(wrong.verb, verb);
            let datagrams = ["recv_from", "send_to"].contains(&verb);
            let socket = if datagrams { "Unix stream socket" } else { "UDP socket" };
            assert_eq!(wrong.socket, socket, "{verb}");
            let text = error.to_string();
            assert!(text.contains(verb) && text.contains(wrong.socket), "{text}");
        }
    });
}

// ---- outside a scheduler

/// Polls `future` outside a scheduler and returns the text of its panic.
fn panic_of<F: Future>(future: F) -> String {
    let mut future = Box::pin(future);
    let polled = std::panic::AssertUnwindSafe(|| {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        Pin::as_mut(&mut future).poll(cx).is_ready()
    });
    let payload = std::panic::catch_unwind(polled).expect_err("a panic");
    payload.downcast_ref::<String>().expect("a text").clone()
}

#[test]
fn verbs_outside_a_scheduler_panic_even_if_they_could_finish_at_once() {
    bounded(|| {
        for kind in KINDS.iter().copied() {
            let (near, mut far) = half(kind);
            far.write_all(b"\0\0\0\x01x and more").unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let texts = [
                ("recv_msg", panic_of(near.recv_msg())),
                ("recv", panic_of(near.recv(&mut [0]))),
                ("send_msg", panic_of(near.send_msg(b"x"))),
                ("send_all", panic_of(near.send_all(b"x"))),
                ("flush", panic_of(near.flush())),
                ("readable", panic_of(near.readable())),
                ("shutdown", panic_of(near.shutdown(Shutdown::Read))),
                ("shutdown", panic_of(near.shutdown(Shutdown::Write))),
                ("close", panic_of(near.close())),
                ("create_server", panic_of(AsyncSocket::create_server("127.0.0.1:0"))),
                ("create_datagram", panic_of(AsyncSocket::create_datagram("127.0.0.1:0"))),
                ("create_connection", panic_of(AsyncSocket::create_connection(address))),
                ("sleep", panic_of(sleep(Duration::ZERO))),
            ];
            for (verb, text) in texts {
                assert!(text.contains(verb) && text.contains("asyncoro::run"), "{verb}: {text}");
            }
            // Nothing was done: the bytes are all there.
            let got = asyncoro::run(async { near.recv_msg().await.unwrap().unwrap() });
            assert_eq!(got, "x");
        }
    });
}

#[test]
fn synchronous_calls_work_outside_a_scheduler() {
    bounded(|| {
        let server = AsyncSocket::open(Domain::IPV4, Type::STREAM).unwrap();
        server.bind("127.0.0.1:0").unwrap();
        server.listen(1).unwrap();
        server.set_timeout(Some(SHORT));
        server.set_message_limit(1);
        server.set_coalescing(false);
        server.options().set_reuse_address(true).unwrap();
        assert!(server.take_error().unwrap().is_none());
        for kind in KINDS.iter().copied() {
            let (near, far) = pair(kind);
            assert_eq!(near.try_send(b"abc").unwrap(), 3);
            let mut buffer = [0; 9];
            assert_eq!(far.try_recv(&mut buffer).unwrap(), 3);
            assert_eq!(near.clone().try_send(b"de").unwrap(), 2);
            assert_eq!(far.try_recv(&mut buffer).unwrap(), 2);
            assert_eq!(far.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
            drop(near);
            assert_eq!(far.try_recv(&mut buffer).unwrap(), 0);
        }
    });
}

#[test]
fn a_socket_made_outside_moves_from_a_thread_into_a_coroutine() {
    bounded(|| {
        for kind in KINDS.iter().copied() {
            let (near, far) = raw(kind);
            let far = BlockingSocket::new(far).unwrap();
            let other = std::thread::spawn(move || far.recv_msg().unwrap().unwrap());
            let near = AsyncSocket::new(near).unwrap();
            asyncoro::run(async { near.send_msg(b"from a coroutine").await.unwrap() });
            assert_eq!(other.join().unwrap(), "from a coroutine");
        }
    });
}

// ---- what may cross threads

/// Checks that `AsyncSocket` is neither `Send` nor `Sync`: if it were, `of` would be ambiguous.
#[allow(dead_code, reason = "it only has to compile")]
trait AmbiguousIfSend<T> {
    fn of() {}
}
impl<T: ?Sized> AmbiguousIfSend<()> for T {}
impl<T: ?Sized + Send> AmbiguousIfSend<u8> for T {}
impl<T: ?Sized + Sync> AmbiguousIfSend<u16> for T {}

const _: fn() = || {
    <AsyncSocket as AmbiguousIfSend<_>>::of();
};

const _: () = {
    const fn crosses_threads<T: Send + Sync + Clone>() {}
    crosses_threads::<BlockingSocket>();
    const fn is_cloned<T: Clone>() {}
    is_cloned::<AsyncSocket>();
};

// ---- the limit of open files

/// Runs the test of this name in a process of its own, where it may lower limits.
fn in_child(name: &str, body: impl FnOnce()) {
    const MARK: &str = "ASYNCORO_TEST_CHILD";
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
}

#[test]
fn making_a_blocking_socket_takes_no_descriptor_but_its_own() {
    in_child("socket::making_a_blocking_socket_takes_no_descriptor_but_its_own", || {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        let limit = Rlimit { current: Some(used + 8), ..getrlimit(Resource::Nofile) };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut fillers = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            fillers.push(file);
        }
        fillers.pop();
        let server = BlockingSocket::create_server("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        fillers.pop();
        let client = BlockingSocket::create_connection(address).unwrap();
        fillers.pop();
        let (accepted, _) = server.accept().unwrap();
        client.send_all(b"x").unwrap();
        assert_eq!(accepted.recv_bytes(9).unwrap(), "x");
        fillers.pop();
        drop(BlockingSocket::create_datagram("127.0.0.1:0").unwrap());
    });
}

#[test]
fn accept_at_the_file_limit_neither_spins_nor_dies() {
    in_child("socket::accept_at_the_file_limit_neither_spins_nor_dies", || {
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        each(move |kind| async move {
            rustix::process::setrlimit(rustix::process::Resource::Nofile, most).unwrap();
            let clients = Server::new(kind).await;
            let server = clients.socket.clone();
            let address = server.local_addr().unwrap();
            // Their descriptors are there, but they are not connected yet.
            let [waiting, another] = [clients.open(), clients.open()];
            let connecting = asyncoro::spawn(async move { clients.connect().await });
            let (accepted_first, _) = server.accept().await.unwrap();
            let first = connecting.await.unwrap().unwrap();
            // No descriptor is left for the connection that waits.
            let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
            let limit = rustix::process::Rlimit { current: Some(used + 8), ..most };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
            let mut fillers = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                fillers.push(file);
            }
            let accepting = started({
                let server = server.clone();
                async move { server.accept().await }
            })
            .await;
            let to = address.clone();
            let connecting = started(async move { waiting.connect(&to).await.map(|()| waiting) });
            let connecting = connecting.await;
            let before = statistics();
            sleep(Duration::from_millis(150)).await;
            let turns = statistics().turns - before.turns;
            assert!(!accepting.is_finished());
            assert!(turns < 30, "{turns} turns in 150 ms");
            // A socket of ours that is closed lets it go on.
            drop((first, accepted_first));
            let (accepted, _) = accepting.await.unwrap().unwrap();
            let waiting = connecting.await.unwrap().unwrap();
            accepted.send_all(b"x").await.unwrap();
            assert_eq!(waiting.recv_bytes(9).await.unwrap(), "x");
            // So does any other descriptor, within 100 ms.
            while let Ok(file) = std::fs::File::open("/dev/null") {
                fillers.push(file);
            }
            let accepting = started({
                let server = server.clone();
                async move { server.accept().await }
            })
            .await;
            let connecting =
                started(async move { another.connect(&address).await.map(|()| another) });
            let connecting = connecting.await;
            sleep(Duration::from_millis(10)).await;
            assert!(!accepting.is_finished());
            drop(fillers);
            accepting.await.unwrap().unwrap();
            drop(connecting.await.unwrap().unwrap());
        });
    });
}

#[test]
fn an_unnamed_unix_socket_says_so() {
    let (near, far) = UnixStream::pair().unwrap();
    let (near, _far) = (AsyncSocket::new(near).unwrap(), AsyncSocket::new(far).unwrap());
    let unnamed = asyncoro::Address::from(asyncoro::addr::UnixAddress::unnamed());
    assert_eq!(near.local_addr().unwrap(), unnamed);
    assert_eq!(near.peer_addr().unwrap(), unnamed);
}

#[test]
fn a_closed_sockets_descriptor_is_still_closed_on_exec() {
    run(async || {
        let socket = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        socket.close().await.unwrap();
        let flags = rustix::io::fcntl_getfd(&socket).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    });
}
