//! TLS with openssl, Python, curl and pycos, in both directions.

use std::{
    env,
    process::{Command, Stdio},
    thread::{self, JoinHandle},
};

use asyncoro::{AsyncSocket, BlockingSocket, ClientTls, ServerTls, TlsVersion};

use super::{
    certificates::{Authority, Directory},
    each_version, listening, listening_blocking, run_each_version, speaking,
};
use crate::{
    pairs::LIMIT,
    programs::{Program, or_skip, output, tool},
};

/// Returns openssl's option for a version.
fn flag(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::V1_2 => "-tls1_2",
        _ => "-tls1_3",
    }
}

/// An authority, with files of its certificate and those of both ends.
struct Files {
    _directory: Directory,
    server: ServerTls,
    client: ClientTls,
    ca: String,
    server_pem: String,
    client_pem: String,
    session: String,
}

impl Files {
    fn new(version: TlsVersion) -> Files {
        let (authority, directory) = (Authority::new(), Directory::new());
        let (ours, theirs) = (authority.issue("localhost"), authority.issue("somebody"));
        let client = theirs.shown_by(authority.client());
        let (server, client) = speaking(version, (ours.server(), client));
        Files {
            server,
            client,
            ca: directory.write("ca.pem", &authority.pem),
            server_pem: directory.write("server.pem", &(ours.chain + &ours.key)),
            client_pem: directory.write("client.pem", &(theirs.chain + &theirs.key)),
            session: directory.path("session"),
            _directory: directory,
        }
    }
}

/// Serves one connection: checks it after the first line, and sends the line back.
fn answer_once(
    tls: &ServerTls,
    judge: impl FnOnce(&BlockingSocket) + Send + 'static,
) -> (u16, JoinHandle<()>) {
    let (listener, port) = listening_blocking(tls);
    let serving = thread::spawn(move || {
        let socket = listener.accept().unwrap().0;
        socket.set_timeout(Some(LIMIT));
        let line = socket.recv_until(b"\n", 100).unwrap();
        judge(&socket);
        socket.send_all(&[b"re:", &line[..]].concat()).unwrap();
        socket.close().unwrap();
    });
    (port, serving)
}

#[test]
fn openssl_s_client_is_answered() {
    each_version(|version| {
        let files = Files::new(version);
        let server = files.server.clone().alpn(["h2"]);
        let server = server.require_client_certificates(&files.ca).unwrap();
        for resumed in [false, true] {
            let Some(openssl) = tool("openssl") else { return };
            let (port, serving) = answer_once(&server, move |socket| {
                assert_eq!(socket.protocol_version(), Some(version));
                assert_eq!(socket.server_name().as_deref(), Some("localhost"));
                assert_eq!(socket.alpn().as_deref(), Some(&b"h2"[..]));
                // Its own, and the authority's.
                assert_eq!(socket.peer_certificates().len(), 2);
                assert_eq!(socket.is_resumed(), resumed);
            });
            let to = format!("127.0.0.1:{port}");
            // What it does of its own accord it says on standard error.
            let mut shell = Command::new("sh");
            shell.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(openssl.get_program());
            shell.args(["s_client", "-connect", &to, "-servername", "localhost", flag(version)]);
            shell.args(["-CAfile", &files.ca, "-verify_return_error"]);
            shell.args(["-cert", &files.client_pem, "-alpn", "h2,http/1.1"]);
            shell.args([["-sess_out", "-sess_in"][usize::from(resumed)], &files.session]);
            let mut client = Program::start(&mut shell);
            client.line_with(if resumed { "Reused, TLSv1" } else { "New, TLSv1" });
            client.line_with("Verify return code: 0 (ok)");
            if version == TlsVersion::V1_3 {
                // New keys, in the middle.
                client.type_line("K");
                client.line_with("KEYUPDATE");
            }
            client.type_line("ping");
            client.line_with("re:ping");
            client.line_with("closed");
            serving.join().unwrap();
        }
    });
}

#[test]
fn openssl_s_server_is_talked_to() {
    each_version(|version| {
        let Some(mut openssl) = tool("openssl") else { return };
        let files = Files::new(version);
        openssl.args(["s_server", "-accept", "127.0.0.1:0", "-rev", "-alpn", "h2", flag(version)]);
        openssl.args(["-cert", &files.server_pem, "-CAfile", &files.ca, "-Verify", "1"]);
        openssl.args(["-verify_return_error"]);
        let server = Program::start(openssl.stderr(Stdio::null()));
        let line = server.line_with("ACCEPT ");
        let port: u16 = line.rsplit(':').next().unwrap().trim().parse().unwrap();
        let client = files.client.alpn(["h2", "http/1.1"]);
        for resumed in [false, true] {
            let to = ("localhost", port);
            let socket = BlockingSocket::create_tls_connection(to, &client).unwrap();
            socket.set_timeout(Some(LIMIT));
            assert_eq!(socket.protocol_version(), Some(version));
            assert_eq!(socket.alpn().as_deref(), Some(&b"h2"[..]));
            assert_eq!(socket.is_resumed(), resumed);
            socket.send_all(b"ping\n").unwrap();
            assert_eq!(socket.recv_until(b"\n", 9).unwrap(), "gnip\n");
            socket.close().unwrap();
        }
    });
}

#[test]
fn a_socket_of_pythons_ssl_is_answered() {
    each_version(|version| {
        let Some(mut python) = tool("python3") else { return };
        let files = Files::new(version);
        let (port, serving) = answer_once(&files.server, |socket| {
            assert_eq!(socket.server_name().as_deref(), Some("localhost"));
        });
        python.args(["-c", PYTHON_CLIENT, &files.ca, &port.to_string()]);
        assert_eq!(output(&mut python), format!("re:ping\n\n{version}\n"));
        serving.join().unwrap();
    });
}

const PYTHON_CLIENT: &str = "
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
plain = socket.create_connection(('127.0.0.1', int(sys.argv[2])), timeout=20)
near = context.wrap_socket(plain, server_hostname='localhost', suppress_ragged_eofs=False)
near.sendall(b'ping\\n')
data = b''
while True:
    more = near.recv(100)
    if not more:
        break
    data += more
print(data.decode())
print(near.version())
";

#[test]
fn a_server_of_pythons_ssl_is_talked_to() {
    run_each_version(async |version| {
        let Some(mut python) = tool("python3") else { return };
        let files = Files::new(version);
        let server = Program::start(python.args(["-c", PYTHON_SERVER, &files.server_pem]));
        let port: u16 = server.line_with("").parse().unwrap();
        let socket = AsyncSocket::create_tls_connection(("localhost", port), &files.client).await;
        let socket = socket.unwrap();
        socket.send_all(b"ping\n").await.unwrap();
        assert_eq!(socket.recv_until(b"\n", 99).await.unwrap(), "re:ping\n");
        socket.close().await.unwrap();
        // It has seen close_notify and not only the end of TCP.
        server.line_with("closed");
        server.end();
    });
}

const PYTHON_SERVER: &str = "
import socket, ssl, sys
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(sys.argv[1])
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
plain, _ = listener.accept()
plain.settimeout(20)
far = context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False)
far.sendall(b're:' + far.recv(100))
assert far.recv(100) == b''
print('closed', flush=True)
";

#[test]
fn curl_gets_a_page_over_tls() {
    run_each_version(async |version| {
        let Some(mut curl) = tool("curl") else { return };
        let files = Files::new(version);
        let (listener, port) = listening(&files.server.alpn(["http/1.1"])).await;
        let url = format!("https://localhost:{port}/");
        curl.args(["-sS", "--noproxy", "*", "--max-time", "15", "--cacert", &files.ca]);
        curl.args(["-w", "%{http_code} %{num_connects}\n", &url, &url]);
        let getting = thread::spawn(move || output(&mut curl));
        let socket = listener.accept().await.unwrap().0;
        for _ in 0..2 {
            socket.recv_until(b"\r\n\r\n", 9999).await.unwrap();
            let page = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npage\n";
            socket.send_all(page).await.unwrap();
        }
        assert_eq!(socket.recv(&mut [0]).await.unwrap(), 0);
        assert_eq!(getting.join().unwrap(), "page\n200 1\npage\n200 0\n");
    });
}

/// Makes a command of the Python that has pycos.
fn pycos(script: &str, arguments: &[&str]) -> Option<Command> {
    let python = or_skip("ASYNCORO_PYCOS_PYTHON", env::var("ASYNCORO_PYCOS_PYTHON").ok())?;
    let mut command = Command::new(python);
    command.args(["-B", "-c", &format!("{PYCOS}{script}")]).args(arguments);
    Some(command)
}

const PYCOS: &str = "
import os, pycos, signal, socket, sys
signal.alarm(60)
def run(generator):
    print(pycos.Task(generator).value(), flush=True)
    os._exit(0)
";

#[test]
fn a_tls_client_of_pycos_is_answered() {
    run_each_version(async |version| {
        let files = Files::new(version);
        let (listener, port) = listening(&files.server).await;
        let Some(mut pycos) = pycos(PYCOS_CLIENT, &[&files.ca, &port.to_string()]) else { return };
        let client = Program::start(&mut pycos);
        let socket = listener.accept().await.unwrap().0;
        let message = socket.recv_msg().await.unwrap().unwrap();
        assert_eq!(message, "ping".repeat(25_000));
        socket.send_msg(&message).await.unwrap();
        client.line_with("ok");
    });
}

const PYCOS_CLIENT: &str = "
def client():
    near = pycos.AsyncSocket(socket.socket(), certfile=sys.argv[1])
    yield near.connect(('127.0.0.1', int(sys.argv[2])))
    yield near.send_msg(b'ping' * 25000)
    reply = yield near.recv_msg()
    return 'ok' if reply == b'ping' * 25000 else reply
run(client)
";

#[test]
fn a_tls_server_of_pycos_is_talked_to() {
    run_each_version(async |version| {
        let files = Files::new(version);
        let Some(mut pycos) = pycos(PYCOS_SERVER, &[&files.server_pem]) else { return };
        let server = Program::start(&mut pycos);
        let line = server.line_with("listening on ");
        let port: u16 = line.rsplit(' ').next().unwrap().parse().unwrap();
        let to = ("localhost", port);
        let socket = AsyncSocket::create_tls_connection(to, &files.client).await.unwrap();
        socket.send_msg("ping".repeat(25_000).as_bytes()).await.unwrap();
        assert_eq!(socket.recv_msg().await.unwrap().unwrap(), "ping".repeat(25_000));
        server.line_with("ok");
    });
}

const PYCOS_SERVER: &str = "
def server():
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(1)
    print('listening on', listener.getsockname()[1], flush=True)
    pem = sys.argv[1]
    conn, _ = yield pycos.AsyncSocket(listener, keyfile=pem, certfile=pem).accept()
    message = yield conn.recv_msg()
    yield conn.send_msg(bytes(message))
    return 'ok'
run(server)
";
