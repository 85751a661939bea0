//! Unfinished handshakes at a listener: silent clients, many of them, and cancelled handshakes.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    pin::pin,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use asyncoro::{
    AsyncSocket, BlockingSocket, ClientTls, TlsVersion, coro,
    time::{sleep, timeout},
};

use super::{
    VERSIONS, ask, each_version, echo, listening, listening_blocking, localhost, localhost_by,
    run_each_version,
};
use crate::pairs::{LIMIT, assert_closed, poll_once, run, started};

/// A timeout that does not end within a test.
const NEVER: Duration = Duration::from_secs(3600);

const SHORT: Duration = Duration::from_millis(200);

fn connect(port: u16) -> TcpStream {
    let stranger = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stranger.set_read_timeout(Some(LIMIT)).unwrap();
    stranger
}

/// Waits for the other end to close; `false` if it does something else.
fn sees_the_end(mut stranger: &TcpStream) -> bool {
    match stranger.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Waits for several other ends to close, while other coroutines run.
async fn see_the_end(strangers: Vec<TcpStream>) {
    let seeing = thread::spawn(move || strangers.iter().all(sees_the_end));
    until(|| seeing.is_finished()).await;
    assert!(seeing.join().unwrap());
}

/// Waits for a condition, while other coroutines run.
async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Counts the open accepted connections of this port.
fn open_at(port: u16) -> usize {
    let local = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let is_open = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        // The state (0A is a listener) and the inode, which is 0 once no descriptor leads to it.
        fields[1].ends_with(&local) && fields[3] != "0A" && fields[9] != "0"
    };
    table.lines().skip(1).filter(is_open).count()
}

/// Connects a client of this version, and checks that it is served.
async fn be_served(client: &ClientTls, version: TlsVersion, port: u16) {
    let client = client.clone().versions(&[version]).unwrap();
    let tried = AsyncSocket::create_tls_connection(("localhost", port), &client).await;
    ask(&tried.unwrap_or_else(|error| panic!("{version}: {error}"))).await;
}

#[test]
fn a_good_client_is_served_behind_300_silent_ones() {
    run(async || {
        let (server, client) = localhost();
        let (listener, port) = listening(&server.handshake_timeout(NEVER)).await;
        let serving = started(async move {
            for _ in VERSIONS {
                echo(&listener.accept().await.unwrap().0).await.unwrap();
            }
            (listener.failed_handshakes(), listener)
        })
        .await;
        // They are accepted as they come, since the backlog is 128.
        let silent = thread::spawn(move || (0..300).map(|_| connect(port)).collect::<Vec<_>>());
        until(|| silent.is_finished()).await;
        let mut silent = silent.join().unwrap();
        let client = client.handshake_timeout(NEVER);
        for version in VERSIONS {
            be_served(&client, version, port).await;
        }
        // 256 may be under way, and the first good one was 301st; the second came into its place.
        let (failed, listener) = serving.await.unwrap();
        assert_eq!(failed, 45);
        see_the_end(silent.drain(..45).collect()).await;
        drop(listener);
        see_the_end(silent).await;
    });
}

#[test]
fn a_thousand_connections_dropped_in_mid_handshake_leave_nothing() {
    run(async || {
        let (server, client) = localhost();
        let (listener, port) = listening(&server.handshake_timeout(NEVER)).await;
        let counting = listener.clone();
        let serving = started(async move {
            for _ in VERSIONS {
                let socket = listener.accept().await.unwrap().0;
                assert_eq!(open_at(port), 1);
                echo(&socket).await.unwrap();
            }
        })
        .await;
        let mut hellos = Vec::new();
        for version in VERSIONS {
            hellos.push(hello(version).await);
        }
        let strangers = thread::spawn(move || {
            for number in 0..1000 {
                // Nothing, half of a first message, or all of it, of each version in turn.
                let hello = &hellos[number % 2];
                let part = [0, hello.len() / 2, hello.len()][number % 3];
                connect(port).write_all(&hello[..part]).unwrap();
            }
        });
        until(|| counting.failed_handshakes() == 1000).await;
        strangers.join().unwrap();
        assert_eq!(open_at(port), 0);
        for version in VERSIONS {
            be_served(&client, version, port).await;
        }
        serving.await.unwrap();
        assert_eq!(counting.failed_handshakes(), 1000);
    });
}

/// Returns a ClientHello.
async fn hello(version: TlsVersion) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = ("localhost", listener.local_addr().unwrap().port());
    let (_, client) = localhost_by(version);
    let connecting =
        started(async move { AsyncSocket::create_tls_connection(to, &client).await }).await;
    let reading = thread::spawn(move || {
        let mut peer = listener.accept().unwrap().0;
        let mut hello = vec![0; 9999];
        let count = peer.read(&mut hello).unwrap();
        hello.truncate(count);
        hello
    });
    until(|| reading.is_finished()).await;
    drop(connecting);
    reading.join().unwrap()
}

#[test]
fn a_silent_client_is_sent_away_at_its_deadline_while_accept_goes_on() {
    run_each_version(async |version| {
        let (server, client) = localhost_by(version);
        let (listener, port) = listening(&server.handshake_timeout(SHORT)).await;
        let counting = listener.clone();
        let serving = started(async move { echo(&listener.accept().await.unwrap().0).await }).await;
        let silent = connect(port);
        let slow = connect(port);
        (&slow).write_all(&hello(version).await[..100]).unwrap();
        until(|| counting.failed_handshakes() == 2).await;
        see_the_end(vec![silent, slow]).await;
        ask(&AsyncSocket::create_tls_connection(("localhost", port), &client).await.unwrap()).await;
        serving.await.unwrap().unwrap();
    });
}

#[test]
fn a_blocking_verb_gives_a_silent_client_up_at_its_deadline() {
    each_version(|version| {
        let (server, _) = localhost_by(version);
        let (listener, port) = listening_blocking(&server.handshake_timeout(SHORT));
        let silent = connect(port);
        let socket = listener.accept().unwrap().0;
        let begun = Instant::now();
        let error = socket.recv(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("handshake"), "{error}");
        assert!(begun.elapsed() >= SHORT);
        // It is over for good, though the socket's own timeout is none.
        socket.send(b"x").unwrap_err();
        drop(socket);
        assert!(sees_the_end(&silent));
    });
}

#[test]
fn a_client_gives_a_silent_server_up_at_its_deadline() {
    each_version(|version| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = ("localhost", listener.local_addr().unwrap().port());
        let client = localhost_by(version).1.handshake_timeout(SHORT);
        let blocking = BlockingSocket::create_tls_connection(to, &client);
        run(async move || {
            let tried = AsyncSocket::create_tls_connection(to, &client).await;
            for error in [tried.unwrap_err(), blocking.unwrap_err()] {
                assert_eq!(error.kind(), ErrorKind::TimedOut, "{error:?}");
                assert!(error.to_string().contains("handshake"), "{error}");
            }
        });
    });
}

#[test]
fn an_accept_that_is_dropped_loses_no_connection() {
    run_each_version(async |version| {
        const CLIENTS: usize = 20;
        let (server, client) = localhost_by(version);
        let (listener, port) = listening(&server).await;
        let mut asking = Vec::new();
        for _ in 0..CLIENTS {
            let client = client.clone();
            asking.push(coro::spawn(async move {
                let to = ("localhost", port);
                let socket = AsyncSocket::create_tls_connection(to, &client).await.unwrap();
                ask(&socket).await;
            }));
        }
        let mut serving = Vec::new();
        while serving.len() < CLIENTS {
            let accepted = match poll_once(pin!(listener.accept())) {
                Poll::Ready(accepted) => accepted,
                Poll::Pending => {
                    let short = Duration::from_micros(100);
                    let Ok(accepted) = timeout(short, listener.accept()).await else { continue };
                    accepted
                }
            };
            serving.push(coro::spawn(async move { echo(&accepted.unwrap().0).await }));
        }
        for asked in asking {
            asked.await.unwrap();
        }
        assert_eq!(listener.failed_handshakes(), 0);
    });
}

#[test]
fn closing_a_listener_ends_accept_and_the_handshakes_under_way() {
    run_each_version(async |version| {
        let (server, _) = localhost_by(version);
        let (listener, port) = listening(&server.handshake_timeout(NEVER)).await;
        let accepting = listener.clone();
        let accepting = started(async move { accepting.accept().await }).await;
        let silent = connect(port);
        until(|| open_at(port) == 1).await;
        // The connection was accepted once its handshake has sent what an answer leads to.
        sleep(Duration::from_millis(20)).await;
        listener.close().await.unwrap();
        assert_closed(accepting.await.unwrap());
        drop(listener);
        see_the_end(vec![silent]).await;
    });
}

#[test]
fn close_in_another_thread_ends_the_handshake_of_a_blocking_verb() {
    each_version(|version| {
        let (server, _) = localhost_by(version);
        let (listener, port) = listening_blocking(&server.handshake_timeout(NEVER));
        let silent = connect(port);
        let socket = listener.accept().unwrap().0;
        let closing = socket.clone();
        let receiving = thread::spawn(move || socket.recv(&mut [0]));
        thread::sleep(Duration::from_millis(50));
        closing.close().unwrap();
        assert_closed(receiving.join().unwrap());
        assert!(sees_the_end(&silent));
    });
}

#[test]
fn a_client_that_is_dropped_in_its_handshake_closes_its_connection() {
    run_each_version(async |version| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = ("localhost", listener.local_addr().unwrap().port());
        let (_, client) = localhost_by(version);
        let connecting =
            coro::spawn(
                async move { AsyncSocket::create_tls_connection(to, &client).await.map(drop) },
            );
        let accepting = thread::spawn(move || {
            let mut peer = listener.accept().unwrap().0;
            peer.set_read_timeout(Some(LIMIT)).unwrap();
            // The first message; there is no answer.
            assert!(peer.read(&mut [0; 9999]).unwrap() > 0);
            peer
        });
        until(|| accepting.is_finished()).await;
        connecting.terminate();
        see_the_end(vec![accepting.join().unwrap()]).await;
    });
}

#[test]
fn a_message_that_is_tried_as_the_first_verb_continues_the_handshake() {
    each_version(|version| {
        let (server, client) = localhost_by(version);
        let (listener, port) = listening_blocking(&server);
        let connecting = thread::spawn(move || {
            let to = ("localhost", port);
            let socket = BlockingSocket::create_tls_connection(to, &client)?;
            socket.recv_msg()
        });
        let (socket, _) = listener.accept().unwrap();
        let message = bytes::Bytes::from_static(b"the first");
        while let Err(error) = socket.try_send_msg(&message) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            thread::yield_now();
        }
        assert_eq!(connecting.join().unwrap().unwrap().unwrap(), "the first");
    });
}
