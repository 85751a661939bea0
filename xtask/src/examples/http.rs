//! Talks to the web server: one request, a second on the same connection, several at once.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::talk::{connect, failed, same};
use crate::Outcome;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LAST_REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const PIPELINED: usize = 5;

pub(crate) fn talk(address: SocketAddr) -> Outcome<Vec<TcpStream>> {
    let idle = connect(address)?;
    let mut reader = BufReader::new(connect(address)?);
    for what in ["the first answer", "the answer on a kept connection"] {
        reader.get_mut().write_all(REQUEST.as_bytes()).map_err(failed("cannot send"))?;
        pong(what, &mut reader)?;
    }
    reader
        .get_mut()
        .write_all(REQUEST.repeat(PIPELINED).as_bytes())
        .map_err(failed("cannot send"))?;
    for _ in 0..PIPELINED {
        pong("an answer to pipelined requests", &mut reader)?;
    }
    let (start, end) = REQUEST.split_at(REQUEST.len() / 2);
    for part in [start, end] {
        reader.get_mut().write_all(part.as_bytes()).map_err(failed("cannot send"))?;
    }
    pong("the answer to a request in two parts", &mut reader)?;
    reader.get_mut().write_all(LAST_REQUEST.as_bytes()).map_err(failed("cannot send"))?;
    pong("the answer to the last request", &mut reader)?;
    let rest = reader.read(&mut [0; 16]).map_err(failed("no end after Connection: close"))?;
    same("the bytes after the last answer", &rest, &0)?;
    Ok(vec![idle])
}

fn pong(what: &str, reader: &mut impl BufRead) -> Outcome {
    let (status, body) = answer(reader).map_err(|error| format!("{what}: {error}"))?;
    if status.starts_with("HTTP/1.1 200") && body.contains("Pong!") {
        return Ok(());
    }
    Err(format!("{what} is {status:?} with the body {body:?}"))
}

/// Reads the status line and body of one answer, which must announce its length.
fn answer(reader: &mut impl BufRead) -> Outcome<(String, String)> {
    let status = line(reader)?;
    let mut length = None;
    loop {
        let header = line(reader)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or("a header without a colon")?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
    }
    let length = length.ok_or_else(|| format!("no content-length after {status:?}"))?;
    let mut body = String::new();
    let got = reader.take(length).read_to_string(&mut body).map_err(failed("no body"))?;
    same("the length of the body", &(got as u64), &length)?;
    Ok((status, body))
}

fn line(reader: &mut impl BufRead) -> Outcome<String> {
    let mut line = String::new();
    let got = reader.read_line(&mut line).map_err(failed("no line"))?;
    if got == 0 {
        return Err("the connection ended".to_owned());
    }
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_one_after_the_other() {
        let one = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX: y\r\n\r\nPong!\n";
        let text = one.repeat(2);
        let mut reader = text.as_bytes();
        assert_eq!(pong("first", &mut reader), Ok(()));
        assert_eq!(pong("second", &mut reader), Ok(()));
        assert!(pong("third", &mut reader).unwrap_err().contains("third: the connection ended"));
    }

    #[test]
    fn other_answers_are_refused() {
        let not_found = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        assert!(pong("it", &mut not_found.as_bytes()).unwrap_err().contains("404"));
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nPong!";
        assert!(pong("it", &mut cut.as_bytes()).unwrap_err().contains("length of the body"));
    }
}
