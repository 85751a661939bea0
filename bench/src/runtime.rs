//! What every runtime is asked to do: how the groups reach asyncoro and its peers.
//!
//! A runtime's file (`subject/NAME.rs`) says how its own documentation does these few things; the
//! work itself is written once, in the groups. Buffers are handed over and given back, as runtimes
//! that complete operations in the kernel need it; where a few nanoseconds count, in the echo,
//! those that borrow buffers do it their own way.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{self, SocketAddr};
use std::task::Poll;
use std::time::Duration;

/// The bytes before the payload of a message: its length, big-endian.
pub(crate) const HEADER: usize = 4;

/// A runtime of one thread.
pub(crate) trait Runtime: Sized + 'static {
    /// Its name in the report.
    const NAME: &'static str;

    /// What [`Runtime::spawn`] gives.
    type Task<T: 'static>: 'static;
    /// A new runtime.
    fn new() -> io::Result<Self>;
    /// Runs the future to its end; other coroutines stay as they are for the next time.
    fn block_on<F>(&mut self, future: F) -> F::Output
    where
        F: Future<Output: 'static> + 'static;
    /// Starts a coroutine on this thread, from inside the runtime.
    fn spawn<F>(future: F) -> Self::Task<F::Output>
    where
        F: Future<Output: 'static> + 'static;
    /// Waits for the end of a coroutine.
    fn join<T: 'static>(task: Self::Task<T>) -> impl Future<Output = T>;
    /// Leaves a coroutine running on its own.
    fn detach<T: 'static>(task: Self::Task<T>);
    /// Lets the others run.
    fn yield_now() -> impl Future<Output = ()>;
    /// Waits.
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static;
    /// Gives the future at most so long.
    fn within<F: Future>(limit: Duration, future: F) -> impl Future<Output = Option<F::Output>>;
}

/// Its sockets.
pub(crate) trait Net: Runtime {
    /// Whether answers to messages may leave after the coroutine that gave them has counted them:
    /// then each time round is an entry of its own, whose end is after the last answer has left.
    const SENDS_LATER: bool = false;

    /// Whether its receives are done by the kernel while the client sends: then what that sending
    /// exceeds the yardstick's by counts as its own.
    const RECEIVES_IN_SENDS: bool = false;

    /// A connected TCP stream.
    type Stream: 'static;
    /// A TCP listener.
    type Listener: 'static;
    /// A UDP socket.
    type Datagrams: 'static;

    /// Takes over a connected stream.
    fn stream(stream: net::TcpStream) -> io::Result<Self::Stream>;
    /// Receives at least a byte into the buffer's whole length; 0 at the end of the stream.
    fn recv(
        stream: &mut Self::Stream,
        buffer: Vec<u8>,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;
    /// Sends the first `length` bytes.
    fn send_all(
        stream: &mut Self::Stream,
        buffer: Vec<u8>,
        length: usize,
    ) -> impl Future<Output = (io::Result<()>, Vec<u8>)>;

    /// Takes over a listener.
    fn listener(listener: net::TcpListener) -> io::Result<Self::Listener>;
    /// The next connection.
    fn accept(listener: &Self::Listener) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Takes over a UDP socket.
    fn datagrams(socket: net::UdpSocket) -> io::Result<Self::Datagrams>;
    /// Receives a datagram.
    fn recv_from(
        socket: &Self::Datagrams,
        buffer: Vec<u8>,
    ) -> impl Future<Output = (io::Result<(usize, SocketAddr)>, Vec<u8>)>;
    /// Sends the first `length` bytes as a datagram.
    fn send_to(
        socket: &Self::Datagrams,
        buffer: Vec<u8>,
        length: usize,
        to: SocketAddr,
    ) -> impl Future<Output = (io::Result<()>, Vec<u8>)>;

    /// Sends back what it receives until the end of the stream, through a buffer of this length;
    /// `answered` is told the bytes of each answer. Runtimes that lend buffers do so.
    fn echo(
        stream: Self::Stream,
        length: usize,
        answered: impl Fn(usize) + 'static,
    ) -> impl Future<Output = io::Result<()>> + 'static {
        crate::served::hand_over::<Self>(stream, length, answered)
    }

    /// Answers messages (a length of four bytes, big-endian, and the payload) until the end of the
    /// stream; `answered` is told the bytes of each answer that has left. Unless the runtime has
    /// messages of its own: all that came is parsed, all answers leave in one piece.
    fn messages(
        stream: Self::Stream,
        length: usize,
        answered: impl Fn(usize) + 'static,
    ) -> impl Future<Output = io::Result<()>> + 'static {
        crate::gathered::messages::<Self>(stream, length, answered)
    }
}

/// The channel it is used with.
pub(crate) trait Channel: Runtime {
    /// The sender of a bounded channel, which may be used on another thread.
    type Sender: Clone + Send + 'static;
    /// Its receiver.
    type Receiver: 'static;

    /// A bounded channel whose sender may cross threads.
    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver);
    /// Sends, waiting for room.
    fn send(sender: &Self::Sender, value: u64) -> impl Future<Output = ()>;
    /// Sends from another thread into a channel that has room.
    fn send_across(sender: &Self::Sender, value: u64);
    /// The next value.
    fn receive(receiver: &mut Self::Receiver) -> impl Future<Output = u64>;
}

/// Yields once, for runtimes that offer no such thing.
pub(crate) fn yield_once() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}
