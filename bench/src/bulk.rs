//! Many bytes in one direction over one connection: the subject in a child sends or receives them;
//! the other end is a raw peer in the parent, which closes the connection by a reset.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::listening::listen;
use crate::runtime::Net;
use crate::served::{fatal, gone};

/// What is transferred in a turn.
#[derive(Clone, Copy)]
pub(crate) struct Bulk {
    /// Bytes in total.
    pub(crate) total: usize,
    /// Bytes of one write.
    pub(crate) piece: usize,
}

/// Runs the subject's part forever.
pub(crate) type Serve = fn(TcpListener, Bulk) -> io::Result<()>;

/// Whenever it receives a byte, sends all.
pub(crate) fn sends<R: Net>(listener: TcpListener, bulk: Bulk) -> io::Result<()> {
    listen::<R, _>(listener, move |mut stream| async move {
        let (mut order, mut data) = (vec![0; 1], vec![b'?'; bulk.piece]);
        loop {
            let received;
            (received, order) = R::recv(&mut stream, order).await;
            if received.unwrap_or_else(gone) == 0 {
                return;
            }
            for _ in 0..bulk.total / bulk.piece {
                let sent;
                (sent, data) = R::send_all(&mut stream, data, bulk.piece).await;
                sent.unwrap_or_else(fatal);
            }
        }
    })
}

/// Whenever it has received all, sends a byte.
pub(crate) fn receives<R: Net>(listener: TcpListener, bulk: Bulk) -> io::Result<()> {
    listen::<R, _>(listener, move |mut stream| async move {
        let (mut word, mut room) = (vec![b'!'; 1], vec![0; ROOM]);
        let mut left = bulk.total;
        loop {
            let received;
            (received, room) = R::recv(&mut stream, room).await;
            match received.unwrap_or_else(gone) {
                0 => return,
                received => left -= received,
            }
            if left == 0 {
                let sent;
                (sent, word) = R::send_all(&mut stream, word, 1).await;
                sent.unwrap_or_else(fatal);
                left = bulk.total;
            }
        }
    })
}

/// Runs the parent's part of a turn of a subject that sends.
pub(crate) fn receive(stream: &mut TcpStream, bulk: Bulk) -> io::Result<()> {
    stream.write_all(b"?")?;
    let (mut room, mut left) = (vec![0; ROOM], bulk.total);
    while left > 0 {
        match stream.read(&mut room)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            received => left -= received,
        }
    }
    Ok(())
}

/// Runs the parent's part of a turn of a subject that receives.
pub(crate) fn send(stream: &mut TcpStream, bulk: Bulk) -> io::Result<()> {
    let data = vec![b'?'; bulk.piece];
    for _ in 0..bulk.total / bulk.piece {
        stream.write_all(&data)?;
    }
    stream.read_exact(&mut [0])
}

/// The length of the buffer for receiving.
pub(crate) const ROOM: usize = 64 * 1024;
