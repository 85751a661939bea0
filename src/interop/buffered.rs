//! [`Buffered`]: a socket as a buffered reader, without a buffer of its own while it waits.

#[cfg(feature = "futures-io")]
mod futures;
#[cfg(feature = "tokio-io")]
mod tokio;

use std::{
    fmt, io,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};

use crate::socket::AsyncSocket;

/// Most bytes that one call receives.
const PIECE: usize = 8 << 10;

/// A socket with the `AsyncBufRead` of futures-io and of tokio, and with their other traits.
///
/// It hands out what was received as it lies there. It holds memory only between a call that
/// has received something and the one that consumes the last of it; what is not consumed when it is
/// dropped, or taken apart by [`Buffered::into_inner`], goes back to the socket, and its verbs
/// receive it.
///
/// ```
/// # #[cfg(feature = "futures-io")] {
/// use asyncoro::{AsyncSocket, interop::Buffered};
/// use futures_util::io::AsyncBufReadExt;
///
/// # fn main() -> std::io::Result<()> {
/// # let (near, far) = std::os::unix::net::UnixStream::pair()?;
/// # let (near, far) = (AsyncSocket::new(near)?, AsyncSocket::new(far)?);
/// # asyncoro::run(async {
/// near.send(b"a line\nand more").await?;
/// let mut reader = Buffered::new(far);
/// let mut line = String::new();
/// reader.read_line(&mut line).await?;
/// assert_eq!(line, "a line\n");
/// let socket = reader.into_inner();
/// assert_eq!(socket.recv_bytes(100).await?, "and more");
/// # Ok(()) }) }
/// # main().unwrap(); }
/// ```
///
/// Nothing of another handle to the same socket should be received meanwhile: it would be what
/// comes after the bytes that this one holds.
pub struct Buffered {
    socket: AsyncSocket,
    /// Received and not consumed.
    front: Bytes,
}

impl Buffered {
    /// Makes a buffered reader of a socket.
    pub fn new(socket: AsyncSocket) -> Buffered {
        Buffered { socket, front: Bytes::new() }
    }

    /// Returns the socket, which has all that was not consumed.
    pub fn into_inner(self) -> AsyncSocket {
        self.socket.clone()
    }

    /// Borrows the socket, for its settings and addresses.
    pub fn socket(&self) -> &AsyncSocket {
        &self.socket
    }

    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.front.is_empty() {
            self.front = ready!(self.socket.poll_recv_bytes(cx, PIECE))?;
        }
        Poll::Ready(Ok(&self.front))
    }

    fn take(&mut self, count: usize) {
        self.front.advance(count.min(self.front.len()));
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.socket.unread(std::mem::take(&mut self.front));
    }
}

impl fmt::Debug for Buffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Buffered { socket, front } = self;
        f.debug_struct("Buffered").field("socket", socket).field("held", &front.len()).finish()
    }
}
