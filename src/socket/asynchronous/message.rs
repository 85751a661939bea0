//! The verbs of messages. A message is a length of 4 bytes, big-endian, then that many bytes.

use std::{future::Future, io};

use bytes::Bytes;

use super::{AsyncSocket, verb::Verb};
use crate::{
    error,
    socket::op::{RecvMsg, RecvMsgInto, SendMsg, Tried, try_queue},
};

impl AsyncSocket {
    /// Receives the next message; `None` when the stream has ended between two messages.
    ///
    /// Messages that arrive together may share one allocation of at most 64 KiB, which is freed
    /// with the last of them.
    ///
    /// # Errors
    /// `InvalidData` ([`error::MessageTooLong`]) if its header announces more than the limit, at
    /// this and each later call, with nothing allocated; `UnexpectedEof` ([`error::Incomplete`]) if
    /// the stream ends within it; `TimedOut`; the system's.
    ///
    /// # Cancel
    /// Nothing is lost: the socket keeps the part of a message that has arrived. The next
    /// `recv_msg` continues with it; raw verbs would read it, header included. This also holds
    /// after a timeout.
    pub fn recv_msg(&self) -> impl Future<Output = io::Result<Option<Bytes>>> + '_ {
        Verb::new(&self.core, RecvMsg::default())
    }

    /// Receives like [`AsyncSocket::recv_msg`], into the caller's vector, which is cleared first;
    /// returns the payload's length.
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_msg`].
    ///
    /// # Cancel
    /// As [`AsyncSocket::recv_msg`]; the vector is untouched.
    pub fn recv_msg_into<'a>(
        &'a self,
        into: &'a mut Vec<u8>,
    ) -> impl Future<Output = io::Result<Option<usize>>> + 'a {
        Verb::new(&self.core, RecvMsgInto { into, have: 0 })
    }

    /// Sends a message.
    ///
    /// A small message is copied into the socket's queue and sent with the others in one call, at
    /// the latest at the end of the scheduler's turn. When 64 KiB are queued, or the limit of
    /// [`AsyncSocket::set_queue_limit`], this waits for room. A payload of 64 KiB or more, or of
    /// more than that limit, is sent at once, behind the queue, without a copy.
    ///
    /// # Errors
    /// The error of an earlier failed send, which is permanent: each later verb, flush and close
    /// returns it. `TimedOut` ([`error::TimedOut`]) tells whether the rest stays queued;
    /// `InvalidData` for a payload over 2^32 - 1 bytes; the system's.
    ///
    /// # Cancel
    /// Before its first byte is sent, the message is withdrawn; after that, its rest is queued and
    /// sent. It is never cut off.
    pub fn send_msg<'a>(&'a self, payload: &'a [u8]) -> impl Future<Output = io::Result<()>> + 'a {
        Verb::new(&self.core, SendMsg::message(payload))
    }

    /// Sends raw bytes by the rules of [`AsyncSocket::send_msg`]: queued, coalesced, in order.
    ///
    /// # Errors
    /// As [`AsyncSocket::send_msg`].
    ///
    /// # Cancel
    /// As [`AsyncSocket::send_msg`].
    pub fn send_queued<'a>(&'a self, bytes: &'a [u8]) -> impl Future<Output = io::Result<()>> + 'a {
        Verb::new(&self.core, SendMsg::raw(bytes))
    }

    /// Queues a message if that needs no waiting. Also usable outside a scheduler, where it is sent
    /// at once, as far as the system accepts it.
    ///
    /// A payload of 64 KiB or more is not copied, so it must be `Bytes`: a message for many clients
    /// is in memory once. `into` converts what [`AsyncSocket::send_msg`] takes:
    ///
    /// ```
    /// # use asyncoro::AsyncSocket;
    /// # let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    /// # let (near, far) = (AsyncSocket::new(near).unwrap(), AsyncSocket::new(far).unwrap());
    /// # asyncoro::run(async move {
    /// near.try_send_msg(&"a text".into())?;
    /// near.try_send_msg(&vec![0; 100].into())?;
    /// # assert_eq!(far.recv_msg().await?.unwrap(), "a text");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `WouldBlock` if as much is queued as [`AsyncSocket::set_queue_limit`] allows and cannot be
    /// sent now, or if a verb holds this direction's lock; otherwise as [`AsyncSocket::send_msg`].
    pub fn try_send_msg(&self, payload: &Bytes) -> io::Result<()> {
        self.try_queue(Tried::Message(payload))
    }

    /// Queues raw bytes by the rules of [`AsyncSocket::try_send_msg`]: all of them or none. They
    /// are copied.
    ///
    /// ```
    /// # use asyncoro::AsyncSocket;
    /// # let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    /// # let (near, far) = (AsyncSocket::new(near).unwrap(), AsyncSocket::new(far).unwrap());
    /// # asyncoro::run(async move {
    /// near.try_send_queued(b"HTTP/1.1 200 OK\r\n")?;
    /// near.try_send_queued(b"\r\n")?; // leaves with the line before
    /// # assert_eq!(far.recv_until(b"\r\n\r\n", 100).await?.len(), 19);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`AsyncSocket::try_send_msg`].
    pub fn try_send_queued(&self, bytes: &[u8]) -> io::Result<()> {
        self.try_queue(Tried::Raw(bytes))
    }

    fn try_queue(&self, tried: Tried<'_>) -> io::Result<()> {
        if self.core.is_closing() {
            return Err(error::closed());
        }
        tried.check(self.core.kind())?;
        let settings = self.core.settings();
        let queued = self.core.with_writing(|link, half| {
            if half.lock.is_taken() {
                return Ok(false);
            }
            half.side.refill();
            try_queue(link, settings, &mut half.side, tried)
        })?;
        if !queued {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.core.settings().coalescing {
            self.flush_soon();
        } else {
            self.flush_now();
        }
        Ok(())
    }
}
