//! Datagrams by hand: edge-triggered; receives and sends until none is left.

use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::rc::Rc;

use super::poll::Poll;
use crate::flight::{Flight, ROOM, Turn};
use crate::served::fatal;

/// Sends each datagram back.
pub(crate) fn echo(socket: UdpSocket, flight: Rc<Flight>) -> io::Result<Turn> {
    socket.set_nonblocking(true)?;
    let mut poll = Poll::new([&socket])?;
    let mut buffer = vec![0; ROOM];
    let mut serve = move |mut datagrams: usize| {
        while datagrams > 0 {
            poll.wait().for_each(drop);
            datagrams -= answer(&socket, &mut buffer).unwrap_or_else(fatal);
        }
    };
    Ok(Box::new(move |times| flight.turn(times, &mut serve)))
}

fn answer(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
    let mut answered = 0;
    loop {
        match socket.recv_from(buffer) {
            Ok((length, from)) => socket.send_to(&buffer[..length], from)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(answered),
            Err(error) => return Err(error),
        };
        answered += 1;
    }
}
