//! tokio on one thread: tasks of a `LocalSet` on a current-thread runtime, as its documentation shows
//! for tasks that stay on their thread; messages through tokio-util's codec, flushed each.

use std::future::Future;
use std::io;
use std::net::{self, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{Builder, Runtime as Entered};
use tokio::sync::mpsc;
use tokio::task::{self, JoinHandle, LocalSet, spawn_local};
use tokio::time;

use super::framed;
use crate::runtime::{Channel, Net, Runtime};

pub(crate) struct Tokio(LocalSet, Entered);

impl Runtime for Tokio {
    const NAME: &'static str = "tokio";

    type Task<T: 'static> = JoinHandle<T>;

    fn new() -> io::Result<Self> {
        Ok(Tokio(LocalSet::new(), Builder::new_current_thread().enable_all().build()?))
    }
    /// As a task, whose wake-up costs less than that of the future given to `block_on`.
    fn block_on<F: Future<Output: 'static> + 'static>(&mut self, future: F) -> F::Output {
        self.0.block_on(&self.1, async { Self::join(spawn_local(future)).await })
    }
    fn spawn<F: Future<Output: 'static> + 'static>(future: F) -> JoinHandle<F::Output> {
        spawn_local(future)
    }
    async fn join<T: 'static>(task: JoinHandle<T>) -> T {
        task.await.expect("the task does not panic")
    }
    fn detach<T: 'static>(task: JoinHandle<T>) {
        drop(task);
    }
    fn yield_now() -> impl Future<Output = ()> {
        task::yield_now()
    }
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        time::sleep(duration)
    }
    async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
        time::timeout(limit, future).await.ok()
    }
}

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

impl Channel for Tokio {
    type Sender = mpsc::Sender<u64>;
    type Receiver = mpsc::Receiver<u64>;

    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver) {
        mpsc::channel(capacity)
    }
    async fn send(sender: &Self::Sender, value: u64) {
        sender.send(value).await.expect("the receiver is there");
    }
    fn send_across(sender: &Self::Sender, value: u64) {
        sender.try_send(value).expect("there is room");
    }
    async fn receive(receiver: &mut Self::Receiver) -> u64 {
        receiver.recv().await.expect("a sender is there")
    }
}
