//! The yardstick: a hand-written edge-triggered epoll loop, one buffer per connection.

pub(super) mod accepting;
pub(super) mod bulk;
pub(super) mod datagrams;
mod messages;
pub(super) mod poll;

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;

use crate::load::{Load, Spent};
use crate::served::{Server, fatal};
use poll::{Poll, non_blocking};

/// Sends back what it receives.
pub(super) fn echo(connections: Vec<TcpStream>, length: usize) -> io::Result<Box<dyn Server>> {
    Ok(Box::new(Echo::new(connections, length)?))
}

/// Sends messages back.
pub(super) fn messages(connections: Vec<TcpStream>, length: usize) -> io::Result<Box<dyn Server>> {
    Ok(Box::new(messages::Echo::new(connections, length)?))
}

struct Echo {
    poll: Poll,
    connections: Vec<(TcpStream, Vec<u8>)>,
}

impl Echo {
    fn new(connections: Vec<TcpStream>, length: usize) -> io::Result<Self> {
        let poll = Poll::new(non_blocking(&connections)?)?;
        let with_buffer = |stream| (stream, vec![0; length]);
        Ok(Self { poll, connections: connections.into_iter().map(with_buffer).collect() })
    }

    fn serve(&mut self, mut bytes: usize) {
        while bytes > 0 {
            for index in self.poll.wait() {
                let (stream, buffer) = &mut self.connections[index];
                bytes -= answer(stream, buffer).unwrap_or_else(fatal);
            }
        }
    }
}

impl Server for Echo {
    fn turn(&mut self, load: &Rc<Load>, times: usize) -> Spent {
        load.turn(times, |bytes| self.serve(bytes))
    }
}

/// Sends back everything that is there; a short read means drained, which holds for TCP. Returns
/// the bytes.
fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut answered = 0;
    loop {
        let received = match stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(answered),
            other => other?,
        };
        stream.write_all(&buffer[..received])?;
        answered += received;
        if received < buffer.len() {
            return Ok(answered);
        }
    }
}
