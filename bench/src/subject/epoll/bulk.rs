//! Many bytes in one direction by hand: edge-triggered; it waits after a short write.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::event::epoll::EventFlags;

use super::poll::Poll;
use crate::bulk::{Bulk, ROOM};
use crate::served::gone;

/// Whenever it receives a byte, sends all.
pub(crate) fn sends(listener: TcpListener, bulk: Bulk) -> io::Result<()> {
    let data = vec![b'?'; bulk.piece];
    loop {
        let (mut stream, mut poll) = accept(&listener, EventFlags::IN | EventFlags::OUT)?;
        while read(&mut stream, &mut poll, &mut [0]) > 0 {
            for _ in 0..bulk.total / bulk.piece {
                send_all(&mut stream, &mut poll, &data)?;
            }
        }
    }
}

/// Whenever it has received all, sends a byte.
pub(crate) fn receives(listener: TcpListener, bulk: Bulk) -> io::Result<()> {
    let mut room = vec![0; ROOM];
    loop {
        let (mut stream, mut poll) = accept(&listener, EventFlags::IN)?;
        let mut left = bulk.total;
        loop {
            match read(&mut stream, &mut poll, &mut room) {
                0 => break,
                received => left -= received,
            }
            if left == 0 {
                stream.write_all(b"!")?;
                left = bulk.total;
            }
        }
    }
}

fn accept(listener: &TcpListener, events: EventFlags) -> io::Result<(TcpStream, Poll)> {
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    let poll = Poll::of([&stream], events)?;
    Ok((stream, poll))
}

fn send_all(stream: &mut TcpStream, poll: &mut Poll, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        let sent = or_nothing(stream.write(rest))?;
        rest = &rest[sent..];
        if !rest.is_empty() {
            poll.wait().for_each(drop);
        }
    }
    Ok(())
}

/// Receives, waiting if nothing is there; 0 at the end of the connection.
fn read(stream: &mut TcpStream, poll: &mut Poll, room: &mut [u8]) -> usize {
    loop {
        match stream.read(room) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => poll.wait().for_each(drop),
            received => return received.unwrap_or_else(gone),
        }
    }
}

fn or_nothing(done: io::Result<usize>) -> io::Result<usize> {
    match done {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        done => done,
    }
}
