//! Ways into TLS and out of it: from the start, in the middle, between the faces, dropped.

use std::{
    io::{ErrorKind, Read, Write},
    thread,
    time::Duration,
};

use asyncoro::{AsyncSocket, BlockingSocket, Tls, coro};

use super::{listening, localhost, secured};
use crate::pairs::{Kind, bounded, narrow, pair, raw, run};

#[test]
fn start_tls_turns_a_conversation_in_the_middle() {
    run(async || {
        let (server, client) = localhost();
        let client = client.server_name("localhost").unwrap();
        let (near, far) = pair(Kind::Tcp4);
        let serving = coro::spawn(async move {
            assert_eq!(far.recv_until(b"\n", 100).await.unwrap(), "STARTTLS\n");
            far.send_queued(b"go\n").await.unwrap();
            far.start_tls(&server).await.unwrap();
            assert_eq!(far.recv_msg().await.unwrap().unwrap(), "secret");
            assert_eq!(far.start_tls(&server).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        });
        near.send_all(b"STARTTLS\n").await.unwrap();
        assert_eq!(near.recv_until(b"\n", 100).await.unwrap(), "go\n");
        near.start_tls(&client).await.unwrap();
        near.send_msg(b"secret").await.unwrap();
        serving.await.unwrap();
    });
}

#[test]
fn start_tls_refuses_bytes_that_came_before_it() {
    let (server, client) = localhost();
    run(async move || {
        let (near, far) = pair(Kind::Tcp4);
        near.send_all(b"STARTTLS\ninjected").await.unwrap();
        assert_eq!(far.recv_until(b"\n", 100).await.unwrap(), "STARTTLS\n");
        let refused = far.start_tls(&server).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
        // What was received is still there, in plain text.
        assert_eq!(far.recv_bytes(100).await.unwrap(), "injected");
    });
    // A client has to know whom it wants.
    let (near, _far) = raw(Kind::Tcp4);
    let near = BlockingSocket::new(near).unwrap();
    let refused = near.start_tls(&client).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("server_name"), "{refused}");
}

#[test]
fn with_tls_is_for_sockets_that_will_connect_or_listen() {
    run(async || {
        let (server, client) = localhost();
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
        // A listener with the configuration of a client.
        let wrong = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
        let wrong = wrong.with_tls(&client).unwrap();
        assert_eq!(wrong.accept().await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_conversation_goes_on_in_the_other_face() {
    run(async || {
        let (near, far) = pair(Kind::Tls);
        near.send_all(b"line\nrest").await.unwrap();
        assert_eq!(far.recv_until(b"\n", 100).await.unwrap(), "line\n");
        let version = far.protocol_version();
        let far = far.into_blocking().await.unwrap();
        assert!(version.is_some() && far.protocol_version() == version);
        let far = thread::spawn(move || {
            assert_eq!(far.recv_all_bytes(4).unwrap(), "rest");
            far.send_msg(b"from a thread").unwrap();
            far
        });
        assert_eq!(near.recv_msg().await.unwrap().unwrap(), "from a thread");
        let far = far.join().unwrap().into_async().unwrap();
        near.send_msg(b"and back").await.unwrap();
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "and back");
    });
}

#[test]
fn into_parts_ends_tls_and_gives_what_was_said() {
    run(async || {
        let (near, far) = pair(Kind::Tls);
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
fn a_drop_and_a_close_tell_the_peer_that_nothing_follows() {
    run(async || {
        for close in [false, true] {
            let (near, far) = pair(Kind::Tls);
            near.send_msg(b"the last").await.unwrap();
            if close {
                near.close().await.unwrap();
            }
            drop(near);
            assert_eq!(far.recv_msg().await.unwrap().unwrap(), "the last");
            assert_eq!(far.recv_msg().await.unwrap(), None);
            assert!(far.peer_closed_cleanly());
        }
    });
    bounded(|| {
        for close in [false, true] {
            let (near, far) = raw(Kind::Tcp4);
            let (near, far) = secured(near, far);
            near.send_msg(b"the last").unwrap();
            if close {
                near.close().unwrap();
            }
            drop(near);
            assert_eq!(far.recv_msg().unwrap().unwrap(), "the last");
            assert_eq!(far.recv_msg().unwrap(), None);
            assert!(far.peer_closed_cleanly());
        }
    });
}

#[test]
fn timeouts_count_without_progress_and_lose_nothing() {
    run(async || {
        let (near, far) = narrow(Kind::Tls);
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

#[test]
fn a_certificate_is_replaced_while_the_server_runs() {
    run(async || {
        let make = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let made = [make(), make()];
        let pem = |at: usize| (made[at].cert.pem(), made[at].signing_key.serialize_pem());
        let (first, second) = (pem(0), pem(1));
        let tls = Tls::server_from_pem(first.0.as_bytes(), first.1.as_bytes()).unwrap();
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
