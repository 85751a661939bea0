//! A web server by hand: HTTP/1.1 with persistent connections and pipelined requests.
//!
//! ```text
//! cargo run --release --example webserver [ADDRESS [CHAIN KEY]]  (127.0.0.1:8080 if none is given)
//! curl http://127.0.0.1:8080/
//! wrk -t1 -c64 http://127.0.0.1:8080/
//! ```
//!
//! It answers `Pong!` to everything, to show `recv_until` (which keeps bytes after the delimiter
//! for the next call) and `send_queued` (answers to requests that came together are sent together).
//! With PEM files of a certificate chain and its key it speaks TLS. Ctrl-C and SIGTERM end it.
//!
//! `httparse` parses requests, and RFC 9112 decides what is valid. It refuses whatever two parsers
//! could take for different requests, and ends the connection: several lengths, a space before a
//! colon, folded lines, line ends without CR, codings of the body. Everything is bounded: the bytes
//! of a head and of a body, the time that each may take, the time between two requests. It does not
//! support chunked bodies (501) or the header `Date`.

use std::{env, io, net::Shutdown, time::Duration};

use asyncoro::{AsyncSocket, signal, time::timeout};

/// The most bytes and fields of a head, and the most bytes of a body.
const LONGEST_HEAD: usize = 16 << 10;
const MOST_FIELDS: usize = 64;
const LONGEST_BODY: usize = 1 << 20;

/// How long a client may be silent between two requests, or read no answer.
const IDLE: Duration = Duration::from_secs(60);

/// How long a whole head, and a whole body, may take.
const HEAD_TIME: Duration = Duration::from_secs(5);
const BODY_TIME: Duration = Duration::from_secs(30);

/// How long a refused client may go on sending, and how many bytes of that are read.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 << 10;

/// Makes an answer with these fields beside the usual ones, and this body.
macro_rules! pong {
    ($fields:literal, $body:literal) => {
        concat!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n",
            $fields,
            "\r\n",
            $body
        )
        .as_bytes()
    };
}

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
        asyncoro::spawn(async move {
            match converse(&client).await {
                Err(error) if has_left(&error) => Ok(()),
                ended => ended,
            }
        })
        .or_log();
    }
}

/// Tells whether the client has gone or is silent, which is no failure of this server.
fn has_left(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | TimedOut | UnexpectedEof)
}

async fn converse(client: &AsyncSocket) -> io::Result<()> {
    loop {
        client.readable().await?;
        match answer(client).await? {
            Next::Request => {}
            Next::Close => return client.close().await,
            Next::Refuse(status) => return refuse(client, status).await,
        }
    }
}

enum Next {
    Request,
    Close,
    Refuse(Status),
}

/// Receives one request and queues its answer.
async fn answer(client: &AsyncSocket) -> io::Result<Next> {
    let head = match timeout(HEAD_TIME, client.recv_until(b"\r\n\r\n", LONGEST_HEAD)).await {
        Ok(Ok(head)) => head,
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            return Ok(Next::Refuse(FIELDS_TOO_LARGE));
        }
        Ok(Err(error)) => return Err(error),
        Err(_) => return Ok(Next::Refuse(REQUEST_TIMEOUT)),
    };
    let request = match Request::read(&head) {
        Ok(request) => request,
        Err(status) => return Ok(Next::Refuse(status)),
    };
    if request.body_length > 0 {
        if request.is_asked_to_go_on {
            client.send_queued(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        match timeout(BODY_TIME, client.recv_all_bytes(request.body_length)).await {
            Ok(body) => drop(body?),
            Err(_) => return Ok(Next::Refuse(REQUEST_TIMEOUT)),
        }
    }
    client.send_queued(request.pong()).await?;
    Ok(if request.is_last { Next::Close } else { Next::Request })
}

/// Sends an error and ends the connection, as nobody knows where the next request begins.
async fn refuse(client: &AsyncSocket, (code, reason): Status) -> io::Result<()> {
    let answer =
        format!("HTTP/1.1 {code} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    client.send_queued(answer.as_bytes()).await?;
    client.shutdown(Shutdown::Write).await?;
    // Closing with unread bytes sends a reset, which may overtake the answer (RFC 9112, 9.6).
    let rest = async {
        let (mut left, mut buffer) = (LINGER_BYTES, [0; 4096]);
        while left > 0 {
            match client.recv(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    };
    // A client that still sends then may get a reset.
    let _ = timeout(LINGER, rest).await;
    client.close().await
}

type Status = (u16, &'static str);
const BAD_REQUEST: Status = (400, "Bad Request");
const REQUEST_TIMEOUT: Status = (408, "Request Timeout");
const CONTENT_TOO_LARGE: Status = (413, "Content Too Large");
const EXPECTATION_FAILED: Status = (417, "Expectation Failed");
const FIELDS_TOO_LARGE: Status = (431, "Request Header Fields Too Large");
const NOT_IMPLEMENTED: Status = (501, "Not Implemented");
const VERSION_NOT_SUPPORTED: Status = (505, "HTTP Version Not Supported");

/// The parts of a request that matter here.
struct Request {
    /// Whether it is HEAD, whose answer has no body.
    is_head: bool,
    body_length: usize,
    /// Whether the client waits for `100 Continue` before it sends the body.
    is_asked_to_go_on: bool,
    is_last: bool,
}

impl Request {
    /// Parses a head that ends with an empty line.
    fn read(head: &[u8]) -> Result<Request, Status> {
        // One empty line before a request is ignored (RFC 9112, 2.2).
        let head = head.strip_prefix(b"\r\n").unwrap_or(head);
        // The parser accepts a bare LF as the end of a line; others do not.
        let is_bare = |(at, byte): (usize, &u8)| *byte == b'\n' && !head[..at].ends_with(b"\r");
        if head.starts_with(b"\r\n") || head.iter().enumerate().any(is_bare) {
            return Err(BAD_REQUEST);
        }
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut parsed = httparse::Request::new(&mut fields);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(BAD_REQUEST),
            Err(httparse::Error::TooManyHeaders) => return Err(FIELDS_TOO_LARGE),
            Err(httparse::Error::Version) if names_a_version(head) => {
                return Err(VERSION_NOT_SUPPORTED);
            }
            Err(_) => return Err(BAD_REQUEST),
        }
        let method = parsed.method.ok_or(BAD_REQUEST)?;
        let is_old = parsed.version == Some(0);
        let fields = Fields::read(parsed.headers)?;
        if fields.hosts > 1 || (fields.hosts == 0 && !is_old) {
            return Err(BAD_REQUEST);
        }
        if fields.has_coding {
            // With a length beside it, or from an HTTP/1.0 client, nobody knows where the body
            // ends.
            let is_faulty = fields.length.is_some() || is_old;
            return Err(if is_faulty { BAD_REQUEST } else { NOT_IMPLEMENTED });
        }
        if !["GET", "HEAD", "POST", "PUT"].contains(&method) {
            return Err(NOT_IMPLEMENTED);
        }
        Ok(Request {
            is_head: method == "HEAD",
            body_length: fields.length.unwrap_or(0),
            is_asked_to_go_on: fields.expects && !is_old,
            is_last: fields.closes || is_old,
        })
    }

    fn pong(&self) -> &'static [u8] {
        match (self.is_head, self.is_last) {
            (false, false) => pong!("", "Pong!\r\n"),
            (false, true) => pong!("Connection: close\r\n", "Pong!\r\n"),
            (true, false) => pong!("", ""),
            (true, true) => pong!("Connection: close\r\n", ""),
        }
    }
}

/// The fields that decide where a request ends and what follows.
#[derive(Default)]
struct Fields {
    hosts: usize,
    length: Option<usize>,
    has_coding: bool,
    expects: bool,
    closes: bool,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Fields, Status> {
        let mut fields = Fields::default();
        for header in headers {
            let value = str::from_utf8(header.value).unwrap_or_default().trim_matches([' ', '\t']);
            match header.name.to_ascii_lowercase().as_str() {
                "host" => fields.hosts += 1,
                "content-length" if fields.length.is_some() => return Err(BAD_REQUEST),
                "content-length" => fields.length = Some(length(value)?),
                "transfer-encoding" => fields.has_coding = true,
                "expect" if value.eq_ignore_ascii_case("100-continue") => fields.expects = true,
                "expect" => return Err(EXPECTATION_FAILED),
                "connection" => {
                    let mut options = value.split(',').map(str::trim);
                    fields.closes |= options.any(|option| option.eq_ignore_ascii_case("close"));
                }
                _ => {}
            }
        }
        Ok(fields)
    }
}

/// Accepts digits only: `parse` would accept a sign, too.
fn length(value: &str) -> Result<usize, Status> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BAD_REQUEST);
    }
    // Digits that do not parse are too large a number.
    let length = value.parse().unwrap_or(usize::MAX);
    if length > LONGEST_BODY { Err(CONTENT_TOO_LARGE) } else { Ok(length) }
}

/// Tells whether the first line ends with a version, whatever its number.
fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let word = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let is_number = |[major, dot, minor]: &[u8; 3]| {
        major.is_ascii_digit() && *dot == b'.' && minor.is_ascii_digit()
    };
    let number = word.strip_prefix(b"HTTP/").and_then(|number| number.try_into().ok());
    number.is_some_and(is_number)
}
