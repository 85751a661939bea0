//! The traits that every runtime implements for the groups.
//!
//! A runtime's file (`subject/NAME.rs`) implements them as its own documentation recommends; the
//! work itself is written once, in the groups. Buffers are passed by value and returned, as
//! runtimes that complete operations in the kernel require; where a few nanoseconds count, in the
//! echo, runtimes that borrow buffers do so.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{self, SocketAddr};
use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;

/// The bytes before the payload of a message: its length, big-endian.
pub(crate) const HEADER: usize = 4;

/// A runtime of one thread.
pub(crate) trait Runtime: Sized + 'static {
    /// Its name in the report.
    const NAME: &'static str;

    /// The handle that [`Runtime::spawn`] returns.
    type Task<T: 'static>: 'static;
    /// Makes a runtime.
    fn new() -> io::Result<Self>;
    /// Runs the future to its end; other coroutines stay for the next call.
    fn block_on<F>(&mut self, future: F) -> F::Output
    where
        F: Future<Output: 'static> + 'static;
    /// Starts a coroutine on this thread, from inside the runtime.
    fn spawn<F>(future: F) -> Self::Task<F::Output>
    where
        F: Future<Output: 'static> + 'static;
    /// Waits for the end of a coroutine.
    fn join<T: 'static>(task: Self::Task<T>) -> impl Future<Output = T>;
    /// Detaches a coroutine.
    fn detach<T: 'static>(task: Self::Task<T>);
    /// Yields to the other coroutines.
    fn yield_now() -> impl Future<Output = ()>;
    /// Sleeps.
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static;
    /// Runs the future with a timeout.
    fn within<F: Future>(limit: Duration, future: F) -> impl Future<Output = Option<F::Output>>;
}

/// The files, processes and threads of a runtime.
pub(crate) trait Files: Runtime {
    /// Reads a whole file.
    fn read(path: PathBuf) -> impl Future<Output = Vec<u8>>;
    /// Opens a file and fills the buffer from it.
    fn open_and_read(path: PathBuf, buffer: &mut [u8]) -> impl Future<Output = ()>;
    /// Starts a program and waits for its end.
    fn spawn_and_wait(program: &'static str) -> impl Future<Output = ()>;
    /// Runs a blocking function on a thread.
    fn run_blocking<T: Send + 'static>(
        function: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T>;
}

/// The sockets of a runtime.
pub(crate) trait Net: Runtime {
    /// Whether answers to messages may be sent after the coroutine has counted them: then each
    /// iteration enters the runtime anew, and ends after the last answer was sent.
    const SENDS_LATER: bool = false;

    /// Whether the kernel does its receives while the client sends: then the excess of that sending
    /// over the yardstick's is added to its cost.
    const RECEIVES_IN_SENDS: bool = false;

    /// A connected TCP stream.
    type Stream: 'static;
    /// A TCP listener.
    type Listener: 'static;
    /// A UDP socket.
    type Datagrams: 'static;

    /// Converts a connected stream.
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

    /// Converts a listener.
    fn listener(listener: net::TcpListener) -> io::Result<Self::Listener>;
    /// Accepts the next connection.
    fn accept(listener: &Self::Listener) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Converts a UDP socket.
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
    /// calls `answered` with the bytes of each answer. Runtimes that borrow buffers do so.
    fn echo(
        stream: Self::Stream,
        length: usize,
        answered: impl Fn(usize) + 'static,
    ) -> impl Future<Output = io::Result<()>> + 'static {
        crate::served::hand_over::<Self>(stream, length, answered)
    }

    /// Answers messages (a length of four bytes, big-endian, and the payload) until the end of the
    /// stream; calls `answered` with the bytes of each sent answer. By default everything received
    /// is parsed, and all answers are sent in one write; a runtime with messages of its own uses
    /// those.
    fn messages(
        stream: Self::Stream,
        length: usize,
        answered: impl Fn(usize) + 'static,
    ) -> impl Future<Output = io::Result<()>> + 'static {
        crate::gathered::messages::<Self>(stream, length, answered)
    }
}

/// The channel that a runtime is used with.
pub(crate) trait Channel: Runtime {
    /// The sender of a bounded channel, which may be used on another thread.
    type Sender: Clone + Send + 'static;
    /// The receiver of the channel.
    type Receiver: 'static;

    /// Makes a bounded channel whose sender may be used on another thread.
    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver);
    /// Sends, waiting while the channel is full.
    fn send(sender: &Self::Sender, value: u64) -> impl Future<Output = ()>;
    /// Sends from another thread into a channel that is not full.
    fn send_across(sender: &Self::Sender, value: u64);
    /// Receives the next value.
    fn receive(receiver: &mut Self::Receiver) -> impl Future<Output = u64>;
}

/// Yields once, for runtimes that have no such function.
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
