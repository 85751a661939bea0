//! asyncoro: a coroutine per connection on a local scheduler.

use std::future::Future;
use std::io;
use std::net::{self, SocketAddr};
use std::time::Duration;

use asyncoro::coro::{Scheduler, yield_now};
use asyncoro::sync::{Receiver, Sender, mailbox};
use asyncoro::{AsyncSocket, Coro, spawn, time};

use crate::runtime::{Channel, HEADER, Net, Runtime};

impl Runtime for Scheduler {
    const NAME: &'static str = "asyncoro";

    type Task<T: 'static> = Coro<T>;

    fn new() -> io::Result<Self> {
        Scheduler::new()
    }
    fn block_on<F: Future<Output: 'static> + 'static>(&mut self, future: F) -> F::Output {
        self.enter(future)
    }
    fn spawn<F: Future<Output: 'static> + 'static>(future: F) -> Coro<F::Output> {
        spawn(future)
    }
    async fn join<T: 'static>(task: Coro<T>) -> T {
        task.await.expect("the coroutine does not panic")
    }
    fn detach<T: 'static>(task: Coro<T>) {
        drop(task);
    }
    fn yield_now() -> impl Future<Output = ()> {
        yield_now()
    }
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        time::sleep(duration)
    }
    async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
        time::timeout(limit, future).await.ok()
    }
}

impl Net for Scheduler {
    /// Messages leave at the end of the scheduler's turn, gathered.
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

impl Channel for Scheduler {
    type Sender = Sender<u64>;
    type Receiver = Receiver<u64>;

    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver) {
        mailbox(capacity)
    }
    async fn send(sender: &Self::Sender, value: u64) {
        sender.send(value).await.expect("the receiver is there");
    }
    fn send_across(sender: &Self::Sender, value: u64) {
        sender.try_send(value).expect("there is room");
    }
    async fn receive(receiver: &mut Self::Receiver) -> u64 {
        receiver.receive().await.expect("a sender is there")
    }
}
