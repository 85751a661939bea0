//! The verbs of streams: connect, accept, the recv family, the send family, shutdown.

use std::{
    future::Future,
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    net::Shutdown,
};

use bytes::Bytes;

#[cfg(feature = "tls")]
use super::tls::secure;
use super::{AsyncSocket, verb::Verb};
#[cfg(feature = "tls")]
use crate::socket::{records::Records, start::Connecting};
use crate::{
    addr::{Target, ToAddress},
    coro::current,
    error,
    socket::op::{
        Flush, Gather, Peek, Readable, Recv, RecvAll, RecvBytes, RecvLent, RecvLine, RecvUninit,
        RecvVectored, Send, SendAll, SendVectored, Writable, connect, first, shut_down,
    },
};

impl AsyncSocket {
    /// Connects to an address. A host name is resolved, and its first address of the socket's
    /// family is used.
    ///
    /// [`AsyncSocket::create_connection`] makes the socket too, and tries all addresses. A socket
    /// with a TLS configuration (`with_tls`) then performs the handshake and verifies the host.
    ///
    /// A datagram socket may be connected repeatedly. A stream may be connected again if its
    /// attempt failed, or if an earlier `connect` was dropped before it was done.
    ///
    /// # Errors
    /// The system's, with the address in the text ([`error::os_code`] finds the code). With TLS
    /// also those of `create_tls_connection`. If several verbs wait for the connection, each
    /// returns the reason of a failure.
    ///
    /// # Cancel
    /// The system continues to connect. A later `connect` to the same address waits for that
    /// attempt; one to another address ends it, even if it has succeeded meanwhile. With TLS the
    /// socket is no longer usable.
    pub async fn connect(&self, address: impl ToAddress) -> io::Result<()> {
        let target = address.to_target()?;
        let connected = self.connect_to(&target).await;
        connected.map_err(|error| error::of_system("connect", target, error))
    }

    async fn connect_to(&self, target: &Target) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls(Records::intended).flatten() {
            let connecting = Connecting::new(tls, target)?;
            connect(&self.core, first(&self.core, target.clone()).await?).await?;
            return secure(self, connecting).await;
        }
        connect(&self.core, first(&self.core, target.clone()).await?).await
    }

    /// Receives available bytes, at most `buffer.len()`, and waits for the first; 0 is the end of
    /// the stream.
    ///
    /// # Errors
    /// The system's; `TimedOut`.
    ///
    /// # Cancel
    /// Nothing is lost.
    pub fn recv<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> impl Future<Output = io::Result<usize>> + 'a {
        Verb::new(&self.core, Recv(buffer))
    }

    /// Receives at most `max` bytes into memory of their own; empty at the end of the stream.
    ///
    /// From 4 KiB on, the bytes are received directly into that memory. A `max` of 0 returns at
    /// once on a stream.
    ///
    /// # Errors
    /// As [`AsyncSocket::recv`].
    ///
    /// # Cancel
    /// Nothing is lost.
    pub fn recv_bytes(&self, max: usize) -> impl Future<Output = io::Result<Bytes>> + '_ {
        Verb::new(&self.core, RecvBytes(max))
    }

    /// Receives available bytes, at most 64 KiB, and lends them to `f` without a copy; empty at the
    /// end of the stream.
    ///
    /// This is the fastest way to read: the bytes stay in a buffer that the whole thread shares.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let (near, far) = std::os::unix::net::UnixStream::pair()?;
    /// # use asyncoro::AsyncSocket;
    /// # let (near, far) = (AsyncSocket::new(near)?, AsyncSocket::new(far)?);
    /// # asyncoro::run(async {
    /// near.send(b"GET / HTTP/1.1\r\n").await?;
    /// let is_get = far.recv_with(|bytes| bytes.starts_with(b"GET ")).await?;
    /// assert!(is_get);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// As [`AsyncSocket::recv`].
    ///
    /// # Cancel
    /// Nothing is lost. `f` has then not been called.
    pub async fn recv_with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let lent = Verb::new(&self.core, RecvLent::all()).await?;
        Ok(f(lent.bytes()))
    }

    /// Receives like [`AsyncSocket::recv_with`], but at most `max` bytes; further bytes stay in
    /// place.
    ///
    /// # Errors
    /// As [`AsyncSocket::recv`].
    ///
    /// # Cancel
    /// Nothing is lost. `f` has then not been called.
    pub async fn recv_with_limit<R>(
        &self,
        max: usize,
        f: impl FnOnce(&[u8]) -> R,
    ) -> io::Result<R> {
        let lent = Verb::new(&self.core, RecvLent::limited(max)).await?;
        Ok(f(lent.bytes()))
    }

    /// Receives available bytes into memory that `make` returns once there is something to receive.
    /// Returns that memory and how many of its first bytes are now initialised, 0 at the stream's
    /// end.
    ///
    /// This is for memory of another kind, of a pool or an interpreter: a waiting socket holds none
    /// of it. `make` may be called again if nothing was there after all. Its memory must have room
    /// for at least one byte: 0 would look like the end.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let (near, far) = std::os::unix::net::UnixStream::pair()?;
    /// # use asyncoro::AsyncSocket;
    /// # let (near, far) = (AsyncSocket::new(near)?, AsyncSocket::new(far)?);
    /// # asyncoro::run(async {
    /// near.send(b"hello").await?;
    /// let (memory, count) = far.recv_uninit(|| Box::<[u8]>::new_uninit_slice(32 << 10)).await?;
    /// assert_eq!((memory.len(), count), (32 << 10, 5));
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// As [`AsyncSocket::recv`].
    ///
    /// # Cancel
    /// Nothing is lost.
    pub fn recv_uninit<B: AsMut<[MaybeUninit<u8>]>>(
        &self,
        make: impl FnMut() -> B,
    ) -> impl Future<Output = io::Result<(B, usize)>> {
        Verb::new(&self.core, RecvUninit(make))
    }

    /// Copies what [`AsyncSocket::recv`] would receive, and leaves the bytes in place.
    ///
    /// # Errors
    /// As [`AsyncSocket::recv`].
    ///
    /// # Cancel
    /// Nothing is lost.
    pub fn peek<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> impl Future<Output = io::Result<usize>> + 'a {
        Verb::new(&self.core, Peek(buffer))
    }

    /// Receives like [`AsyncSocket::recv`], into several buffers, one after another.
    ///
    /// # Errors
    /// As [`AsyncSocket::recv`].
    ///
    /// # Cancel
    /// Nothing is lost.
    pub fn recv_vectored<'a>(
        &'a self,
        buffers: &'a mut [IoSliceMut<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        Verb::new(&self.core, RecvVectored(buffers))
    }

    /// Receives exactly `buffer.len()` bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` ([`error::Incomplete`]) if the stream ends before; `TimedOut`
    /// ([`error::TimedOut`]), which tells how many bytes have arrived; the system's.
    ///
    /// # Cancel
    /// The bytes that have arrived are in the buffer, but how many is not known. Use
    /// [`AsyncSocket::recv_all_bytes`] where that matters.
    #[doc(alias = "recvall")]
    #[doc(alias = "read_exact")]
    pub fn recv_all<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> impl Future<Output = io::Result<()>> + 'a {
        Verb::new(&self.core, RecvAll { buffer, got: 0 })
    }

    /// Receives exactly `count` bytes, into memory of their own.
    ///
    /// Memory grows with the bytes that arrive, not with `count`.
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_all`]; bytes that have arrived stay readable.
    ///
    /// # Cancel
    /// Nothing is lost: bytes that have arrived stay readable.
    #[doc(alias = "recvall")]
    pub fn recv_all_bytes(&self, count: usize) -> impl Future<Output = io::Result<Bytes>> + '_ {
        Verb::new(&self.core, Gather::exactly(count))
    }

    /// Receives up to and including `delimiter`, which must be within the first `max` bytes.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let (near, far) = std::os::unix::net::UnixStream::pair()?;
    /// # use asyncoro::AsyncSocket;
    /// # let (near, far) = (AsyncSocket::new(near)?, AsyncSocket::new(far)?);
    /// # asyncoro::run(async {
    /// near.send(b"first line\nsecond").await?;
    /// assert_eq!(far.recv_until(b"\n", 1000).await?, "first line\n");
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// `InvalidData` ([`error::DelimiterMissing`]) if it is not, with nothing consumed;
    /// `UnexpectedEof` ([`error::Incomplete`]) if the stream ends before; `TimedOut`; the system's.
    /// Bytes that have arrived stay readable.
    ///
    /// # Panics
    /// If `delimiter` is empty.
    ///
    /// # Cancel
    /// Nothing is lost: bytes that have arrived stay readable.
    #[doc(alias = "readuntil")]
    #[track_caller]
    pub fn recv_until(
        &self,
        delimiter: &[u8],
        max: usize,
    ) -> impl Future<Output = io::Result<Bytes>> + use<'_> {
        assert!(!delimiter.is_empty(), "recv_until needs a delimiter");
        Verb::new(&self.core, Gather::until(delimiter, max))
    }

    /// Receives a line, without the `\n` or `\r\n` at its end, which must be within the first `max`
    /// bytes; `None` at the end of the stream.
    ///
    /// A `\r` that stands elsewhere belongs to the line. A last line without an end is an error and
    /// not a line, since nobody can tell it from one that was cut; its bytes stay readable.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let (near, far) = std::os::unix::net::UnixStream::pair()?;
    /// # use asyncoro::AsyncSocket;
    /// # let (near, far) = (AsyncSocket::new(near)?, AsyncSocket::new(far)?);
    /// # asyncoro::run(async {
    /// near.send_all(b"HELO\r\n\nQUI").await?;
    /// near.shutdown(std::net::Shutdown::Write).await?;
    /// assert_eq!(far.recv_line(512).await?.unwrap(), "HELO");
    /// assert_eq!(far.recv_line(512).await?.unwrap(), "");
    /// assert!(far.recv_line(512).await.is_err());
    /// assert_eq!(far.recv_bytes(512).await?, "QUI");
    /// assert_eq!(far.recv_line(512).await?, None);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// `InvalidData` ([`error::DelimiterMissing`]) if the line is longer, with nothing consumed;
    /// `UnexpectedEof` ([`error::Incomplete`]) if the stream ends within it; `TimedOut`; the
    /// system's. Bytes that have arrived stay readable.
    ///
    /// # Cancel
    /// Nothing is lost: bytes that have arrived stay readable.
    #[doc(alias = "readline")]
    #[doc(alias = "read_line")]
    pub fn recv_line(&self, max: usize) -> impl Future<Output = io::Result<Option<Bytes>>> + '_ {
        Verb::new(&self.core, RecvLine::within(max))
    }

    /// Sends what fits into the system's buffer, behind the queue, and waits for room for the
    /// first byte; returns how many bytes were sent.
    ///
    /// # Errors
    /// The system's, `BrokenPipe` and `ConnectionReset` among them; `TimedOut`.
    ///
    /// # Cancel
    /// Nothing of `buffer` has been sent.
    pub fn send<'a>(&'a self, buffer: &'a [u8]) -> impl Future<Output = io::Result<usize>> + 'a {
        Verb::new(&self.core, Send(buffer))
    }

    /// Sends all of `buffer`, behind the queue; on return the system has all of it.
    ///
    /// # Errors
    /// As [`AsyncSocket::send`]; `TimedOut` ([`error::TimedOut`]) tells how many bytes were sent.
    ///
    /// # Cancel
    /// Some bytes from the front may have been sent; the rest was not.
    #[doc(alias = "sendall")]
    #[doc(alias = "write_all")]
    pub fn send_all<'a>(&'a self, buffer: &'a [u8]) -> impl Future<Output = io::Result<()>> + 'a {
        Verb::new(&self.core, SendAll { buffer, sent: 0 })
    }

    /// Sends like [`AsyncSocket::send`], from several buffers in one call: on a stream the first 16
    /// that are not empty, in a datagram all.
    ///
    /// # Errors
    /// As [`AsyncSocket::send`].
    ///
    /// # Cancel
    /// Nothing has been sent.
    #[doc(alias = "sendmsg")]
    pub fn send_vectored<'a>(
        &'a self,
        buffers: &'a [&'a [u8]],
    ) -> impl Future<Output = io::Result<usize>> + 'a {
        Verb::new(&self.core, SendVectored(buffers))
    }

    /// Waits until the system has everything that was queued.
    ///
    /// # Errors
    /// The error of a send that failed since the last verb; `TimedOut`; the system's.
    ///
    /// # Cancel
    /// The queue is still sent.
    pub fn flush(&self) -> impl Future<Output = io::Result<()>> + '_ {
        Verb::new(&self.core, Flush::default())
    }

    /// Shuts one direction or both down, like shutdown(2), after the queue was sent; shutting
    /// down only receiving waits for nothing. A send after the end of sending fails with `EPIPE`.
    ///
    /// # Errors
    /// As [`AsyncSocket::flush`]; `ENOTCONN` if there is no connection. With TLS, for both
    /// directions, also those of [`AsyncSocket::close`].
    ///
    /// # Cancel
    /// The queue is still sent; the direction stays open.
    pub async fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        current::expect("shutdown", |_| ());
        shut_down(&self.core, how).await
    }

    /// Waits until a read would not wait, for system calls that asyncoro does not offer.
    ///
    /// It ends at once while the socket has bytes that were received and not taken
    /// ([`AsyncSocket::has_received`]), which no system call sees; take those first.
    ///
    /// # Errors
    /// `TimedOut`; the system's.
    ///
    /// # Cancel
    /// Nothing is lost.
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> + '_ {
        Verb::new(&self.core, Readable)
    }

    /// Waits until a write would not wait and nothing is queued.
    ///
    /// # Errors
    /// `TimedOut`; the system's.
    ///
    /// # Cancel
    /// Nothing is lost.
    pub fn writable(&self) -> impl Future<Output = io::Result<()>> + '_ {
        Verb::new(&self.core, Writable)
    }

    /// Receives like [`AsyncSocket::recv`], but never waits; also usable outside a scheduler.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there, or if a verb holds this direction's lock; the system's.
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.attempt(Recv(buffer))
    }

    /// Tells whether bytes were received and not taken, for example messages that came with an
    /// earlier one. The next verb gets them; reading the descriptor directly misses them.
    pub fn has_received(&self) -> bool {
        self.core.has_received()
    }

    /// Tells whether the socket is known to be full: what is queued now is sent only after the peer
    /// has read.
    ///
    /// `false` may be outdated: only a send finds out that a socket is full.
    pub fn is_full(&self) -> bool {
        self.core.is_full()
    }

    /// Sends like [`AsyncSocket::send`], but never waits; also usable outside a scheduler.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room, or if a verb holds this direction's lock; the system's.
    pub fn try_send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.attempt(Send(buffer))
    }
}
