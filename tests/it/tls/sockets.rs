//! TLS sockets: configuration, limits on handshakes, parts, timeouts, records and reloading.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    pin::pin,
    thread,
    time::Duration,
};

use asyncoro::{AsyncSocket, Tls, TlsVersion, coro, error};

use super::{
    both, each_version, listening, listening_blocking, localhost_by, run_each_version, secured_by,
    speaking,
};
use crate::pairs::{Kind, inner, narrow, pair, poll_once, raw, settle, started};

const SHORT: Duration = Duration::from_millis(50);

fn kind(version: TlsVersion) -> Kind {
    match version {
        TlsVersion::V1_2 => Kind::Tls12,
        _ => Kind::Tls,
    }
}

#[test]
fn with_tls_is_for_sockets_that_will_connect_or_listen() {
    run_each_version(async |version| {
        let (server, client) = localhost_by(version);
        let (listener, port) = listening(&server).await;
        let serving =
            coro::spawn(async move { listener.accept().await.unwrap().0.recv_msg().await });
        let socket = AsyncSocket::open(socket2::Domain::IPV4, socket2::Type::STREAM).unwrap();
        let socket = socket.with_tls(&client).unwrap();
        socket.connect(("localhost", port)).await.unwrap();
        socket.send_msg(b"hi").await.unwrap();
        assert_eq!(serving.await.unwrap().unwrap().unwrap(), "hi");

        let (near, _far) = pair(Kind::Tcp4);
        assert_eq!(near.with_tls(&client).unwrap_err().kind(), ErrorKind::InvalidInput);
        let datagrams = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        assert_eq!(datagrams.with_tls(&client).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_configuration_of_the_wrong_role_is_refused_before_anything_is_connected() {
    run_each_version(async |version| {
        let (server, client) = localhost_by(version);
        let listener = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = || AsyncSocket::open(socket2::Domain::IPV4, socket2::Type::STREAM).unwrap();
        let socket = open().with_tls(&server).unwrap();
        let refused = socket.connect(&address).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
        let socket = open().into_blocking().await.unwrap().with_tls(&server).unwrap();
        let refused = socket.connect(&address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
        {
            let accepting = pin!(listener.accept());
            assert!(poll_once(accepting).is_pending(), "nobody has connected");
        }

        let listener = listener.with_tls(&client).unwrap();
        assert_eq!(listener.accept().await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let listener = listener.into_blocking().await.unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_blocking_listener_counts_the_handshakes_that_fail_in_first_verbs() {
    each_version(|version| {
        let (server, _) = localhost_by(version);
        let (listener, port) = listening_blocking(&server.handshake_timeout(SHORT));
        let silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let socket = listener.accept().unwrap().0;
        assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        socket.recv(&mut [0]).unwrap_err();
        assert_eq!(listener.failed_handshakes(), 1, "once for each connection");
        drop(silent);
        TcpStream::connect(("127.0.0.1", port)).unwrap().write_all(b"GET / HTTP/1.0\r\n").unwrap();
        let socket = listener.accept().unwrap().0;
        while socket.try_recv(&mut [0]).unwrap_err().kind() == ErrorKind::WouldBlock {
            thread::yield_now();
        }
        assert_eq!(listener.failed_handshakes(), 2, "a try_ verb shakes hands, too");
    });
}

#[test]
fn so_many_handshakes_as_were_asked_for_are_under_way_at_once() {
    run_each_version(async |version| {
        let (server, client) = localhost_by(version);
        let (listener, port) = listening(&server.handshakes(2)).await;
        let silent: Vec<_> =
            (0..3).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        let serving = coro::spawn(async move {
            let accepted = listener.accept().await.unwrap().0;
            (listener.failed_handshakes(), accepted)
        });
        let to = ("localhost", port);
        let socket = AsyncSocket::create_tls_connection(to, &client).await.unwrap();
        // Two of the three made room: one for the third, one for the good one.
        let (failed, _accepted) = serving.await.unwrap();
        assert_eq!(failed, 2);
        drop((silent, socket));
    });
}

#[test]
fn what_was_agreed_on_is_known_of_a_closed_socket_too() {
    run_each_version(async |version| {
        let (near, far) = pair(kind(version));
        far.close().await.unwrap();
        assert_eq!(near.recv(&mut [0]).await.unwrap(), 0);
        near.close().await.unwrap();
        assert_eq!(near.protocol_version(), Some(version));
        assert!(near.peer_closed_cleanly());
        // Our end was closed first, and has not heard of the other's.
        assert!(!far.peer_closed_cleanly());
    });
}

#[test]
fn into_parts_ends_tls_and_gives_what_was_said() {
    run_each_version(async |version| {
        let (near, far) = pair(kind(version));
        near.send_all(b"line\nrest of it").await.unwrap();
        assert_eq!(far.recv_until(b"\n", 100).await.unwrap(), "line\n");
        let mut first = [0; 4];
        far.recv_all(&mut first).await.unwrap();
        let (mut regular, rest) = far.into_parts().await.unwrap();
        assert_eq!((&first, &rest[..]), (b"rest", &b" of it"[..]));
        assert_eq!(near.recv(&mut [0; 9]).await.unwrap(), 0);
        assert!(near.peer_closed_cleanly());
        // The regular socket is one like any other.
        let (mut plain, _) = near.into_parts().await.unwrap();
        regular.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut left = Vec::new();
        plain.write_all(b"plain").unwrap();
        drop(plain);
        regular.read_to_end(&mut left).unwrap();
        assert!(left.ends_with(b"plain"), "{left:?}");
    });
}

#[test]
fn timeouts_count_without_progress_and_lose_nothing() {
    run_each_version(async |version| {
        let (near, far) = narrow(kind(version));
        far.set_timeout(Some(Duration::from_millis(30)));
        near.send_all(b"abc").await.unwrap();
        let cut = far.recv_all_bytes(6).await.unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::TimedOut);
        near.send_all(b"def").await.unwrap();
        assert_eq!(far.recv_all_bytes(6).await.unwrap(), "abcdef");
        // Nobody reads: what does not fit times out, and what had been taken arrives.
        near.set_timeout(Some(Duration::from_millis(30)));
        let mut sent = 0;
        let error = loop {
            match near.send(&[7; 50_000]).await {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let reading =
            coro::spawn(async move { far.recv_all_bytes(sent).await.map(|got| (got, far)) });
        let (got, far) = reading.await.unwrap().unwrap();
        assert!(got.iter().all(|byte| *byte == 7));
        near.set_timeout(None);
        near.send_msg(b"on").await.unwrap();
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "on");
    });
}

/// The event of a later record comes while an earlier one is received in parts.
#[test]
fn a_record_that_comes_while_another_one_is_taken_in_parts_is_not_missed() {
    run_each_version(async |version| {
        let (near, far) = pair(kind(version));
        let mut part = [0; 3];
        let first = started({
            let far = far.clone();
            async move {
                let mut part = [0; 3];
                far.recv_all(&mut part).await.unwrap();
                part
            }
        })
        .await;
        near.send_all(b"abcdef").await.unwrap();
        assert_eq!(&first.await.unwrap(), b"abc");
        near.send_all(b"ghi").await.unwrap();
        settle().await;
        far.recv_all(&mut part).await.unwrap();
        assert_eq!(&part, b"def");
        far.recv_all(&mut part).await.unwrap();
        assert_eq!(&part, b"ghi");
    });
}

/// A message that is sealed but not yet sent is neither withdrawn nor cut off.
#[test]
fn a_message_of_which_only_records_are_left_says_that_its_rest_is_queued() {
    each_version(|version| {
        let (near, far) = raw(Kind::Tcp4);
        near.set_send_buffer_size(32 << 10).unwrap();
        let (near, far) = secured_by(version, near, far);
        near.set_timeout(Some(SHORT));
        let mut accepted = 0;
        let error = loop {
            match near.send_msg(&[7; 30_000]) {
                Ok(()) => accepted += 1,
                Err(error) => break error,
            }
        };
        let timed_out = *inner::<error::TimedOut>(&error).unwrap();
        assert_eq!(timed_out, error::TimedOut { done: 30_004, rest_queued: true });
        near.set_timeout(None);
        let reading = thread::spawn(move || {
            let mut came = 0;
            while let Some(message) = far.recv_msg().unwrap() {
                assert_eq!(message.len(), 30_000);
                came += 1;
            }
            came
        });
        near.close().unwrap();
        assert_eq!(reading.join().unwrap(), accepted + 1);
    });
}

#[test]
fn a_certificate_is_replaced_while_the_server_runs() {
    run_each_version(async |version| {
        let make = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let made = [make(), make()];
        let pem = |at: usize| (made[at].cert.pem(), made[at].signing_key.serialize_pem());
        let (first, second) = (pem(0), pem(1));
        let (tls, _) = speaking(version, both(&first.0, &first.1));
        let (listener, port) = listening(&tls).await;
        let serving = coro::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                drop(socket);
            }
        });
        for (at, chain) in [&first.0, &second.0].into_iter().enumerate() {
            let client = Tls::client().unwrap().ca_from_pem(chain.as_bytes()).unwrap();
            let to = ("localhost", port);
            let socket = AsyncSocket::create_tls_connection(to, &client).await.unwrap();
            assert_eq!(socket.peer_certificates()[0].as_ref(), made[at].cert.der().as_ref());
            tls.reload_from_pem(second.0.as_bytes(), second.1.as_bytes()).unwrap();
        }
        serving.terminate();
    });
}
