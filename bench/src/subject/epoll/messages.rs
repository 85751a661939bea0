//! Messages by hand: everything received is parsed, and all answers are sent with one system call.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;

use super::poll::{Poll, non_blocking};
use crate::gathered::gather;
use crate::load::{Load, Spent};
use crate::served::{Server, fatal};

pub(super) struct Echo {
    poll: Poll,
    connections: Vec<Connection>,
    /// The answers of the current connection: one buffer for all connections, so that it stays in
    /// the cache.
    answers: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    unanswered: usize,
}

impl Echo {
    pub(super) fn new(connections: Vec<TcpStream>, length: usize) -> io::Result<Self> {
        let poll = Poll::new(non_blocking(&connections)?)?;
        let connect = |stream| Connection { stream, input: vec![0; length], unanswered: 0 };
        let connections = connections.into_iter().map(connect).collect();
        Ok(Self { poll, connections, answers: Vec::new() })
    }
}

impl Server for Echo {
    fn turn(&mut self, load: &Rc<Load>, times: usize) -> Spent {
        load.turn(times, |mut bytes| {
            while bytes > 0 {
                for index in self.poll.wait() {
                    let answered = self.connections[index].answer(&mut self.answers);
                    bytes -= answered.unwrap_or_else(fatal);
                }
            }
        })
    }
}

impl Connection {
    fn answer(&mut self, answers: &mut Vec<u8>) -> io::Result<usize> {
        answers.clear();
        loop {
            let room = &mut self.input[self.unanswered..];
            let (received, asked) = match self.stream.read(room) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                other => (other?, room.len()),
            };
            self.unanswered += received;
            let parsed = gather(&self.input[..self.unanswered], answers);
            self.input.copy_within(parsed..self.unanswered, 0);
            self.unanswered -= parsed;
            if received < asked {
                break;
            }
        }
        self.stream.write_all(answers)?;
        Ok(answers.len())
    }
}
