//! Talks to the servers among the examples, over blocking sockets with timeouts.
//!
//! A message is 4 bytes of length, big-endian, then the payload. The library's own code for that is
//! not used here, since a check that used it would not notice its mistakes.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use super::PATIENCE;
use crate::Outcome;

/// Checks that bytes come back unchanged, on two connections at a time, up to the end of stream.
pub(crate) fn echo(address: SocketAddr) -> Outcome<Vec<TcpStream>> {
    let idle = connect(address)?;
    let mut stream = connect(address)?;
    for payload in [&b"hello"[..], &vec![7; 300_000]] {
        let mut writer = stream.try_clone().map_err(failed("cannot clone"))?;
        let sent = payload.to_vec();
        let sender = std::thread::spawn(move || writer.write_all(&sent));
        let mut echoed = vec![0; payload.len()];
        stream.read_exact(&mut echoed).map_err(failed("no echo"))?;
        sender.join().expect("the sender does not panic").map_err(failed("cannot send"))?;
        same("the echo", &echoed[..], payload)?;
    }
    stream.shutdown(Shutdown::Write).map_err(failed("cannot shut down"))?;
    let rest = stream.read(&mut [0; 16]).map_err(failed("no end of stream"))?;
    same("the bytes before the end of stream", &rest, &0)?;
    Ok(vec![idle])
}

/// Checks that messages come back unchanged: an empty one, a long one, several in one write, one in
/// pieces.
pub(crate) fn messages(address: SocketAddr) -> Outcome<Vec<TcpStream>> {
    let idle = connect(address)?;
    let mut peer = Peer::connect(address)?;
    for payload in [&b""[..], b"hello", &vec![9; 100_000]] {
        peer.send(payload)?;
        same("the echo of a message", &peer.receive()?[..], payload)?;
    }
    let (first, second) = (framed(b"one"), framed(b"two"));
    peer.write(&[&first[..], &second].concat())?;
    same("the first of two messages", &peer.receive()?[..], &b"one"[..])?;
    same("the second of two messages", &peer.receive()?[..], &b"two"[..])?;
    for byte in framed(b"piecemeal") {
        peer.write(&[byte])?;
    }
    same("a message sent byte by byte", &peer.receive()?[..], &b"piecemeal"[..])?;
    Ok(vec![idle, peer.0])
}

/// Checks that the messages of one client reach the others.
pub(crate) fn chat(address: SocketAddr) -> Outcome<Vec<TcpStream>> {
    let mut peers = [(); 3].map(|()| Peer::connect(address));
    let [Ok(speaker), Ok(first), Ok(second)] = &mut peers else {
        return Err("cannot connect three clients".to_owned());
    };
    // Several times, since a client that has not joined yet receives nothing.
    first.until_heard("good morning", || speaker.send(b"good morning"))?;
    second.until_heard("good morning", || speaker.send(b"good morning"))?;
    first.send(b"good evening")?;
    second.heard("good evening")?;
    Ok(peers.into_iter().flatten().map(|peer| peer.0).collect())
}

/// Checks that datagrams come back unchanged, one for one.
pub(crate) fn datagrams(address: SocketAddr) -> Outcome<Vec<TcpStream>> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(failed("cannot bind"))?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(failed("cannot set a timeout"))?;
    for payload in [&b"hello"[..], b"", &[3; 1400]] {
        socket.send_to(payload, address).map_err(failed("cannot send"))?;
        let mut buffer = [0; 2000];
        let (length, from) = socket.recv_from(&mut buffer).map_err(failed("no echo"))?;
        same("the echo of a datagram", &buffer[..length], payload)?;
        same("the sender of the echo", &from, &address)?;
    }
    Ok(Vec::new())
}

/// A connection that carries messages.
pub(crate) struct Peer(TcpStream);

impl Peer {
    pub(crate) fn connect(address: SocketAddr) -> Outcome<Self> {
        connect(address).map(Peer)
    }

    pub(crate) fn send(&mut self, payload: &[u8]) -> Outcome {
        self.write(&framed(payload))
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome {
        self.0.write_all(bytes).map_err(failed("cannot send"))
    }

    fn receive(&mut self) -> Outcome<Vec<u8>> {
        let mut header = [0; 4];
        self.0.read_exact(&mut header).map_err(failed("no header of a message"))?;
        let length = u32::from_be_bytes(header);
        if length > 1 << 20 {
            return Err(format!("a header announces {length} bytes"));
        }
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).map_err(failed("no payload of a message"))?;
        Ok(payload)
    }

    /// Waits for a message that contains `text`.
    fn heard(&mut self, text: &str) -> Outcome {
        self.until_heard(text, || Ok(()))
    }

    /// Calls `say` repeatedly until a message that contains `text` comes.
    pub(crate) fn until_heard(&mut self, text: &str, mut say: impl FnMut() -> Outcome) -> Outcome {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            say()?;
            while self.bytes_within(Duration::from_millis(300))? {
                if String::from_utf8_lossy(&self.receive()?).contains(text) {
                    return Ok(());
                }
            }
        }
        Err(format!("never heard {text:?}"))
    }

    fn bytes_within(&self, patience: Duration) -> Outcome<bool> {
        self.0.set_read_timeout(Some(patience)).map_err(failed("cannot set a timeout"))?;
        let peeked = self.0.peek(&mut [0]);
        self.0.set_read_timeout(Some(PATIENCE)).map_err(failed("cannot set a timeout"))?;
        match peeked {
            Ok(0) => Err("the server closed the connection".to_owned()),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }
}

pub(super) fn connect(address: SocketAddr) -> Outcome<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&address, PATIENCE).map_err(failed("cannot connect"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed("cannot set a timeout"))?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed("cannot set a timeout"))?;
    Ok(stream)
}

pub(super) fn same<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &str,
    got: &T,
    wanted: &T,
) -> Outcome {
    if got == wanted {
        return Ok(());
    }
    let short = |value: &T| format!("{value:?}").chars().take(80).collect::<String>();
    Err(format!("{what} is {} and not {}", short(got), short(wanted)))
}

/// Prefixes an error with what could not be done.
pub(super) fn failed(what: &'static str) -> impl Fn(io::Error) -> String {
    move |error| format!("{what}: {error}")
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("the payloads here are short");
    [&length.to_be_bytes()[..], payload].concat()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// Serves each connection in a thread of its own.
    fn serve(each: fn(TcpStream) -> io::Result<()>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || each(stream.unwrap()));
            }
        });
        address
    }

    fn copy(mut stream: TcpStream) -> io::Result<()> {
        io::copy(&mut stream.try_clone()?, &mut stream).map(|_| ())
    }

    fn flip(mut stream: TcpStream) -> io::Result<()> {
        let mut byte = [0];
        loop {
            stream.read_exact(&mut byte)?;
            stream.write_all(&[!byte[0]])?;
        }
    }

    #[test]
    fn an_echo_server_passes_both_as_bytes_and_as_messages() {
        assert_eq!(echo(serve(copy)).map(|left_open| left_open.len()), Ok(1));
        assert_eq!(messages(serve(copy)).map(|left_open| left_open.len()), Ok(2));
    }

    #[test]
    fn a_server_that_changes_bytes_fails() {
        assert!(echo(serve(flip)).unwrap_err().contains("the echo is"));
        assert!(messages(serve(flip)).unwrap_err().contains("announces"));
    }

    #[test]
    fn datagrams_must_come_back() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 2000];
            while let Ok((length, from)) = server.recv_from(&mut buffer) {
                server.send_to(&buffer[..length], from).unwrap();
            }
        });
        assert!(datagrams(address).is_ok());
    }
}
