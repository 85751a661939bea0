//! tokio's sockets; messages through tokio-util's codec.

use std::future::Future;
use std::io;
use std::net::{self, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::{Tokio, echo};
use crate::runtime::Net;
use crate::subject::framed;

impl Net for Tokio {
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Datagrams = UdpSocket;

    fn stream(stream: net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    }
    async fn recv(stream: &mut TcpStream, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        (stream.read(&mut buffer).await, buffer)
    }
    async fn send_all(
        stream: &mut TcpStream,
        buffer: Vec<u8>,
        length: usize,
    ) -> (io::Result<()>, Vec<u8>) {
        (stream.write_all(&buffer[..length]).await, buffer)
    }
    fn echo(
        stream: TcpStream,
        length: usize,
        answered: impl Fn(usize) + 'static,
    ) -> impl Future<Output = io::Result<()>> + 'static {
        echo::recv(stream, length, answered)
    }

    fn listener(listener: net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }
    async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
        Ok(listener.accept().await?.0)
    }

    fn datagrams(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }
    async fn recv_from(
        socket: &UdpSocket,
        mut buffer: Vec<u8>,
    ) -> (io::Result<(usize, SocketAddr)>, Vec<u8>) {
        (socket.recv_from(&mut buffer).await, buffer)
    }
    async fn send_to(
        socket: &UdpSocket,
        buffer: Vec<u8>,
        length: usize,
        to: SocketAddr,
    ) -> (io::Result<()>, Vec<u8>) {
        (socket.send_to(&buffer[..length], to).await.map(drop), buffer)
    }

    fn messages(
        stream: TcpStream,
        _: usize,
        answered: impl Fn(usize) + 'static,
    ) -> impl Future<Output = io::Result<()>> + 'static {
        framed::send(stream, answered)
    }
}
