//! The verbs of `BlockingSocket`: each drives an operation to its end.

#[cfg(feature = "tls")]
use std::sync::Arc;
use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    net::Shutdown,
    os::fd::{BorrowedFd, OwnedFd},
};

use bytes::Bytes;

use super::{BlockingSocket, face::at_once};
#[cfg(doc)]
use crate::socket::AsyncSocket;
#[cfg(feature = "tls")]
use crate::socket::{records::Records, start::Connecting};
use crate::{
    addr::{Address, Target, ToAddress},
    error,
    socket::{
        batch::DatagramBatch,
        op::{
            Flush, Gather, Peek, Readable, Recv, RecvAll, RecvBatch, RecvBytes, RecvFds, RecvFrom,
            RecvLent, RecvLine, RecvMsg, RecvMsgInto, RecvUninit, RecvVectored, Send, SendAll,
            SendBatch, SendFds, SendMsg, SendTo, SendVectored, Tried, Writable, accept, connect,
            first, patiently, shut_down, try_queue,
        },
        parts::Parts,
        side::{Progress, WriteSide},
    },
};

impl BlockingSocket {
    /// Connects to an address, see [`AsyncSocket::connect`].
    ///
    /// # Errors
    /// As [`AsyncSocket::connect`].
    pub fn connect(&self, address: impl ToAddress) -> io::Result<()> {
        let target = address.to_target()?;
        let connected = self.connect_to(&target);
        connected.map_err(|error| error::of_system("connect", target, error))
    }

    fn connect_to(&self, target: &Target) -> io::Result<()> {
        #[cfg(feature = "tls")]
        let connecting = match self.tls(Records::intended).flatten() {
            Some(tls) => Some(Connecting::new(tls, target)?),
            None => None,
        };
        let connected = async {
            let address = first(&*self.twin, target.clone()).await?;
            connect(&*self.twin, address).await
        };
        at_once(connected)?;
        #[cfg(feature = "tls")]
        if let Some(connecting) = connecting {
            return self.secure(&connecting);
        }
        Ok(())
    }

    /// Waits for the next connection, see [`AsyncSocket::accept`].
    ///
    /// # Errors
    /// As [`AsyncSocket::accept`].
    pub fn accept(&self) -> io::Result<(BlockingSocket, Address)> {
        #[cfg(feature = "tls")]
        let listener = self.tls(Records::listener).flatten().transpose()?;
        #[cfg(feature = "tls")]
        if listener.is_some()
            && let Some((parts, from)) = self.twin.gate.as_ref().and_then(|gate| gate.take())
        {
            // It was an asynchronous listener, which has completed this handshake already.
            return Ok((BlockingSocket::from_parts(parts), from));
        }
        let (sys, from) = at_once(accept(&*self.twin))?;
        let settings = self.twin.settings().inherited();
        let socket = BlockingSocket::from_parts(Parts::new(sys, settings));
        #[cfg(feature = "tls")]
        if let Some((tls, listener)) = &listener {
            socket.begin_tls(tls, None, Arc::downgrade(listener))?;
        }
        Ok((socket, from))
    }

    /// Receives available bytes, see [`AsyncSocket::recv`].
    ///
    /// # Errors
    /// As [`AsyncSocket::recv`].
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.twin.drive(Recv(buffer))
    }

    /// Receives at most `max` bytes, see [`AsyncSocket::recv_bytes`].
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_bytes`].
    pub fn recv_bytes(&self, max: usize) -> io::Result<Bytes> {
        self.twin.drive(RecvBytes(max))
    }

    /// Receives available bytes and lends them, see [`AsyncSocket::recv_with`]. Releases the lock
    /// before it calls `f`.
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_with`].
    pub fn recv_with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let lent = self.twin.drive(RecvLent::all())?;
        Ok(f(lent.bytes()))
    }

    /// Receives at most `max` bytes and lends them, see [`AsyncSocket::recv_with_limit`].
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_with_limit`].
    pub fn recv_with_limit<R>(&self, max: usize, f: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let lent = self.twin.drive(RecvLent::limited(max))?;
        Ok(f(lent.bytes()))
    }

    /// Receives into memory that `make` returns, see [`AsyncSocket::recv_uninit`]. `make` may
    /// receive from the socket in this thread; other threads wait meanwhile, so it must not wait
    /// for them.
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_uninit`].
    pub fn recv_uninit<B: AsMut<[MaybeUninit<u8>]>>(
        &self,
        make: impl FnMut() -> B,
    ) -> io::Result<(B, usize)> {
        self.twin.drive_around(RecvUninit(make))
    }

    /// Copies what is there and leaves it in place, see [`AsyncSocket::peek`].
    ///
    /// # Errors
    /// As [`AsyncSocket::peek`].
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.twin.drive(Peek(buffer))
    }

    /// Receives into several buffers, see [`AsyncSocket::recv_vectored`].
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_vectored`].
    pub fn recv_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.twin.drive(RecvVectored(buffers))
    }

    /// Receives exactly `buffer.len()` bytes, see [`AsyncSocket::recv_all`].
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_all`].
    pub fn recv_all(&self, buffer: &mut [u8]) -> io::Result<()> {
        self.twin.drive(RecvAll { buffer, got: 0 })
    }

    /// Receives exactly `count` bytes, see [`AsyncSocket::recv_all_bytes`].
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_all_bytes`].
    pub fn recv_all_bytes(&self, count: usize) -> io::Result<Bytes> {
        self.twin.drive(Gather::exactly(count))
    }

    /// Receives up to and including a delimiter, see [`AsyncSocket::recv_until`].
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_until`].
    ///
    /// # Panics
    /// If `delimiter` is empty.
    #[track_caller]
    pub fn recv_until(&self, delimiter: &[u8], max: usize) -> io::Result<Bytes> {
        assert!(!delimiter.is_empty(), "recv_until needs a delimiter");
        self.twin.drive(Gather::until(delimiter, max))
    }

    /// Receives a line, see [`AsyncSocket::recv_line`].
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_line`].
    pub fn recv_line(&self, max: usize) -> io::Result<Option<Bytes>> {
        self.twin.drive(RecvLine::within(max))
    }

    /// Sends what fits, see [`AsyncSocket::send`].
    ///
    /// # Errors
    /// As [`AsyncSocket::send`].
    pub fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.twin.drive(Send(buffer))
    }

    /// Sends all bytes, see [`AsyncSocket::send_all`].
    ///
    /// # Errors
    /// As [`AsyncSocket::send_all`].
    pub fn send_all(&self, buffer: &[u8]) -> io::Result<()> {
        self.twin.drive(SendAll { buffer, sent: 0 })
    }

    /// Sends from several buffers, see [`AsyncSocket::send_vectored`].
    ///
    /// # Errors
    /// As [`AsyncSocket::send_vectored`].
    pub fn send_vectored(&self, buffers: &[&[u8]]) -> io::Result<usize> {
        self.twin.drive(SendVectored(buffers))
    }

    /// Waits until the system has everything that was queued, see [`AsyncSocket::flush`].
    ///
    /// # Errors
    /// As [`AsyncSocket::flush`].
    pub fn flush(&self) -> io::Result<()> {
        self.twin.drive(Flush::default())
    }

    /// Shuts one direction or both down, see [`AsyncSocket::shutdown`].
    ///
    /// # Errors
    /// As [`AsyncSocket::shutdown`].
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        at_once(shut_down(&*self.twin, how))
    }

    /// Waits until a read would not wait, see [`AsyncSocket::readable`].
    ///
    /// # Errors
    /// As [`AsyncSocket::readable`].
    pub fn readable(&self) -> io::Result<()> {
        self.twin.drive(Readable)
    }

    /// Waits until a write would not wait, see [`AsyncSocket::writable`].
    ///
    /// # Errors
    /// As [`AsyncSocket::writable`].
    pub fn writable(&self) -> io::Result<()> {
        self.twin.drive(Writable)
    }

    /// Receives like `recv`, but never waits, see [`AsyncSocket::try_recv`].
    ///
    /// # Errors
    /// As [`AsyncSocket::try_recv`].
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.twin.attempt(Recv(buffer))
    }

    /// Sends like `send`, but never waits, see [`AsyncSocket::try_send`].
    ///
    /// # Errors
    /// As [`AsyncSocket::try_send`].
    pub fn try_send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.twin.attempt(Send(buffer))
    }

    /// Receives the next message, see [`AsyncSocket::recv_msg`].
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_msg`].
    pub fn recv_msg(&self) -> io::Result<Option<Bytes>> {
        self.twin.drive(RecvMsg::default())
    }

    /// Receives the next message into a vector, see [`AsyncSocket::recv_msg_into`].
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_msg_into`].
    pub fn recv_msg_into(&self, into: &mut Vec<u8>) -> io::Result<Option<usize>> {
        self.twin.drive(RecvMsgInto { into, have: 0 })
    }

    /// Sends a message at once, see [`AsyncSocket::send_msg`].
    ///
    /// # Errors
    /// As [`AsyncSocket::send_msg`].
    pub fn send_msg(&self, payload: &[u8]) -> io::Result<()> {
        self.twin.drive(SendMsg::message(payload))
    }

    /// Sends raw bytes at once, by the rules of messages, see [`AsyncSocket::send_queued`].
    ///
    /// # Errors
    /// As [`AsyncSocket::send_queued`].
    pub fn send_queued(&self, bytes: &[u8]) -> io::Result<()> {
        self.twin.drive(SendMsg::raw(bytes))
    }

    /// Sends a message if that needs no waiting, see [`AsyncSocket::try_send_msg`]; the next verb
    /// sends what cannot be sent at once.
    ///
    /// # Errors
    /// As [`AsyncSocket::try_send_msg`].
    pub fn try_send_msg(&self, payload: &Bytes) -> io::Result<()> {
        self.try_queue(Tried::Message(payload))
    }

    /// Sends raw bytes if that needs no waiting, see [`AsyncSocket::try_send_queued`]; the next
    /// verb sends what cannot be sent at once.
    ///
    /// # Errors
    /// As [`AsyncSocket::try_send_queued`].
    pub fn try_send_queued(&self, bytes: &[u8]) -> io::Result<()> {
        self.try_queue(Tried::Raw(bytes))
    }

    fn try_queue(&self, tried: Tried<'_>) -> io::Result<()> {
        if self.twin.is_closed() {
            return Err(error::closed());
        }
        tried.check(self.twin.link.kind())?;
        #[cfg(feature = "tls")]
        self.twin.try_shake_first()?;
        let mut side = self.twin.write.try_take().ok_or(io::ErrorKind::WouldBlock)?;
        if self.twin.is_closed() {
            // By another thread, which has had the lock.
            return Err(error::closed());
        }
        side.refill();
        match self.queue_and_flush(&mut side, tried) {
            Err(_) if self.twin.is_closed() => Err(error::closed()),
            queued => queued,
        }
    }

    fn queue_and_flush(&self, side: &mut WriteSide, tried: Tried<'_>) -> io::Result<()> {
        if !try_queue(&self.twin.link, self.twin.settings(), side, tried)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let flushed = side.flush_all(&self.twin.link);
        self.twin.link.promise();
        match flushed {
            Progress::Done(result) => result,
            Progress::Wait | Progress::Again => Ok(()),
        }
    }

    /// Receives one datagram, see [`AsyncSocket::recv_from`].
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_from`].
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
        self.twin.drive(RecvFrom(buffer))
    }

    /// Sends one datagram, see [`AsyncSocket::send_to`].
    ///
    /// # Errors
    /// As [`AsyncSocket::send_to`].
    pub fn send_to(&self, buffer: &[u8], address: impl ToAddress) -> io::Result<usize> {
        let twin = &*self.twin;
        let target = address.to_target()?;
        at_once(async {
            let to = first(twin, target).await?;
            patiently(twin, async || twin.drive(SendTo { buffer, to: &to })).await
        })
    }

    /// Receives many datagrams, see [`AsyncSocket::recv_batch`].
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_batch`].
    pub fn recv_batch(&self, batch: &mut DatagramBatch) -> io::Result<usize> {
        self.twin.drive(RecvBatch(batch))
    }

    /// Sends many datagrams, see [`AsyncSocket::send_batch`]. Other threads that send wait while
    /// the datagrams' `as_ref` is called.
    ///
    /// # Errors
    /// As [`AsyncSocket::send_batch`].
    pub fn send_batch<B: AsRef<[u8]>>(&self, datagrams: &[(B, Address)]) -> io::Result<usize> {
        let twin = &*self.twin;
        at_once(patiently(twin, async || twin.drive_around(SendBatch(datagrams))))
    }

    /// Receives bytes and the descriptors that come along, see [`AsyncSocket::recv_fds`].
    ///
    /// # Errors
    /// As [`AsyncSocket::recv_fds`].
    pub fn recv_fds(&self, buffer: &mut [u8], max_fds: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.twin.drive(RecvFds { buffer, max: max_fds })
    }

    /// Sends bytes and descriptors, see [`AsyncSocket::send_fds`].
    ///
    /// # Errors
    /// As [`AsyncSocket::send_fds`].
    pub fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.twin.drive(SendFds { bytes, fds })
    }
}
