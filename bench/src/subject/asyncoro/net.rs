//! asyncoro's sockets.

use std::future::Future;
use std::io;
use std::net::{self, SocketAddr};

use asyncoro::AsyncSocket;
use asyncoro::coro::Scheduler;

use super::verbs;
use crate::runtime::{HEADER, Net};

impl Net for Scheduler {
    /// Messages are sent at the end of the scheduler's turn, in one call.
    const SENDS_LATER: bool = true;

    type Stream = AsyncSocket;
    type Listener = AsyncSocket;
    type Datagrams = AsyncSocket;

    fn stream(stream: net::TcpStream) -> io::Result<AsyncSocket> {
        AsyncSocket::new(stream)
    }
    async fn recv(stream: &mut AsyncSocket, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        (stream.recv(&mut buffer).await, buffer)
    }
    async fn send_all(
        stream: &mut AsyncSocket,
        buffer: Vec<u8>,
        length: usize,
    ) -> (io::Result<()>, Vec<u8>) {
        (stream.send_all(&buffer[..length]).await, buffer)
    }
    fn echo(
        stream: AsyncSocket,
        length: usize,
        answered: impl Fn(usize) + 'static,
    ) -> impl Future<Output = io::Result<()>> + 'static {
        verbs::recv(stream, length, answered)
    }

    fn listener(listener: net::TcpListener) -> io::Result<AsyncSocket> {
        AsyncSocket::new(listener)
    }
    async fn accept(listener: &AsyncSocket) -> io::Result<AsyncSocket> {
        Ok(listener.accept().await?.0)
    }

    fn datagrams(socket: net::UdpSocket) -> io::Result<AsyncSocket> {
        AsyncSocket::new(socket)
    }
    async fn recv_from(
        socket: &AsyncSocket,
        mut buffer: Vec<u8>,
    ) -> (io::Result<(usize, SocketAddr)>, Vec<u8>) {
        let received = socket.recv_from(&mut buffer).await;
        let from_ip = |(length, from): (usize, asyncoro::Address)| (length, from.socket_addr());
        let received = received.map(from_ip).map(|(length, from)| (length, from.expect("IP")));
        (received, buffer)
    }
    async fn send_to(
        socket: &AsyncSocket,
        buffer: Vec<u8>,
        length: usize,
        to: SocketAddr,
    ) -> (io::Result<()>, Vec<u8>) {
        (socket.send_to(&buffer[..length], to).await.map(drop), buffer)
    }

    async fn messages(
        stream: AsyncSocket,
        _: usize,
        answered: impl Fn(usize) + 'static,
    ) -> io::Result<()> {
        while let Some(message) = stream.recv_msg().await? {
            stream.send_msg(&message).await?;
            answered(HEADER + message.len());
        }
        Ok(())
    }
}
