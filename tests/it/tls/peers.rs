//! Other people's TLS at the other end, both ways: openssl, Python's ssl, curl, pycos.

use std::{
    env, fs, io,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{self, Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use asyncoro::{AsyncSocket, ClientTls, ServerTls, Tls, TlsVersion, pool};

use super::{
    listening,
    made::{Authority, Made},
};
use crate::{
    pairs::run,
    programs::{or_skip, output, tool},
};

const VERSIONS: [(TlsVersion, &str); 2] =
    [(TlsVersion::V1_2, "-tls1_2"), (TlsVersion::V1_3, "-tls1_3")];

/// An authority, a server's certificate, a client's, and their files.
struct Files {
    folder: PathBuf,
    authority: Authority,
    server: Made,
    client: Made,
}

impl Files {
    fn new() -> Files {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("asyncoro-it-{}-{number}", process::id()));
        fs::create_dir(&folder).unwrap();
        let authority = Authority::new();
        let (server, client) = (authority.issue("localhost"), authority.issue("client"));
        let files = Files { folder, authority, server, client };
        let texts = [
            ("ca", &files.authority.pem),
            ("chain", &files.server.chain),
            ("key", &files.server.key),
            ("client", &files.client.chain),
            ("client.key", &files.client.key),
        ];
        for (name, text) in texts {
            fs::write(files.path(name), text).unwrap();
        }
        files
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Our server, which wants a client's certificate.
    fn our_server(&self) -> ServerTls {
        let server = Tls::server(self.path("chain"), self.path("key")).unwrap();
        server.require_client_certificates(self.path("ca")).unwrap().alpn(["echo/1"])
    }

    /// Our client, which has one.
    fn our_client(&self) -> ClientTls {
        let client = Tls::client().unwrap().ca_file(self.path("ca")).unwrap().alpn(["echo/1"]);
        client.certificate(self.path("client"), self.path("client.key")).unwrap()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A program that is ended with its value.
struct Peer(Child, BufReader<ChildStdout>);

impl Peer {
    fn start(command: &mut Command) -> Peer {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Peer(child, lines)
    }

    /// What follows `start` in the next line that has it.
    fn line_after(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.1.read_line(&mut line).unwrap() > 0, "it ended without {start:?}");
            if let Some((_, rest)) = line.trim_end().split_once(start) {
                return rest.to_owned();
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a line back and ends.
async fn echo_line(socket: &AsyncSocket) -> io::Result<()> {
    let line = socket.recv_until(b"\n", 1000).await?;
    socket.send_all(&line).await?;
    socket.close().await
}

#[test]
fn openssl_talks_to_us() {
    let Some(_) = tool("openssl") else { return };
    for (version, flag) in VERSIONS {
        run(async move || {
            let files = Files::new();
            let (listener, port) = listening(&files.our_server()).await;
            for resumed in [false, true] {
                let mut command = tool("openssl").unwrap();
                command.args(["s_client", "-quiet", flag, "-verify_return_error"]);
                command.args(["-connect", &format!("127.0.0.1:{port}"), "-alpn", "echo/1"]);
                command.args(["-servername", "localhost", "-CAfile", &files.path("ca")]);
                command.args(["-cert", &files.path("client"), "-key", &files.path("client.key")]);
                let session = files.path("session");
                command.args([if resumed { "-sess_in" } else { "-sess_out" }, &session]);
                let mut peer = Peer::start(command.stderr(Stdio::null()));
                peer.0.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
                let (socket, _) = listener.accept().await.unwrap();
                assert_eq!(socket.protocol_version(), Some(version));
                assert_eq!(socket.alpn().as_deref(), Some(&b"echo/1"[..]));
                assert_eq!(socket.server_name().as_deref(), Some("localhost"));
                assert!(!socket.peer_certificates().is_empty());
                assert_eq!(socket.is_resumed(), resumed);
                echo_line(&socket).await.unwrap();
                let ended = pool::run(move || {
                    peer.line_after("hello");
                    peer.0.wait().unwrap().success()
                });
                assert!(ended.await);
            }
        });
    }
}

#[test]
fn we_talk_to_openssl() {
    let Some(_) = tool("openssl") else { return };
    for (version, flag) in VERSIONS {
        run(async move || {
            let files = Files::new();
            let mut command = tool("openssl").unwrap();
            command.args(["s_server", "-accept", "127.0.0.1:0", "-rev", flag, "-alpn", "echo/1"]);
            command.args(["-cert", &files.path("chain"), "-key", &files.path("key")]);
            command.args(["-Verify", "1", "-verify_return_error", "-CAfile", &files.path("ca")]);
            let mut peer = Peer::start(command.stderr(Stdio::null()));
            let address = peer.line_after("ACCEPT ");
            let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
            let client = files.our_client();
            for resumed in [false, true] {
                let to = ("localhost", port);
                let socket = AsyncSocket::create_tls_connection(to, &client).await.unwrap();
                assert_eq!(socket.protocol_version(), Some(version));
                assert_eq!(socket.alpn().as_deref(), Some(&b"echo/1"[..]));
                assert_eq!(socket.is_resumed(), resumed);
                socket.send_all(b"hello\n").await.unwrap();
                assert_eq!(socket.recv_until(b"\n", 100).await.unwrap(), "olleh\n");
                socket.close().await.unwrap();
            }
            // A client that trusts others is not talked to.
            let stranger = Authority::new().client();
            let refused = AsyncSocket::create_tls_connection(("localhost", port), &stranger).await;
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);
        });
    }
}

#[test]
fn curl_gets_a_page() {
    let Some(mut curl) = tool("curl") else { return };
    run(async move || {
        let files = Files::new();
        let server = Tls::server(files.path("chain"), files.path("key")).unwrap();
        let (listener, port) = listening(&server).await;
        let serving = asyncoro::spawn(async move {
            let (socket, _) = listener.accept().await?;
            socket.recv_until(b"\r\n\r\n", 10_000).await?;
            socket.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npage\n").await?;
            socket.close().await
        });
        let url = format!("https://localhost:{port}/");
        curl.args(["-sS", "--max-time", "20", "--cacert", &files.path("ca"), &url]);
        assert_eq!(pool::run(move || output(&mut curl)).await, "page\n");
        serving.await.unwrap().unwrap();
    });
}

const PYTHON: &str = r#"
import socket, ssl, sys
role, folder, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
SIZE = 3 << 20
if role == 'client':
    context = ssl.create_default_context(cafile=folder + '/ca')
    sock = context.wrap_socket(socket.create_connection(('localhost', port)),
                               server_hostname='localhost')
else:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder + '/chain', folder + '/key')
    listener = socket.create_server(('127.0.0.1', 0))
    print('port', listener.getsockname()[1], flush=True)
    sock = context.wrap_socket(listener.accept()[0], server_side=True)
sock.settimeout(20)
sock.sendall(b'x' * SIZE)
got = 0
while got < SIZE:
    part = sock.recv(65536)
    assert part, got
    got += len(part)
# The peer says that it ends; without that recv would raise.
assert sock.recv(1) == b''
print('version', sock.version(), flush=True)
"#;

/// What `PYTHON` does, from our side: as much each way, then the end.
async fn exchange(socket: &AsyncSocket) {
    const SIZE: usize = 3 << 20;
    let received = socket.recv_all_bytes(SIZE).await.unwrap();
    assert!(received.iter().all(|byte| *byte == b'x'));
    socket.send_all(&received).await.unwrap();
    socket.close().await.unwrap();
}

#[test]
fn python_talks_to_us_and_we_to_python() {
    let Some(_) = tool("python3") else { return };
    run(async || {
        let files = Files::new();
        let folder = files.folder.to_str().unwrap();
        let server = Tls::server(files.path("chain"), files.path("key")).unwrap();
        let (listener, port) = listening(&server).await;
        let mut command = tool("python3").unwrap();
        command.args(["-c", PYTHON, "client", folder, &port.to_string()]);
        let mut peer = Peer::start(&mut command);
        exchange(&listener.accept().await.unwrap().0).await;
        let version = pool::run(move || peer.line_after("version ")).await;
        assert_eq!(version, "TLSv1.3");

        let mut command = tool("python3").unwrap();
        let mut peer = Peer::start(command.args(["-c", PYTHON, "server", folder, "0"]));
        let port: u16 = peer.line_after("port ").parse().unwrap();
        let client = Tls::client().unwrap().ca_file(files.path("ca")).unwrap();
        let to = ("localhost", port);
        exchange(&AsyncSocket::create_tls_connection(to, &client).await.unwrap()).await;
        let version = pool::run(move || peer.line_after("version ")).await;
        assert_eq!(version, "TLSv1.3");
    });
}

const PYCOS: &str = r#"
import socket, sys
sys.argv[1:], (role, folder, port) = [], sys.argv[1:]
import pycos
def client(task=None):
    sock = pycos.AsyncSocket(socket.socket(), certfile=folder + '/ca')
    yield sock.connect(('127.0.0.1', int(port)))
    yield sock.send_msg(b'from pycos')
    print('got', (yield sock.recv_msg()).decode(), flush=True)
def server(sock, task=None):
    conn, _ = yield sock.accept()
    message = yield conn.recv_msg()
    yield conn.send_msg(message)
    print('got', message.decode(), flush=True)
    yield task.sleep(20)
if role == 'client':
    pycos.Task(client).value()
else:
    sock = socket.socket()
    sock.bind(('127.0.0.1', 0))
    sock.listen(1)
    print('port', sock.getsockname()[1], flush=True)
    sock = pycos.AsyncSocket(sock, keyfile=folder + '/key', certfile=folder + '/chain')
    pycos.Task(server, sock).value()
"#;

#[test]
fn pycos_talks_to_us_and_we_to_pycos() {
    let python = or_skip("ASYNCORO_PYCOS_PYTHON", env::var("ASYNCORO_PYCOS_PYTHON").ok());
    let Some(python) = python else { return };
    run(async move || {
        let files = Files::new();
        let folder = files.folder.to_str().unwrap();
        let server = Tls::server(files.path("chain"), files.path("key")).unwrap();
        let (listener, port) = listening(&server).await;
        let mut command = Command::new(&python);
        command.args(["-B", "-c", PYCOS, "client", folder, &port.to_string()]);
        let mut peer = Peer::start(&mut command);
        let (socket, _) = listener.accept().await.unwrap();
        let message = socket.recv_msg().await.unwrap().unwrap();
        socket.send_msg(&message).await.unwrap();
        socket.flush().await.unwrap();
        let got = pool::run(move || peer.line_after("got ")).await;
        assert_eq!(got, "from pycos");

        let mut command = Command::new(&python);
        let mut peer = Peer::start(command.args(["-B", "-c", PYCOS, "server", folder, "0"]));
        let port: u16 = peer.line_after("port ").parse().unwrap();
        let client = Tls::client().unwrap().ca_file(files.path("ca")).unwrap();
        let to = ("localhost", port);
        let socket = AsyncSocket::create_tls_connection(to, &client).await.unwrap();
        socket.send_msg(b"to pycos").await.unwrap();
        assert_eq!(socket.recv_msg().await.unwrap().unwrap(), "to pycos");
        assert_eq!(pool::run(move || peer.line_after("got ")).await, "to pycos");
    });
}
