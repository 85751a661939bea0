//! asyncoro's other verbs for receiving, its timeouts and its batches.

use std::io;
use std::net::{TcpStream, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use asyncoro::coro::Scheduler;
use asyncoro::{AsyncSocket, DatagramBatch};

use crate::flight::{Flight, ROOM, Turn, answering};
use crate::runtime::HEADER;
use crate::served::{Server, fatal, serve};

/// Sends back what it receives until the end of the stream.
pub(crate) async fn recv(
    stream: AsyncSocket,
    length: usize,
    answered: impl Fn(usize),
) -> io::Result<()> {
    let mut buffer = vec![0; length];
    loop {
        let received = stream.recv(&mut buffer).await?;
        if received == 0 {
            return Ok(());
        }
        stream.send_all(&buffer[..received]).await?;
        answered(received);
    }
}

/// Sends back what `recv_with` lends, as far as it can be sent without waiting.
pub(crate) fn recv_with(connections: Vec<TcpStream>, _: usize) -> io::Result<Box<dyn Server>> {
    serve::<Scheduler, _>(connections, false, |socket, progress| async move {
        loop {
            let send = |bytes: &[u8]| {
                let sent = if bytes.is_empty() { 0 } else { socket.try_send(bytes)? };
                io::Result::Ok((bytes.len(), bytes[sent..].to_vec()))
            };
            let Ok(lent) = socket.recv_with(send).await else { return };
            let (received, unsent) = lent.unwrap_or_else(fatal);
            if received == 0 {
                return;
            }
            if !unsent.is_empty() {
                socket.send_all(&unsent).await.unwrap_or_else(fatal);
            }
            progress.add(received);
        }
    })
}

/// Sends back what it receives in memory of its own.
pub(crate) fn recv_bytes(connections: Vec<TcpStream>, _: usize) -> io::Result<Box<dyn Server>> {
    serve::<Scheduler, _>(connections, false, |socket, progress| async move {
        loop {
            let Ok(bytes) = socket.recv_bytes(32 * 1024).await else { return };
            if bytes.is_empty() {
                return;
            }
            socket.send_all(&bytes).await.unwrap_or_else(fatal);
            progress.add(bytes.len());
        }
    })
}

/// Sends messages back, with a timeout for each.
pub(crate) fn with_timeout(
    connections: Vec<TcpStream>,
    length: usize,
) -> io::Result<Box<dyn Server>> {
    serve::<Scheduler, _>(connections, false, move |socket, progress| async move {
        socket.set_timeout(Some(Duration::from_secs(30)));
        let mut buffer = vec![0; length];
        while let Ok(received @ 1..) = socket.recv(&mut buffer).await {
            socket.send_all(&buffer[..received]).await.unwrap_or_else(fatal);
            progress.add(received);
        }
    })
}

/// Sends messages back, with nothing else in the coroutine, so that the waiting future is as small
/// as possible.
pub(crate) fn idle(connections: Vec<TcpStream>, _: usize) -> io::Result<Box<dyn Server>> {
    serve::<Scheduler, _>(connections, true, |socket, progress| async move {
        while let Ok(Some(message)) = socket.recv_msg().await {
            socket.send_msg(&message).await.unwrap_or_else(fatal);
            progress.add(HEADER + message.len());
        }
    })
}

/// Sends datagrams back, in batches of all that are there.
pub(crate) fn batch(socket: UdpSocket, flight: Rc<Flight>) -> io::Result<Turn> {
    answering::<Scheduler, _>(flight, async move |progress| {
        let socket = AsyncSocket::new(socket).unwrap_or_else(fatal);
        let mut batch = DatagramBatch::new(32, ROOM);
        loop {
            let received = socket.recv_batch(&mut batch).await.unwrap_or_else(fatal);
            let answers: Vec<_> = batch.iter().map(|one| (one.bytes, one.from.clone())).collect();
            let mut sent = 0;
            while sent < received {
                sent += socket.send_batch(&answers[sent..]).await.unwrap_or_else(fatal);
            }
            progress.add(received);
        }
    })
}
