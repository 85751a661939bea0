//! A web server by hand: HTTP/1.1 with connections that stay open and requests sent ahead.
//!
//! ```text
//! cargo run --release --example webserver [ADDRESS [CHAIN KEY]]  (127.0.0.1:8080 if none is given)
//! curl http://127.0.0.1:8080/
//! wrk -t1 -c64 http://127.0.0.1:8080/
//! ```
//!
//! It answers `Pong!` to everything, to show `recv_until` (which keeps what came behind the
//! delimiter for the next call) and `send_queued` (answers to requests that came together leave
//! together). With PEM files of a certificate chain and its key it speaks TLS. Ctrl-C and SIGTERM
//! end it.

use std::{env, io, time::Duration};

use asyncoro::{AsyncSocket, error::Incomplete, signal};

const PONG: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\nPong!\r\n";
const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Bytes that a request line with its headers, and a body, may have.
const LONGEST_HEAD: usize = 16 << 10;
const LONGEST_BODY: usize = 1 << 20;

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(60);

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8080".to_owned());
    let files = arguments.next().zip(arguments.next());
    asyncoro::run_until(async {
        let shutdown = signal::shutdown();
        let server = secured(AsyncSocket::create_server(address).await?, files)?;
        println!("listening on {}", server.local_addr()?);
        asyncoro::spawn(serve(server)).or_log();
        shutdown.await
    })
}

#[cfg(feature = "tls")]
fn secured(server: AsyncSocket, files: Option<(String, String)>) -> io::Result<AsyncSocket> {
    match files {
        Some((chain, key)) => {
            server.with_tls(asyncoro::Tls::server(chain, key)?.alpn(["http/1.1"]))
        }
        None => Ok(server),
    }
}

#[cfg(not(feature = "tls"))]
fn secured(server: AsyncSocket, _: Option<(String, String)>) -> io::Result<AsyncSocket> {
    Ok(server)
}

async fn serve(server: AsyncSocket) -> io::Result<()> {
    loop {
        let (client, _) = server.accept().await?;
        client.set_timeout(Some(IDLE));
        asyncoro::spawn(answer(client)).or_log();
    }
}

async fn answer(client: AsyncSocket) -> io::Result<()> {
    loop {
        let head = match client.recv_until(b"\r\n\r\n", LONGEST_HEAD).await {
            Ok(head) => head,
            Err(error) if is_end(&error) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => break,
            Err(error) => return Err(error),
        };
        let Some(request) = Request::read(&head) else { break };
        client.recv_all_bytes(request.body_length).await?;
        client.send_queued(PONG).await?;
        if request.is_last {
            return client.close().await;
        }
    }
    client.send_queued(BAD_REQUEST).await?;
    client.close().await
}

/// What matters of a request here.
struct Request {
    body_length: usize,
    is_last: bool,
}

impl Request {
    fn read(head: &[u8]) -> Option<Request> {
        let mut lines = str::from_utf8(head).ok()?.trim_end().split("\r\n");
        let is_last = match lines.next()?.rsplit_once(' ')?.1 {
            "HTTP/1.1" => false,
            "HTTP/1.0" => true,
            _ => return None,
        };
        let mut request = Request { body_length: 0, is_last };
        for line in lines {
            let (name, value) = line.split_once(':')?;
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-length", length) => request.body_length = length.parse().ok()?,
                ("connection", value) => request.is_last |= value.eq_ignore_ascii_case("close"),
                ("transfer-encoding", _) => return None, // bodies in chunks: not here
                _ => {}
            }
        }
        (request.body_length <= LONGEST_BODY).then_some(request)
    }
}

/// Whether the client has ended the connection between two requests, or was silent for too long.
fn is_end(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Incomplete>());
    inner.is_some_and(|incomplete| incomplete.got == 0)
        || matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::TimedOut)
}
