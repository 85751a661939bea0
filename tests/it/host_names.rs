//! Host names in `create_connection` and other verbs. Names with several addresses are tested in
//! `src/socket/make.rs`.

use std::{
    io::{self, ErrorKind},
    net::{TcpListener, UdpSocket},
    time::Duration,
};

use asyncoro::{
    AsyncSocket, BlockingSocket,
    error::{Context, Unresolved, os_code},
    resolve,
    time::{sleep, timeout},
};
use rustix::io::Errno;

use crate::{bounded::run, within::within};

/// Returns a port of 127.0.0.1 without a listener, and a socket that reserves it.
fn closed_port() -> (u16, socket2::Socket) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = "127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap();
    socket.bind(&any.into()).unwrap();
    (socket.local_addr().unwrap().as_socket().unwrap().port(), socket)
}

#[test]
fn a_name_is_resolved_and_connected_to() {
    // On one family only: where the name has addresses of both, the other one is refused.
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = run(resolve::resolve("localhost", port)).unwrap();
        if !found.contains(&listener.local_addr().unwrap()) {
            crate::programs::skipped(format_args!("{address}: localhost has {found:?} alone"));
            continue;
        }
        let text = format!("localhost:{port}");
        run(async {
            AsyncSocket::create_connection(("localhost", port)).await.unwrap();
            AsyncSocket::create_connection(&text).await.unwrap();
        });
        BlockingSocket::create_connection(("localhost", port)).unwrap();
        let peer = BlockingSocket::create_connection(&text).unwrap().peer_addr().unwrap();
        assert_eq!(peer.socket_addr(), Some(listener.local_addr().unwrap()));
    }
}

#[test]
fn a_server_listens_on_a_name_and_connect_takes_one() {
    run(async {
        let server = AsyncSocket::create_server("localhost:0").await.unwrap();
        let address = server.local_addr().unwrap();
        assert!(address.ip().unwrap().is_loopback());
        let domain = match address.ip().unwrap().is_ipv4() {
            true => socket2::Domain::IPV4,
            false => socket2::Domain::IPV6,
        };
        let client = AsyncSocket::open(domain, socket2::Type::STREAM).unwrap();
        client.connect(("localhost", address.port().unwrap())).await.unwrap();
        assert_eq!(server.accept().await.unwrap().1, client.local_addr().unwrap());
    });
}

fn assert_unresolved(result: io::Result<impl Sized>) {
    let Err(error) = result else { panic!("a name that cannot exist was found") };
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(os_code(&error), None);
    let text = error.to_string();
    assert!(text.contains("does-not-exist.invalid"), "{text}");
    let inner = error.get_ref().unwrap();
    let inner = match inner.downcast_ref::<Context>() {
        Some(context) => {
            assert_eq!(context.address, "does-not-exist.invalid:80");
            let source = std::error::Error::source(context).unwrap();
            let source = source.downcast_ref::<io::Error>().unwrap();
            source.get_ref().unwrap().downcast_ref::<Unresolved>()
        }
        None => inner.downcast_ref::<Unresolved>(),
    };
    let inner = inner.expect("the typed inner error");
    assert_eq!(inner.host, "does-not-exist.invalid");
    assert!(inner.code < 0 && !inner.reason.is_empty(), "{inner:?}");
}

#[test]
fn a_name_without_an_address_is_not_found_by_any_verb() {
    let nowhere = ("does-not-exist.invalid", 80);
    run(async move {
        assert_unresolved(AsyncSocket::create_connection(nowhere).await);
        assert_unresolved(AsyncSocket::create_server(nowhere).await);
        let socket = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        assert_unresolved(socket.connect(nowhere).await);
        assert_unresolved(socket.send_to(b"x", nowhere).await);
    });
    within(move || {
        assert_unresolved(BlockingSocket::create_connection(nowhere));
        let socket = BlockingSocket::create_datagram("127.0.0.1:0").unwrap();
        assert_unresolved(socket.connect(nowhere));
        assert_unresolved(socket.send_to(b"x", nowhere));
    });
}

#[test]
fn a_look_up_holds_up_nobody_else() {
    run(async {
        let looking = asyncoro::spawn(resolve::resolve("does-not-exist.invalid", 80));
        // Whatever the resolver does, this one goes on.
        timeout(Duration::from_secs(5), sleep(Duration::from_millis(1))).await.unwrap();
        assert_unresolved(looking.await.unwrap());
    });
}

#[test]
fn an_error_names_verb_host_and_port_and_keeps_the_code() {
    let (port, _kept) = closed_port();
    let refused = move |error: io::Error, shown: &str| {
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(os_code(&error), Some(Errno::CONNREFUSED.raw_os_error()));
        let text = error.to_string();
        assert!(text.starts_with(&format!("create_connection {shown}:{port}: ")), "{text}");
    };
    run(async {
        for host in ["127.0.0.1", "localhost"] {
            let error = AsyncSocket::create_connection((host, port)).await.unwrap_err();
            refused(error, host);
        }
        let socket = AsyncSocket::open(socket2::Domain::IPV4, socket2::Type::STREAM).unwrap();
        let error = socket.connect(("127.0.0.1", port)).await.unwrap_err();
        assert_eq!(os_code(&error), Some(Errno::CONNREFUSED.raw_os_error()));
    });
    within(move || {
        let error = BlockingSocket::create_connection(("localhost", port)).unwrap_err();
        refused(error, "localhost");
    });
}

#[test]
fn a_taken_address_is_named_in_the_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
    run(async {
        let taken = listener.local_addr().unwrap();
        let error = AsyncSocket::create_server(taken).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("create_server {taken}: ")), "{error}");
        let taken = datagram.local_addr().unwrap();
        let error = AsyncSocket::create_datagram(taken).await.unwrap_err();
        assert_eq!(os_code(&error), Some(Errno::ADDRINUSE.raw_os_error()));
        assert!(error.to_string().starts_with(&format!("create_datagram {taken}: ")), "{error}");
    });
}

#[test]
fn what_is_no_address_is_refused_before_anything_is_asked() {
    run(async {
        for text in ["localhost", "::1:80", "localhost:http", "a b:80", "localhost:65536"] {
            let error = AsyncSocket::create_connection(text).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}: {error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    });
}
