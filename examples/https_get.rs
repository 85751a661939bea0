//! Fetches a page over TLS by hand, with `recv_until` and `recv_all_bytes`.
//!
//! ```text
//! cargo run --release --example https_get HOST [PORT [PATH [CA]]]     (443 and / if none is given)
//! cargo run --release --example https_get example.org
//! ```
//!
//! CA is a PEM file of certificates to trust instead of the system's roots. The page goes to
//! standard output, details of the connection to standard error.

use std::{env, io, io::Write, time::Duration};

use asyncoro::{AsyncSocket, Tls, time::timeout};

/// The most bytes of the answer's headers, and of its body.
const LONGEST_HEAD: usize = 64 << 10;
const LONGEST_BODY: usize = 64 << 20;

/// How long everything together may take.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let Some(host) = arguments.next() else {
        eprintln!("usage: https_get HOST [PORT [PATH [CA]]]");
        std::process::exit(2);
    };
    let port = arguments.next().map_or(Ok(443), |port| port.parse()).map_err(io::Error::other)?;
    let path = arguments.next().unwrap_or("/".to_owned());
    let mut tls = Tls::client()?.alpn(["http/1.1"]);
    if let Some(ca) = arguments.next() {
        tls = tls.ca_file(ca)?;
    }
    asyncoro::run(timeout(LIMIT, async {
        let socket = AsyncSocket::create_tls_connection((host.as_str(), port), &tls).await?;
        if let Some(version) = socket.protocol_version() {
            eprintln!("{host}:{port} speaks {version}");
        }
        let page = get(&socket, &host, &path).await?;
        io::stdout().write_all(&page)
    }))?
}

/// Requests a page; returns the body of the answer.
async fn get(socket: &AsyncSocket, host: &str, path: &str) -> io::Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    socket.send_all(request.as_bytes()).await?;
    let head = socket.recv_until(b"\r\n\r\n", LONGEST_HEAD).await?;
    let head = String::from_utf8_lossy(&head);
    eprintln!("{}", head.lines().next().unwrap_or_default());
    if let Some(length) = header(&head, "content-length") {
        let length = length.parse().ok().filter(|length| *length <= LONGEST_BODY);
        let length = length.ok_or_else(|| io::Error::other("a body of no length we take"))?;
        return Ok(socket.recv_all_bytes(length).await?.into());
    }
    // Without a length the end of the stream is the end of the page (a chunked one is shown as it
    // came). It counts only after close_notify, since anybody can cut a connection.
    let mut page = Vec::new();
    while page.len() < LONGEST_BODY {
        let more = socket.recv_bytes(64 << 10).await?;
        if more.is_empty() {
            if !socket.peer_closed_cleanly() {
                return Err(io::Error::other("the page was cut off"));
            }
            return Ok(page);
        }
        page.extend_from_slice(&more);
    }
    Err(io::Error::other("the page is too long"))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = headers.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.trim())
}
