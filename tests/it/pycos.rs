//! Conversations with pycos 4.12.2, in both directions: its tasks and its blocking sockets in
//! threads, our coroutines and our threads. `pycos/peer.py` is its side.

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
};

use asyncoro::{AsyncSocket, BlockingSocket};

use crate::{bounded::run, programs::or_skip, within::within};

/// Payload sizes, as in `peer.py`.
const SIZES: [usize; 7] = [5, 3_000_000, 3, 0, 1, 65_536, 3 << 20];

/// How pycos's side runs.
const MODES: [&str; 2] = ["tasks", "threads"];

/// Returns the Python that has pycos.
fn python() -> Option<String> {
    or_skip("ASYNCORO_PYCOS_PYTHON", env::var("ASYNCORO_PYCOS_PYTHON").ok())
}

/// A process with pycos's side; killed when this is dropped.
struct Peer {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &str, arguments: &[&str]) -> Peer {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/pycos/peer.py");
        let mut command = Command::new(python);
        command.arg("-B").arg(script).args(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Peer { child, output }
    }

    fn server(python: &str, role: &str, mode: &str) -> (Peer, SocketAddr) {
        let mut peer = Peer::start(python, &["server", role, mode]);
        let line = peer.line_after("listening on ");
        (peer, line.parse().unwrap())
    }

    fn client(python: &str, role: &str, mode: &str, to: SocketAddr) -> Peer {
        let (host, port) = (to.ip().to_string(), to.port().to_string());
        Peer::start(python, &["client", role, mode, &host, &port])
    }

    /// Returns the rest of the next line that begins with `start`; pycos's log lines are skipped.
    fn line_after(&mut self, start: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let count = self.output.read_line(&mut line).unwrap();
            assert!(count > 0, "the peer ended without {start:?}:\n{seen}");
            if let Some(rest) = line.trim_end().strip_prefix(start) {
                return rest.to_owned();
            }
            seen += &line;
        }
    }

    fn ends_well(mut self) {
        self.line_after("ok");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It fails where the process has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index % 251) as u8).collect()
}

fn reply_to(message: &[u8]) -> Vec<u8> {
    [b"re:", message].concat()
}

async fn ask(socket: AsyncSocket) {
    for size in SIZES {
        socket.send_msg(&payload(size)).await.unwrap();
        let reply = socket.recv_msg().await.unwrap().unwrap();
        assert!(reply == reply_to(&payload(size)), "{size} bytes, {} back", reply.len());
    }
    for byte in b"\0\0\0\x06slowly" {
        socket.send_all(&[*byte]).await.unwrap();
    }
    assert_eq!(socket.recv_msg().await.unwrap().unwrap(), "re:slowly");
    socket.send_msg(b"").await.unwrap();
    socket.close().await.unwrap();
}

async fn answer(socket: AsyncSocket) {
    for size in SIZES {
        let message = socket.recv_msg().await.unwrap().unwrap();
        assert!(message == payload(size), "{size} bytes, {} came", message.len());
        socket.send_msg(&reply_to(&message)).await.unwrap();
    }
    let message = socket.recv_msg().await.unwrap().unwrap();
    for byte in [b"\0\0\0\x09", &reply_to(&message)[..]].concat() {
        socket.send_all(&[byte]).await.unwrap();
    }
    // Here an empty message and the end of the stream are told apart.
    assert_eq!(socket.recv_msg().await.unwrap().unwrap(), "");
    assert_eq!(socket.recv_msg().await.unwrap(), None);
}

fn ask_blocking(socket: &BlockingSocket) {
    for size in SIZES {
        socket.send_msg(&payload(size)).unwrap();
        let reply = socket.recv_msg().unwrap().unwrap();
        assert!(reply == reply_to(&payload(size)), "{size} bytes, {} back", reply.len());
    }
    for byte in b"\0\0\0\x06slowly" {
        socket.send_all(&[*byte]).unwrap();
    }
    assert_eq!(socket.recv_msg().unwrap().unwrap(), "re:slowly");
    socket.send_msg(b"").unwrap();
    socket.close().unwrap();
}

fn answer_blocking(socket: &BlockingSocket) {
    for size in SIZES {
        let message = socket.recv_msg().unwrap().unwrap();
        assert!(message == payload(size), "{size} bytes, {} came", message.len());
        socket.send_msg(&reply_to(&message)).unwrap();
    }
    let message = socket.recv_msg().unwrap().unwrap();
    for byte in [b"\0\0\0\x09", &reply_to(&message)[..]].concat() {
        socket.send_all(&[byte]).unwrap();
    }
    assert_eq!(socket.recv_msg().unwrap().unwrap(), "");
    assert_eq!(socket.recv_msg().unwrap(), None);
}

#[test]
fn coroutines_talk_to_pycos_servers() {
    let Some(python) = python() else { return };
    within(move || {
        for mode in MODES {
            let (peer, address) = Peer::server(&python, "answer", mode);
            run(async { ask(AsyncSocket::create_connection(address).await.unwrap()).await });
            peer.ends_well();
            let (peer, address) = Peer::server(&python, "ask", mode);
            run(async { answer(AsyncSocket::create_connection(address).await.unwrap()).await });
            peer.ends_well();
        }
    });
}

#[test]
fn pycos_clients_talk_to_coroutines() {
    let Some(python) = python() else { return };
    within(move || {
        for mode in MODES {
            for role in ["ask", "answer"] {
                let peer = run(async {
                    let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
                    let address = server.local_addr().unwrap().socket_addr().unwrap();
                    let peer = Peer::client(&python, role, mode, address);
                    let (socket, _) = server.accept().await.unwrap();
                    match role {
                        "ask" => answer(socket).await,
                        _ => ask(socket).await,
                    }
                    peer
                });
                peer.ends_well();
            }
        }
    });
}

#[test]
fn threads_talk_to_pycos_servers() {
    let Some(python) = python() else { return };
    within(move || {
        for mode in MODES {
            let (peer, address) = Peer::server(&python, "answer", mode);
            ask_blocking(&BlockingSocket::create_connection(address).unwrap());
            peer.ends_well();
            let (peer, address) = Peer::server(&python, "ask", mode);
            answer_blocking(&BlockingSocket::create_connection(address).unwrap());
            peer.ends_well();
        }
    });
}

#[test]
fn pycos_clients_talk_to_threads() {
    let Some(python) = python() else { return };
    within(move || {
        let server = BlockingSocket::create_server("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().socket_addr().unwrap();
        for mode in MODES {
            let peer = Peer::client(&python, "ask", mode, address);
            answer_blocking(&server.accept().unwrap().0);
            peer.ends_well();
            let peer = Peer::client(&python, "answer", mode, address);
            ask_blocking(&server.accept().unwrap().0);
            peer.ends_well();
        }
    });
}
