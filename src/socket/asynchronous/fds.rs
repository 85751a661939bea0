//! The verbs that pass descriptors to other processes.

use std::{
    future::Future,
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use super::{AsyncSocket, verb::Verb};
#[cfg(doc)]
use crate::error;
use crate::socket::op::{RecvFds, SendFds};

impl AsyncSocket {
    /// Receives available bytes over a Unix socket, at most `buffer.len()`, and the descriptors
    /// that come along, at most `max_fds`; waits for the first byte. No bytes and no descriptors
    /// are the end of the stream.
    ///
    /// The descriptors are closed on exec. They belong to the first byte of the call that has sent
    /// them, or to its datagram, and whatever verb receives that byte gets them or loses them.
    /// **All verbs but this one lose them**, without a sign, as the system closes what it has no
    /// room for. So use this verb alone where descriptors come. Nothing is received ahead of it,
    /// but bytes that an earlier verb has left with the socket ([`AsyncSocket::has_received`])
    /// come first, without theirs.
    ///
    /// On Linux a call returns the descriptors of one `send_fds` at most, with no bytes behind its
    /// own; bytes that were sent before may come with them.
    ///
    /// # Example
    /// ```
    /// use std::{io::{Read, Write}, os::fd::AsFd, os::unix::net::UnixStream};
    /// use asyncoro::AsyncSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (near, far) = UnixStream::pair()?;
    /// let (mut reader, writer) = std::io::pipe()?;
    /// asyncoro::run(async {
    ///     let (near, far) = (AsyncSocket::new(near)?, AsyncSocket::new(far)?);
    ///     near.send_fds(b"the pipe", &[writer.as_fd()]).await?;
    ///     drop(writer);
    ///     let mut buffer = [0; 100];
    ///     let (count, fds) = far.recv_fds(&mut buffer, 1).await?;
    ///     assert_eq!(&buffer[..count], b"the pipe");
    ///     let [fd] = <[_; 1]>::try_from(fds).unwrap();
    ///     std::fs::File::from(fd).write_all(b"through it")
    /// })?;
    /// let mut text = String::new();
    /// reader.read_to_string(&mut text)?;
    /// assert_eq!(text, "through it");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidData` ([`error::DescriptorsLost`]) if more descriptors have come than `max_fds`, or
    /// than this process may open: those that had arrived were closed, so that none is used without
    /// the others, and the bytes are in `buffer`. `InvalidInput` on another kind of socket
    /// ([`error::WrongKind`]), with TLS, or if `max_fds` is over 253; `TimedOut`; the system's.
    ///
    /// # Platform
    /// On Linux, do not set `SO_PASSPIDFD` on such a socket: the descriptors that it brings are not
    /// closed.
    ///
    /// # Cancel
    /// Nothing is lost: neither bytes nor descriptors were taken.
    #[doc(alias = "SCM_RIGHTS")]
    #[doc(alias = "recvmsg")]
    pub fn recv_fds<'a>(
        &'a self,
        buffer: &'a mut [u8],
        max_fds: usize,
    ) -> impl Future<Output = io::Result<(usize, Vec<OwnedFd>)>> + 'a {
        Verb::new(&self.core, RecvFds { buffer, max: max_fds })
    }

    /// Sends bytes with descriptors over a connected Unix socket, after the queue, and waits for
    /// room for the first byte; returns how many bytes were sent. The receiver gets duplicates of
    /// the descriptors, whatever becomes of these.
    ///
    /// The descriptors leave with the first byte. If a stream has not had room for all bytes, send
    /// the rest with [`AsyncSocket::send_all`]; a datagram or a packet is sent whole.
    ///
    /// See [`AsyncSocket::recv_fds`] for an example.
    ///
    /// # Errors
    /// `InvalidInput` on another kind of socket ([`error::WrongKind`]), with TLS, with more than
    /// 253 descriptors, or with descriptors and no byte on a stream; `TimedOut`; the system's,
    /// `ETOOMANYREFS` among them (too many descriptors are on their way).
    ///
    /// # Cancel
    /// Nothing has been sent.
    #[doc(alias = "SCM_RIGHTS")]
    #[doc(alias = "sendmsg")]
    pub fn send_fds<'a>(
        &'a self,
        bytes: &'a [u8],
        fds: &'a [BorrowedFd<'a>],
    ) -> impl Future<Output = io::Result<usize>> + 'a {
        Verb::new(&self.core, SendFds { bytes, fds })
    }
}
