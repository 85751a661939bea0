//! The example `webserver` with requests that RFC 9112 forbids, and with slow clients.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::programs::Program;

/// How long to wait for an answer or an end.
const PATIENCE: Duration = Duration::from_secs(40);

const HOST: &str = "Host: localhost\r\n";

/// A second request after one that must be refused; it must not be answered.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Returns everything that is sent in answer to `request`, up to the end of the stream; this end
/// stays open.
fn all_answers(address: &str, request: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    String::from_utf8(answers).unwrap()
}

/// Asserts that the request, with another one after it, gets one answer, with this code, and then
/// the end.
fn is_refused(address: &str, code: u16, request: &str) {
    let answers = all_answers(address, format!("{request}{SMUGGLED}").as_bytes());
    assert!(answers.starts_with(&format!("HTTP/1.1 {code} ")), "{request:?}: {answers:?}");
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{request:?}: {answers:?}");
    assert!(answers.contains("\r\nConnection: close\r\n"), "{request:?}: {answers:?}");
}

#[test]
fn a_request_that_two_readers_could_take_differently_is_refused() {
    let (server, address) = Program::server("webserver");
    let start = format!("POST / HTTP/1.1\r\n{HOST}");
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "Content-Length: 5, 5\r\n\r\nhello",
        "Content-Length: +5\r\n\r\nhello",
        "Content-Length: -5\r\n\r\nhello",
        "Content-Length: 0x5\r\n\r\nhello",
        "Content-Length: 5 5\r\n\r\nhello",
        "Content-Length:\r\n\r\n",
        "Content-Length : 5\r\n\r\nhello",
        "Content-Length\t: 5\r\n\r\nhello",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "X: 1\r\n Content-Length: 5\r\n\r\nhello",
        "X: 1\r\n\tgoes on\r\n\r\n",
        "X: 1\nContent-Length: 5\r\n\r\nhello",
        "X: 1\rContent-Length: 5\r\n\r\nhello",
        "X: \0\r\n\r\n",
        ": 1\r\n\r\n",
        "no colon\r\n\r\n",
        "Host: other\r\n\r\n",
    ] {
        is_refused(&address, 400, &format!("{start}{fields}"));
    }
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
        "GET / HTTP/1.1\nHost: localhost\n\n\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: localhost\r\n\r\n",
        "GET /\r\nHost: localhost\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\r\n\r\n",
    ] {
        is_refused(&address, 400, request);
    }
    server.terminate();
}

#[test]
fn what_is_too_large_or_not_offered_is_told_by_its_code() {
    let (server, address) = Program::server("webserver");
    let get = format!("GET / HTTP/1.1\r\n{HOST}");
    let many = "X: 1\r\n".repeat(100);
    let long = "x".repeat(20_000);
    for (code, request) in [
        (413, format!("{get}Content-Length: 1048577\r\n\r\n")),
        (413, format!("{get}Content-Length: {}\r\n\r\n", "9".repeat(40))),
        (417, format!("{get}Expect: tea\r\n\r\n")),
        (431, format!("{get}{many}\r\n")),
        (431, format!("{get}X: {long}\r\n\r\n")),
        (501, format!("{get}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        (501, format!("{get}Transfer-Encoding: xchunked\r\n\r\n")),
        (501, format!("BREW / HTTP/1.1\r\n{HOST}\r\n")),
        (505, format!("GET / HTTP/2.0\r\n{HOST}\r\n")),
        (505, format!("GET / HTTP/1.2\r\n{HOST}\r\n")),
    ] {
        is_refused(&address, code, &request);
    }
    server.terminate();
}

#[test]
fn what_is_well_formed_is_answered_and_the_connection_is_kept_as_asked() {
    let (server, address) = Program::server("webserver");
    let last = format!("GET / HTTP/1.1\r\n{HOST}Connection: Close\r\n\r\n");
    for (request, answered) in [
        (format!("GET / HTTP/1.1\r\n{HOST}\r\n{last}"), 2),
        (format!("\r\nGET / HTTP/1.1\r\n{HOST}\r\n{last}"), 2),
        (format!("POST / HTTP/1.1\r\n{HOST}content-length: 005\r\n\r\nhello{last}"), 2),
        (format!("POST / HTTP/1.1\r\n{HOST}Content-Length: \t0 \r\n\r\n{last}"), 2),
        (format!("GET / HTTP/1.1\r\n{HOST}Connection: x, CLOSE\r\n\r\n{SMUGGLED}"), 1),
        (format!("GET / HTTP/1.0\r\n\r\n{SMUGGLED}"), 1),
        (format!("HEAD / HTTP/1.1\r\n{HOST}\r\n{last}"), 2),
        (
            format!(
                "PUT / HTTP/1.1\r\n{HOST}Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nhi{last}"
            ),
            3,
        ),
    ] {
        let answers = all_answers(&address, request.as_bytes());
        let pongs = answered - usize::from(request.contains("Expect"));
        let bodies = pongs - usize::from(request.contains("HEAD"));
        assert_eq!(answers.matches("HTTP/1.1 ").count(), answered, "{request:?}: {answers:?}");
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), pongs, "{request:?}: {answers:?}");
        assert_eq!(answers.matches("Pong!").count(), bodies, "{request:?}: {answers:?}");
        assert_eq!(answers.matches("Connection: close").count(), 1, "{request:?}: {answers:?}");
    }
    server.terminate();
}

#[test]
fn a_head_that_drips_has_one_deadline_for_all_of_it() {
    let (server, address) = Program::server("webserver");
    let mut stream = connect(&address);
    stream.set_nonblocking(true).unwrap();
    let begun = Instant::now();
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        assert!(begun.elapsed() < PATIENCE, "still waited for: {answer:?}");
        // Each byte would begin a time-out of silence anew. The peer may have closed meanwhile.
        let _ = stream.write_all(b"x");
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(50));
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{:?}", String::from_utf8_lossy(&answer));
    server.terminate();
}

#[test]
fn a_body_that_ends_early_ends_its_connection_and_other_clients_are_served_meanwhile() {
    let (server, address) = Program::server("webserver");
    let request = format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhi");
    let mut slow = connect(&address);
    slow.write_all(request.as_bytes()).unwrap();
    let last = format!("GET / HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n");
    assert!(all_answers(&address, last.as_bytes()).contains("Pong!"));
    // One who leaves in the middle ends nobody else's conversation, nor the server.
    slow.shutdown(Shutdown::Write).unwrap();
    assert_eq!(slow.read(&mut [0; 16]).unwrap(), 0);
    assert!(all_answers(&address, last.as_bytes()).contains("Pong!"));
    server.terminate();
}
