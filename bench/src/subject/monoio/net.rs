//! monoio's sockets.

use std::io;
use std::net::{self, SocketAddr};

use monoio::buf::IoBuf;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::udp::UdpSocket;
use monoio::net::{TcpListener, TcpStream};

use super::Monoio;
use crate::runtime::Net;

impl Net for Monoio {
    const RECEIVES_IN_SENDS: bool = true;

    type Stream = TcpStream;
    type Listener = TcpListener;
    type Datagrams = UdpSocket;

    fn stream(stream: net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(stream)
    }
    async fn recv(stream: &mut TcpStream, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        stream.read(buffer).await
    }
    async fn send_all(
        stream: &mut TcpStream,
        buffer: Vec<u8>,
        length: usize,
    ) -> (io::Result<()>, Vec<u8>) {
        let (sent, slice) = stream.write_all(buffer.slice(..length)).await;
        (sent.map(drop), slice.into_inner())
    }
    fn listener(listener: net::TcpListener) -> io::Result<TcpListener> {
        TcpListener::from_std(listener)
    }
    async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
        Ok(listener.accept().await?.0)
    }

    fn datagrams(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        UdpSocket::from_std(socket)
    }
    async fn recv_from(
        socket: &UdpSocket,
        buffer: Vec<u8>,
    ) -> (io::Result<(usize, SocketAddr)>, Vec<u8>) {
        socket.recv_from(buffer).await
    }
    async fn send_to(
        socket: &UdpSocket,
        buffer: Vec<u8>,
        length: usize,
        to: SocketAddr,
    ) -> (io::Result<()>, Vec<u8>) {
        let (sent, slice) = socket.send_to(buffer.slice(..length), to).await;
        (sent.map(drop), slice.into_inner())
    }
}
