//! A descriptor, with TLS records over it or not: the one place that knows both.
//!
//! Operations move bytes through here and do not know which it is. Whoever drives them asks here
//! what they cannot know themselves: whether records are pending, whether a short answer means that
//! nothing is left, what a failure was. What is the same with TLS and without, is asked of
//! [`Link::sys`].

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::Shutdown,
};

use rustix::io::Errno;

use super::{hot, records::Records};
use crate::sys::{Direction, Kind, Sys};

type Result<T> = std::result::Result<T, Errno>;

/// Most bytes that a closing socket throws away: tickets, and whatever crossed the close.
const MOST_DRAINED: usize = 256 << 10;

/// Sends and receives, through TLS where it is spoken.
///
/// The plain socket stands first, so that its address is the link's: five instructions less in each
/// `recv`.
#[repr(C)]
pub(crate) struct Link {
    sys: Sys,
    /// What it knows of TLS, if anything.
    tls: Option<Box<Records>>,
}

impl From<Sys> for Link {
    /// Makes a link without TLS.
    fn from(sys: Sys) -> Link {
        Link { sys, tls: None }
    }
}

impl Link {
    /// Gives the plain socket, for all that TLS does not change.
    #[inline]
    pub(crate) fn sys(&self) -> &Sys {
        &self.sys
    }

    /// Takes the plain socket; what TLS knew is gone.
    pub(crate) fn into_sys(self) -> Sys {
        self.sys
    }

    /// Makes it own its descriptor, a duplicate if it has borrowed it.
    #[cfg(feature = "tls")]
    pub(crate) fn into_own(self) -> io::Result<Link> {
        Ok(Link { sys: self.sys.into_own()?, tls: self.tls })
    }

    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        self.sys.kind()
    }

    // ---- what there is of TLS

    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<&Records> {
        self.tls.as_deref()
    }

    /// Gives what it knows of TLS; from now on, that is something.
    #[cfg(feature = "tls")]
    pub(crate) fn may_speak_tls(&mut self) -> &Records {
        self.tls.get_or_insert_with(|| Box::new(Records::plain()))
    }

    /// Makes it ready to speak TLS later, while it is shared between threads.
    pub(crate) fn prepare_tls(&mut self) {
        #[cfg(feature = "tls")]
        self.may_speak_tls();
    }

    /// Forgets what was only made ready.
    pub(crate) fn forget_tls_if_plain(&mut self) {
        self.tls.take_if(|tls| tls.is_plain());
    }

    /// Tells whether there may be records: all that a plain socket is asked, whose way must stay
    /// short. What follows from it is out of line.
    #[inline]
    fn is_covered(&self) -> bool {
        self.tls.is_some()
    }

    /// Gives the records over the descriptor, if there are any.
    #[inline(never)]
    fn secure(&self) -> Option<&Records> {
        self.tls.as_deref().filter(|tls| tls.is_on())
    }

    /// Tells whether TLS is spoken on it.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure().is_some()
    }

    // ---- receiving

    /// Receives into `buffer`.
    #[inline]
    pub(crate) fn recv(&self, buffer: &mut [u8]) -> Result<usize> {
        if self.is_covered() { self.recv_covered(buffer) } else { self.sys.recv(buffer) }
    }

    /// Receives plaintext, or plain bytes after all.
    #[inline(never)]
    fn recv_covered(&self, buffer: &mut [u8]) -> Result<usize> {
        let Some(tls) = self.secure() else { return self.sys.recv(buffer) };
        let mut filled = 0;
        tls.read(&self.sys, buffer.len(), &mut |bytes| {
            buffer[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
        })
    }

    /// Receives into memory that is not initialised; so many of its first bytes are then.
    pub(crate) fn recv_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> Result<usize> {
        let Some(tls) = self.secure() else { return self.sys.recv_uninit(buffer) };
        let mut rest = buffer.iter_mut();
        tls.read(&self.sys, rest.len(), &mut |bytes| {
            for (byte, place) in bytes.iter().zip(rest.by_ref()) {
                place.write(*byte);
            }
        })
    }

    /// Receives into the free capacity of `buffer`, at most `max` bytes.
    pub(crate) fn recv_spare(&self, buffer: &mut Vec<u8>, max: usize) -> Result<usize> {
        match self.secure() {
            Some(tls) => tls.read(&self.sys, max, &mut |bytes| buffer.extend_from_slice(bytes)),
            None => self.sys.recv_spare(buffer, max),
        }
    }

    /// Receives, but leaves the bytes where they are.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> Result<usize> {
        match self.secure() {
            Some(tls) => tls.peek(&self.sys, buffer),
            None => self.sys.peek(buffer),
        }
    }

    /// Receives into several buffers.
    pub(crate) fn recv_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
        let Some(tls) = self.secure() else { return self.sys.recv_vectored(buffers) };
        let max = buffers.iter().map(|buffer| buffer.len()).sum();
        let mut buffers = buffers.iter_mut().flat_map(|buffer| buffer.iter_mut());
        tls.read(&self.sys, max, &mut |bytes| {
            bytes.iter().zip(&mut buffers).for_each(|(byte, place)| *place = *byte);
        })
    }

    /// Tells whether a read would not wait.
    pub(crate) fn is_readable(&self) -> Result<bool> {
        match self.secure() {
            None => self.sys.is_readable(),
            Some(tls) => tls.is_readable(&self.sys),
        }
    }

    /// Tells whether a read that got `got` of `asked` bytes has drained the socket. TCP alone
    /// tells: a Unix stream with descriptors in flight, say, stops short early.
    #[inline]
    pub(crate) fn tells_drained(&self, got: usize, asked: usize) -> bool {
        if self.is_covered() { self.is_drained(got, asked) } else { self.is_short(got, asked) }
    }

    #[inline]
    fn is_short(&self, done: usize, asked: usize) -> bool {
        done < asked && self.kind().is_tcp()
    }

    #[inline(never)]
    fn is_drained(&self, got: usize, asked: usize) -> bool {
        match self.secure() {
            Some(tls) => self.kind().is_tcp() && tls.is_drained(),
            None => self.is_short(got, asked),
        }
    }

    /// Tells whether the stream has ended without a close_notify, where there should be one.
    pub(crate) fn is_cut(&self) -> bool {
        self.secure().is_some_and(Records::is_cut)
    }

    /// Tells whether there is plaintext that no verb has taken.
    pub(crate) fn has_plaintext(&self) -> bool {
        self.secure().is_some_and(Records::has_plaintext)
    }

    /// Takes the plaintext that no verb has taken.
    pub(crate) fn take_plaintext(&self) -> Vec<u8> {
        self.secure().map(Records::take_plaintext).unwrap_or_default()
    }

    // ---- sending

    /// Sends `buffer`.
    #[inline]
    pub(crate) fn send(&self, buffer: &[u8]) -> Result<usize> {
        if self.is_covered() { self.send_covered(buffer) } else { self.sys.send(buffer) }
    }

    /// Sends in records, or plainly after all.
    #[inline(never)]
    fn send_covered(&self, buffer: &[u8]) -> Result<usize> {
        match self.secure() {
            Some(tls) => tls.send(&self.sys, buffer),
            None => self.sys.send(buffer),
        }
    }

    /// Sends from several buffers.
    pub(crate) fn send_vectored(&self, buffers: &[IoSlice<'_>]) -> Result<usize> {
        match self.secure() {
            Some(tls) => tls.send_vectored(&self.sys, buffers),
            None => self.sys.send_vectored(buffers),
        }
    }

    /// Tells whether a write that sent `sent` of `asked` bytes has filled the socket.
    pub(crate) fn tells_full(&self, sent: usize, asked: usize) -> bool {
        match self.secure() {
            None => self.is_short(sent, asked),
            Some(tls) => tls.has_pending(),
        }
    }

    /// Gives the most bytes that may go in one call with `queued` bytes before them. Over TLS they
    /// get no records of their own in it: such records may be lost alone, and what is pending would
    /// not tell.
    pub(crate) fn room_behind(&self, queued: usize) -> usize {
        if queued == 0 || !self.is_covered() {
            return usize::MAX;
        }
        self.secure().map_or(usize::MAX, |tls| tls.room_behind(queued))
    }

    // ---- pending records

    /// Tells whether records are pending: made, but the system had no room for them.
    #[inline]
    pub(crate) fn has_pending(&self) -> bool {
        self.is_covered() && self.secure().is_some_and(Records::has_pending)
    }

    /// Sends pending records as far as the system takes them.
    pub(crate) fn push(&self) -> Result<()> {
        self.secure().map_or(Ok(()), |tls| tls.push(&self.sys))
    }

    /// Tells whether pending records wait for memory of the system, of which no driver tells.
    #[cold]
    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.secure().is_some_and(Records::is_out_of_memory)
    }

    /// Gives a number that changes with each byte of a record that comes or goes in this direction.
    pub(crate) fn moved(&self, direction: Direction) -> u32 {
        self.secure().map_or(0, |tls| tls.moved(direction))
    }

    /// Notes that the records that are pending now are those of verbs that have returned Ok.
    pub(crate) fn promise(&self) {
        if self.has_pending()
            && let Some(tls) = self.secure()
        {
            tls.promise();
        }
    }

    /// Tells whether such records have not left.
    pub(crate) fn breaks_promise(&self) -> bool {
        self.secure().is_some_and(Records::breaks_promise)
    }

    // ---- ending

    /// Puts a close_notify behind all that is to be sent, if TLS is spoken.
    pub(crate) fn close_notify(&self) {
        if let Some(tls) = self.secure() {
            tls.close_notify();
        }
    }

    /// Ends a direction, or both, as shutdown(2).
    pub(crate) fn shutdown(&self, how: Shutdown) -> Result<()> {
        if let (Shutdown::Read | Shutdown::Both, Some(tls)) = (how, self.secure()) {
            tls.stop_reading();
        }
        self.sys.shutdown(how)
    }

    /// Tells whether the socket can be closed and nothing that was sent be lost, as far as TLS is
    /// concerned: a plain socket always can. Does not wait; `records/channel.rs` says how.
    ///
    /// # Errors
    /// What has broken the connection before the peer had all; once.
    pub(crate) fn settle(&self) -> io::Result<bool> {
        Ok(self.secure().map_or(Ok(true), |tls| tls.settle(&self.sys))?)
    }

    /// Throws away what the kernel has received, if TLS is spoken, before the socket is closed.
    ///
    /// A server's session tickets come unasked. Left unread by a client that only sends, they would
    /// have the kernel answer the close with a reset, and the peer lose what was sent before.
    pub(crate) fn drain_before_close(&self) {
        if self.is_secure() {
            let mut hot = hot::take();
            let mut left = MOST_DRAINED;
            while let Ok(got @ 1..) = self.sys.recv(&mut hot) {
                left = left.saturating_sub(got);
                if left == 0 {
                    break;
                }
            }
        }
    }

    /// Puts an error of a call that moves bytes in words.
    #[cold]
    #[inline(never)]
    pub(crate) fn reason(&self, error: Errno) -> io::Error {
        self.secure().map_or_else(|| error.into(), |tls| tls.reason(error))
    }
}
