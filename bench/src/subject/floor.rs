//! A lower bound: edge-triggered epoll with one hot buffer for all connections; messages are parsed
//! in it and their answers are sent in one write.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;

use super::epoll::poll::{Poll, non_blocking};
use crate::gathered::gather;
use crate::load::{Load, Spent};
use crate::served::{Server, fatal};

/// Sends back what it receives.
pub(super) fn echo(connections: Vec<TcpStream>, length: usize) -> io::Result<Box<dyn Server>> {
    floor(connections, length, |mut stream, buffer, _| {
        let received = stream.read(buffer)?;
        stream.write_all(&buffer[..received])?;
        Ok(received)
    })
}

/// Sends messages back; they come whole, as the load sends them.
pub(super) fn messages(connections: Vec<TcpStream>, length: usize) -> io::Result<Box<dyn Server>> {
    floor(connections, length, |mut stream, buffer, answers| {
        let mut received = 0;
        loop {
            received += match stream.read(&mut buffer[received..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                // The rest is still to come.
                Err(error) if received > 0 && error.kind() == ErrorKind::WouldBlock => 0,
                other => other?,
            };
            answers.clear();
            if gather(&buffer[..received], answers) == received {
                break;
            }
        }
        stream.write_all(answers)?;
        Ok(received)
    })
}

fn floor(
    connections: Vec<TcpStream>,
    length: usize,
    answer: Answer,
) -> io::Result<Box<dyn Server>> {
    let poll = Poll::new(non_blocking(&connections)?)?;
    Ok(Box::new(Floor { poll, connections, answer, hot: vec![0; length], answers: Vec::new() }))
}

type Answer = fn(&TcpStream, &mut [u8], &mut Vec<u8>) -> io::Result<usize>;

struct Floor {
    poll: Poll,
    connections: Vec<TcpStream>,
    answer: Answer,
    hot: Vec<u8>,
    answers: Vec<u8>,
}

impl Server for Floor {
    fn turn(&mut self, load: &Rc<Load>, times: usize) -> Spent {
        load.turn(times, |mut bytes| {
            while bytes > 0 {
                for index in self.poll.wait() {
                    let stream = &self.connections[index];
                    let answered = (self.answer)(stream, &mut self.hot, &mut self.answers);
                    bytes -= answered.or_else(nothing).unwrap_or_else(fatal);
                }
            }
        })
    }
}

fn nothing(error: io::Error) -> io::Result<usize> {
    if error.kind() == ErrorKind::WouldBlock { Ok(0) } else { Err(error) }
}
