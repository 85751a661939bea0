//! Streams that come byte by byte, are cut off, or are not TLS.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use asyncoro::{AsyncSocket, BlockingSocket, coro};
use rustls::Error;

use super::{
    ask, ask_blocking, certificates::inside, each_version, echo, echo_blocking, listening,
    listening_blocking, localhost_by, records::Identity, relay::Relay, run_each_version,
};
use crate::pairs::{LIMIT, run};

#[test]
fn a_handshake_byte_by_byte_is_one_like_any_other() {
    run_each_version(async |version| {
        let (server, client) = localhost_by(version);
        let (listener, port) = listening(&server).await;
        let serving = coro::spawn(async move { echo(&listener.accept().await.unwrap().0).await });
        let between = Relay::new(port, 1);
        let to = ("localhost", between.port);
        ask(&AsyncSocket::create_tls_connection(to, &client).await.unwrap()).await;
        serving.await.unwrap().unwrap();
    });
    each_version(|version| {
        let (server, client) = localhost_by(version);
        let (listener, port) = listening_blocking(&server);
        let serving = thread::spawn(move || echo_blocking(&listener.accept().unwrap().0));
        let between = Relay::new(port, 1);
        let to = ("localhost", between.port);
        ask_blocking(&BlockingSocket::create_tls_connection(to, &client).unwrap());
        serving.join().unwrap().unwrap();
    });
}

/// Checks the error of a verb on a stream that was cut after `sent`.
type Judge = (&'static [u8], fn(&BlockingSocket) -> io::Result<()>, Option<ErrorKind>);

/// For each verb that can receive the end, a check.
const JUDGES: [Judge; 6] = [
    (b"", |socket| socket.recv(&mut [0; 9]).map(|count| assert_eq!(count, 0)), None),
    (b"", |socket| socket.recv_msg().map(drop), Some(ErrorKind::UnexpectedEof)),
    (b"", |socket| socket.recv_line(99).map(drop), Some(ErrorKind::UnexpectedEof)),
    (b"\0\0\0\x05he", |socket| socket.recv_msg().map(drop), Some(ErrorKind::UnexpectedEof)),
    (b"he", |socket| socket.recv_all(&mut [0; 5]), Some(ErrorKind::UnexpectedEof)),
    (b"he", |socket| socket.recv_until(b"\n", 99).map(drop), Some(ErrorKind::UnexpectedEof)),
];

#[test]
fn a_stream_that_is_cut_off_is_not_taken_for_one_that_has_ended() {
    each_version(|version| {
        for (sent, verb, expected) in JUDGES {
            let (server, client) = localhost_by(version);
            let (listener, port) = listening_blocking(&server);
            let between = Relay::new(port, 1000);
            let to = ("localhost", between.port);
            let connecting =
                thread::spawn(move || BlockingSocket::create_tls_connection(to, &client));
            let accepted = listener.accept().unwrap().0;
            accepted.set_timeout(Some(LIMIT));
            accepted.send_all(b"first").unwrap();
            let socket = connecting.join().unwrap().unwrap();
            socket.set_timeout(Some(LIMIT));
            socket.recv_all(&mut [0; 5]).unwrap();
            for end in [&accepted, &socket] {
                end.send_all(sent).unwrap();
            }
            if !sent.is_empty() {
                accepted.peek(&mut [0]).unwrap();
                socket.peek(&mut [0]).unwrap();
            }
            between.cut();
            for end in [accepted, socket] {
                let outcome = verb(&end).map_err(|error| error.kind());
                assert_eq!(outcome.err(), expected);
                assert!(!end.peer_closed_cleanly());
            }
        }
    });
}

#[test]
fn a_coroutine_sees_that_its_stream_was_cut_off() {
    run_each_version(async |version| {
        for (sent, _, expected) in JUDGES {
            let (server, client) = localhost_by(version);
            let (listener, port) = listening(&server).await;
            let between = Relay::new(port, 1000);
            let to = ("localhost", between.port);
            let connecting = coro::spawn(async move {
                AsyncSocket::create_tls_connection(to, &client).await.unwrap()
            });
            let accepted = listener.accept().await.unwrap().0;
            accepted.send_all(b"first").await.unwrap();
            let socket = connecting.await.unwrap();
            socket.recv_all(&mut [0; 5]).await.unwrap();
            for end in [&accepted, &socket] {
                end.send_all(sent).await.unwrap();
            }
            if !sent.is_empty() {
                accepted.peek(&mut [0]).await.unwrap();
                socket.peek(&mut [0]).await.unwrap();
            }
            between.cut();
            for end in [accepted, socket] {
                let outcome = match (sent, expected) {
                    (b"he", _) if end.server_name().is_some() => end.recv_all(&mut [0; 5]).await,
                    (b"he", _) => end.recv_until(b"\n", 99).await.map(drop),
                    (_, None) => end.recv(&mut [0; 9]).await.map(|count| assert_eq!(count, 0)),
                    _ => end.recv_msg().await.map(drop),
                };
                assert_eq!(outcome.map_err(|error| error.kind()).err(), expected);
                assert!(!end.peer_closed_cleanly());
            }
        }
    });
}

#[test]
fn plaintext_on_the_port_of_tls_is_refused_and_the_next_client_served() {
    run_each_version(async |version| {
        let (server, client) = localhost_by(version);
        let (listener, port) = listening(&server).await;
        let serving = coro::spawn(async move {
            echo(&listener.accept().await?.0).await?;
            io::Result::Ok(listener.failed_handshakes())
        });
        // It has what it waits for, an alert and the end, before the next one comes.
        let plain = thread::spawn(move || speak_plainly(port));
        while !plain.is_finished() {
            asyncoro::time::sleep(Duration::from_millis(1)).await;
        }
        plain.join().unwrap();
        let to = ("localhost", port);
        ask(&AsyncSocket::create_tls_connection(to, &client).await.unwrap()).await;
        assert_eq!(serving.await.unwrap().unwrap(), 1);
    });
}

#[test]
fn plaintext_on_a_blocking_connection_of_tls_is_refused_by_each_verb() {
    each_version(|version| {
        let (server, _) = localhost_by(version);
        let (listener, port) = listening_blocking(&server);
        let plain = thread::spawn(move || speak_plainly(port));
        let socket = listener.accept().unwrap().0;
        for _ in 0..2 {
            let error = socket.recv_until(b"\n", 99).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert!(matches!(inside(&error), Error::InvalidMessage(_)), "{error:?}");
        }
        drop(socket);
        plain.join().unwrap();
    });
}

/// Asks for a page without TLS, and reads the alert.
fn speak_plainly(port: u16) {
    let mut plain = TcpStream::connect(("127.0.0.1", port)).unwrap();
    plain.set_read_timeout(Some(LIMIT)).unwrap();
    plain.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.first(), Some(&ALERT), "{answer:?}");
}

/// The content type of an alert (RFC 8446, 5.1).
const ALERT: u8 = 21;

#[test]
fn tls_on_a_plaintext_port_is_an_error_that_names_it() {
    each_version(|version| {
        for (greeting, kind) in [
            (&b"220 at your service\r\n"[..], ErrorKind::InvalidData),
            (b"", ErrorKind::UnexpectedEof),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let serving = thread::spawn(move || {
                for _ in 0..2 {
                    let mut plain = listener.accept().unwrap().0;
                    plain.write_all(greeting).unwrap();
                    // What it was told is read, so that it closes with FIN and not with RST.
                    assert!(plain.read(&mut [0; 9999]).unwrap() > 0);
                }
            });
            let (_, client) = localhost_by(version);
            let blocking = BlockingSocket::create_tls_connection(("localhost", port), &client);
            run(async move || {
                let to = ("localhost", port);
                let tried = AsyncSocket::create_tls_connection(to, &client).await;
                for error in [tried.unwrap_err(), blocking.unwrap_err()] {
                    assert_eq!(error.kind(), kind, "{error:?}");
                    let text = error.to_string();
                    assert!(text.contains(&format!("localhost:{port}")), "{text}");
                }
            });
            serving.join().unwrap();
        }
    });
}

/// The first half of a message that a server may send after the handshake (NewSessionTicket, or in
/// TLS 1.2 HelloRequest) must not prevent sending.
#[test]
fn half_a_message_after_the_handshake_is_no_obstacle_to_sending() {
    each_version(|version| {
        let identity = Identity::new(version);
        let client = identity.both().1;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connecting = thread::spawn(move || {
            BlockingSocket::create_tls_connection(("localhost", port), &client).unwrap()
        });
        let mut peer = identity.accept(&listener);
        let halves = peer.sealer.halves();

        let socket = connecting.join().unwrap();
        socket.set_timeout(Some(Duration::from_millis(50)));
        for half in halves {
            peer.send(&[half]);
            assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
            socket.send_all(b"x").unwrap();
        }
        socket.close().unwrap();
        assert_eq!(peer.read_to_end(), b"xx");
    });
}
