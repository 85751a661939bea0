//! TLS that begins on an open connection, or when the socket is connected.

use std::{
    io::{self, ErrorKind},
    net::TcpListener,
    thread,
};

use asyncoro::{AsyncSocket, BlockingSocket, coro};

use super::{
    ask, ask_blocking, each_version, echo, echo_blocking, listening, localhost_by, run_each_version,
};

#[test]
fn tls_begins_in_the_middle_of_a_conversation() {
    run_each_version(async |version| {
        let (server, client) = localhost_by(version);
        let client = client.server_name("localhost").unwrap();
        let listener = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = coro::spawn(async move {
            let socket = listener.accept().await?.0;
            assert_eq!(socket.recv_until(b"\n", 99).await?, "STARTTLS\n");
            // Queued, so it has to leave before the first record.
            socket.send_queued(b"go\n").await?;
            socket.start_tls(&server).await?;
            assert!(socket.start_tls(&server).await.is_err());
            echo(&socket).await
        });
        let socket = AsyncSocket::create_connection(address).await.unwrap();
        socket.send_all(b"STARTTLS\n").await.unwrap();
        assert_eq!(socket.recv_until(b"\n", 99).await.unwrap(), "go\n");
        socket.start_tls(&client).await.unwrap();
        ask(&socket).await;
        serving.await.unwrap().unwrap();
    });
    each_version(|version| {
        let (server, client) = localhost_by(version);
        let client = client.server_name("localhost").unwrap();
        let listener = BlockingSocket::create_server("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = thread::spawn(move || -> io::Result<()> {
            let socket = listener.accept()?.0;
            assert_eq!(socket.recv_until(b"\n", 99)?, "STARTTLS\n");
            socket.send_all(b"go\n")?;
            socket.start_tls(&server)?;
            echo_blocking(&socket)
        });
        let socket = BlockingSocket::create_connection(address).unwrap();
        socket.send_all(b"STARTTLS\n").unwrap();
        assert_eq!(socket.recv_until(b"\n", 99).unwrap(), "go\n");
        socket.start_tls(&client).unwrap();
        ask_blocking(&socket);
        serving.join().unwrap().unwrap();
    });
}

#[test]
fn start_tls_is_refused_with_plaintext_left_over_and_without_a_name() {
    run_each_version(async |version| {
        let (server, client) = localhost_by(version);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let near = AsyncSocket::create_connection(address).await.unwrap();
        let blocking = BlockingSocket::create_connection(address).unwrap();
        for _ in 0..2 {
            let mut peer = listener.accept().unwrap().0;
            io::Write::write_all(&mut peer, b"STARTTLS\ninjected\n").unwrap();
        }
        // It does not know the name that the server must prove.
        for error in [near.start_tls(&client).await, blocking.start_tls(&client)] {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
            assert!(error.to_string().contains("server_name"), "{error}");
        }
        assert_eq!(near.recv_until(b"\n", 99).await.unwrap(), "STARTTLS\n");
        assert_eq!(blocking.recv_until(b"\n", 99).unwrap(), "STARTTLS\n");
        for error in [near.start_tls(&server).await, blocking.start_tls(&server)] {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
            assert!(error.to_string().contains("before TLS"), "{error}");
        }
        // Nothing has changed.
        assert_eq!(near.recv_until(b"\n", 99).await.unwrap(), "injected\n");
        assert_eq!(blocking.recv_until(b"\n", 99).unwrap(), "injected\n");
    });
}

#[test]
fn a_socket_that_is_to_speak_tls_does_when_it_is_connected() {
    run_each_version(async |version| {
        let (server, client) = localhost_by(version);
        let (listener, port) = listening(&server).await;
        let serving = coro::spawn(async move {
            for _ in 0..2 {
                echo(&listener.accept().await?.0).await?;
            }
            io::Result::Ok(())
        });
        let open = || AsyncSocket::open(socket2::Domain::IPV4, socket2::Type::STREAM);
        let socket = open().unwrap().with_tls(&client).unwrap();
        socket.connect(("127.0.0.1", port)).await.unwrap();
        ask(&socket).await;
        let blocking = thread::spawn(move || {
            let open = BlockingSocket::open(socket2::Domain::IPV4, socket2::Type::STREAM);
            let socket = open.unwrap().with_tls(&client).unwrap();
            socket.connect(("127.0.0.1", port)).unwrap();
            ask_blocking(&socket);
        });
        serving.await.unwrap().unwrap();
        blocking.join().unwrap();
    });
}
