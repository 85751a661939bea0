//! TLS on both faces, beyond what holds for all streams.

mod attacks;
mod bad_certificates;
mod batches;
mod certificates;
mod closing;
mod end_after_data;
mod malformed_streams;
mod peers;
mod records;
mod relay;
mod scenarios;
mod sockets;
mod start_tls;
mod unfinished_handshakes;
mod unsent;

use std::{
    future::Future,
    io,
    net::Shutdown,
    os::unix::net::UnixStream,
    panic,
    sync::Arc,
    thread::{self, Builder},
};

use asyncoro::{
    AsyncSocket, BlockingSocket, ClientTls, ServerTls, Tls, TlsVersion, coro, time::timeout,
};
use socket2::Socket;

use crate::pairs::{LIMIT, bounded, pattern};

/// The versions of TLS; what holds for TLS holds for each.
pub(crate) const VERSIONS: [TlsVersion; 2] = [TlsVersion::V1_2, TlsVersion::V1_3];

/// Runs `test` for each version of TLS, in threads at the same time, with a time limit. A failure
/// names the version.
pub(crate) fn each_version(test: impl Fn(TlsVersion) + Send + Sync + 'static) {
    let test = Arc::new(test);
    let own = thread::current().name().unwrap_or("test").to_owned();
    let running = VERSIONS.map(|version| {
        let test = Arc::clone(&test);
        // The line of a panic tells the thread's name.
        let thread = Builder::new().name(format!("{own} over {version}"));
        thread.spawn(move || bounded(move || test(version))).unwrap()
    });
    let ended = running.map(thread::JoinHandle::join);
    for (version, ended) in VERSIONS.into_iter().zip(ended) {
        if let Err(payload) = ended {
            eprintln!("failed over {version}");
            panic::resume_unwind(payload);
        }
    }
}

/// As [`each_version`], for a coroutine.
pub(crate) fn run_each_version<F: Future<Output = ()>>(
    test: impl Fn(TlsVersion) -> F + Send + Sync + 'static,
) {
    each_version(move |version| {
        asyncoro::run_until(async { timeout(LIMIT, test(version)).await.expect("in time") });
    });
}

/// Makes configurations of a server and a client with a new certificate for `localhost`.
pub(crate) fn localhost() -> (ServerTls, ClientTls) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    both(&made.cert.pem(), &made.signing_key.serialize_pem())
}

/// As [`localhost`], for one version of TLS.
pub(crate) fn localhost_by(version: TlsVersion) -> (ServerTls, ClientTls) {
    speaking(version, localhost())
}

/// Restricts both configurations to one version of TLS.
fn speaking(
    version: TlsVersion,
    (server, client): (ServerTls, ClientTls),
) -> (ServerTls, ClientTls) {
    (server.versions(&[version]).unwrap(), client.versions(&[version]).unwrap())
}

/// Makes a server with this certificate, and a client that has it pinned.
fn both(chain: &str, key: &str) -> (ServerTls, ClientTls) {
    let server = Tls::server_from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    (server, Tls::client().unwrap().ca_from_pem(chain.as_bytes()).unwrap())
}

/// Does the handshake on two connected regular sockets, with this version of TLS.
pub(crate) fn secured_by(
    version: TlsVersion,
    near: Socket,
    far: Socket,
) -> (BlockingSocket, BlockingSocket) {
    let (server, client) = localhost_by(version);
    let client = client.server_name("localhost").unwrap();
    let serving = thread::spawn(move || {
        let far = BlockingSocket::new(far).unwrap();
        far.start_tls(server).map(|()| far)
    });
    let near = BlockingSocket::new(near).unwrap();
    near.start_tls(client).unwrap();
    (near, serving.join().unwrap().unwrap())
}

/// Makes a regular socket that stands for a TLS socket: two threads relay the plaintext, and its
/// end.
pub(crate) fn relayed(tls: BlockingSocket) -> Socket {
    let (plain, given) = UnixStream::pair().unwrap();
    let (mut from_peer, mut to_peer) = (tls.clone(), tls);
    let mut plain_in = plain.try_clone().unwrap();
    let mut plain_out = plain;
    thread::spawn(move || {
        let _ = io::copy(&mut plain_in, &mut to_peer);
        let _ = to_peer.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let _ = io::copy(&mut from_peer, &mut plain_out);
        let _ = plain_out.shutdown(Shutdown::Write);
    });
    given.into()
}

fn listening_blocking(tls: &ServerTls) -> (BlockingSocket, u16) {
    let listener = BlockingSocket::create_server("127.0.0.1:0").unwrap().with_tls(tls).unwrap();
    let port = listener.local_addr().unwrap().socket_addr().unwrap().port();
    (listener, port)
}

/// Sends each message back, until the peer's close_notify.
async fn echo(socket: &AsyncSocket) -> io::Result<()> {
    while let Some(message) = socket.recv_msg().await? {
        socket.send_msg(&message).await?;
    }
    socket.close().await
}

fn echo_blocking(socket: &BlockingSocket) -> io::Result<()> {
    socket.set_timeout(Some(LIMIT));
    while let Some(message) = socket.recv_msg()? {
        socket.send_msg(&message)?;
    }
    socket.close()
}

/// Sends a message, checks that it comes back, and closes.
async fn ask(socket: &AsyncSocket) {
    socket.send_msg(b"there and back").await.unwrap();
    assert_eq!(socket.recv_msg().await.unwrap().unwrap(), "there and back");
    socket.close().await.unwrap();
}

fn ask_blocking(socket: &BlockingSocket) {
    socket.set_timeout(Some(LIMIT));
    socket.send_msg(b"there and back").unwrap();
    assert_eq!(socket.recv_msg().unwrap().unwrap(), "there and back");
    socket.close().unwrap();
}

async fn listening(tls: &ServerTls) -> (AsyncSocket, u16) {
    let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().socket_addr().unwrap().port();
    (server.with_tls(tls).unwrap(), port)
}

#[test]
fn messages_and_the_end_of_the_stream() {
    run_each_version(async |version| {
        let (server, client) = localhost_by(version);
        let (listener, port) = listening(&server).await;
        let serving = coro::spawn(async move {
            let (socket, _) = listener.accept().await?;
            assert_eq!(socket.server_name().as_deref(), Some("localhost"));
            while let Some(message) = socket.recv_msg().await? {
                socket.send_msg(&message).await?;
            }
            assert!(socket.peer_closed_cleanly());
            socket.close().await
        });
        let socket =
            AsyncSocket::create_tls_connection(("localhost", port), &client).await.unwrap();
        assert_eq!(socket.protocol_version(), Some(version));
        for len in [0, 1, 100, 20_000, 200_000] {
            socket.send_msg(&pattern(len)).await.unwrap();
            assert_eq!(socket.recv_msg().await.unwrap().unwrap(), pattern(len));
        }
        socket.shutdown(Shutdown::Write).await.unwrap();
        assert_eq!(socket.recv_msg().await.unwrap(), None);
        assert!(socket.peer_closed_cleanly());
        serving.await.unwrap().unwrap();
    });
}

#[test]
fn twenty_megabytes_each_way_at_once() {
    run_each_version(async |version| {
        const LEN: usize = 20 << 20;
        let (server, client) = localhost_by(version);
        let (listener, port) = listening(&server).await;
        let both = async |socket: AsyncSocket| {
            let sender = socket.clone();
            let sending = coro::spawn(async move { sender.send_all(&pattern(LEN)).await });
            let got = socket.recv_all_bytes(LEN).await.unwrap();
            assert!(got == pattern(LEN));
            sending.await.unwrap().unwrap();
            socket.close().await.unwrap();
        };
        let serving = coro::spawn(async move { both(listener.accept().await.unwrap().0).await });
        let socket = AsyncSocket::create_tls_connection(("localhost", port), &client).await;
        both(socket.unwrap()).await;
        serving.await.unwrap();
    });
}

#[test]
fn blocking_sockets_shake_hands_in_their_first_verb() {
    each_version(|version| {
        let (server, client) = localhost_by(version);
        let (listener, port) = listening_blocking(&server);
        let serving = thread::spawn(move || -> io::Result<()> {
            let (socket, _) = listener.accept()?;
            echo_blocking(&socket)
        });
        let socket = BlockingSocket::create_tls_connection(("localhost", port), &client).unwrap();
        socket.set_timeout(Some(LIMIT));
        for len in [0, 1, 20_000, 300_000] {
            socket.send_msg(&pattern(len)).unwrap();
            assert_eq!(socket.recv_msg().unwrap().unwrap(), pattern(len));
        }
        socket.close().unwrap();
        serving.join().unwrap().unwrap();
    });
}
