//! A descriptor with or without TLS: the one module that knows both.
//!
//! Operations send and receive through a [`Link`] and do not know whether it speaks TLS. The code
//! that drives them asks it whether records are pending, whether a short read or write means that
//! the socket is drained or full, and why a call failed. Calls that TLS does not change go to
//! [`Link::sys`].

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::Shutdown,
};

use rustix::io::Errno;

use super::{ending::MOST_DISCARDED, hot, records::Records};
use crate::sys::{Direction, Kind, Sys};

type Result<T> = std::result::Result<T, Errno>;

/// A socket's descriptor, with its TLS state if it may speak TLS.
///
/// The plain socket is the first field, so that its address is the link's: this saves five
/// instructions in each `recv`.
#[repr(C)]
pub(crate) struct Link {
    sys: Sys,
    /// The TLS state, if there is any.
    tls: Option<Box<Records>>,
}

impl From<Sys> for Link {
    /// Makes a link without TLS.
    fn from(sys: Sys) -> Link {
        Link { sys, tls: None }
    }
}

impl Link {
    /// Returns the plain socket, for calls that TLS does not change.
    #[inline]
    pub(crate) fn sys(&self) -> &Sys {
        &self.sys
    }

    /// Returns the plain socket and drops the TLS state.
    pub(crate) fn into_sys(self) -> Sys {
        self.sys
    }

    /// Makes the link own its descriptor; a borrowed one is duplicated.
    #[cfg(feature = "tls")]
    pub(crate) fn into_own(self) -> io::Result<Link> {
        Ok(Link { sys: self.sys.into_own()?, tls: self.tls })
    }

    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        self.sys.kind()
    }

    // ---- the TLS state

    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<&Records> {
        self.tls.as_deref()
    }

    /// Returns the TLS state, and creates it first if need be.
    #[cfg(feature = "tls")]
    pub(crate) fn may_speak_tls(&mut self) -> &Records {
        self.tls.get_or_insert_with(|| Box::new(Records::plain()))
    }

    /// Creates the TLS state, so that TLS can begin later while the link is shared between threads.
    pub(crate) fn prepare_tls(&mut self) {
        #[cfg(feature = "tls")]
        self.may_speak_tls();
    }

    /// Drops a TLS state that no TLS has used.
    pub(crate) fn forget_tls_if_plain(&mut self) {
        self.tls.take_if(|tls| tls.is_plain());
    }

    /// Tells whether there is a TLS state: the only test on the path of a plain socket, which must
    /// stay short. The rest is out of line.
    #[inline]
    fn is_covered(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns the TLS state if TLS is spoken.
    #[inline(never)]
    fn secure(&self) -> Option<&Records> {
        self.tls.as_deref().filter(|tls| tls.is_on())
    }

    /// Tells whether TLS is spoken.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure().is_some()
    }

    // ---- receiving

    /// Receives into `buffer`.
    #[inline]
    pub(crate) fn recv(&self, buffer: &mut [u8]) -> Result<usize> {
        if self.has_more_than_a_call() {
            self.recv_otherwise(buffer)
        } else {
            self.sys.recv_now(buffer)
        }
    }

    /// Tells whether there is a TLS state or something received ahead: one test for both.
    #[inline]
    fn has_more_than_a_call(&self) -> bool {
        let tls = self.tls.as_deref().map_or(0, |tls| std::ptr::from_ref(tls).addr());
        tls | self.sys.ahead_word() != 0
    }

    /// Receives where there is a TLS state, whether TLS is spoken or not, or something was received
    /// ahead.
    #[inline(never)]
    fn recv_otherwise(&self, buffer: &mut [u8]) -> Result<usize> {
        let Some(tls) = self.secure() else { return self.sys.recv(buffer) };
        let mut filled = 0;
        tls.read(&self.sys, buffer.len(), &mut |bytes| {
            buffer[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
        })
    }

    /// Receives into uninitialised memory; initialises as many bytes at its start as it returns.
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

    /// Copies received bytes and leaves them in place.
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

    /// Passes to `hold` what was received ahead and not taken. Over TLS it is decrypted, and the
    /// plaintext stays with the TLS state.
    pub(crate) fn take_ahead(&self, hold: &mut dyn FnMut(Vec<u8>)) {
        match self.secure() {
            None => hold(self.sys.take_ahead()),
            Some(tls) => tls.take_ahead(&self.sys),
        }
    }

    /// Tells whether a read would not wait.
    pub(crate) fn is_readable(&self) -> Result<bool> {
        match self.secure() {
            None => self.sys.is_readable(),
            Some(tls) => tls.is_readable(&self.sys),
        }
    }

    /// Tells whether a read that got `got` of `asked` bytes has drained the socket. Only TCP can
    /// tell: a Unix stream with descriptors in flight, for example, returns short reads.
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

    /// Tells whether the stream has ended without a close_notify although TLS is spoken.
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

    /// Sends where there is a TLS state, whether TLS is spoken or not.
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

    /// Returns the most bytes that may follow `queued` bytes in one call. Over TLS they must not
    /// get records of their own: such records could be lost alone, and the pending records would
    /// not show it.
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

    /// Sends pending records as far as the system accepts them.
    pub(crate) fn push(&self) -> Result<()> {
        self.secure().map_or(Ok(()), |tls| tls.push(&self.sys))
    }

    /// Tells whether pending records wait for memory of the system, which no driver reports.
    #[cold]
    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.secure().is_some_and(Records::is_out_of_memory)
    }

    /// Returns a number that changes with each byte of a record that moves in this direction.
    pub(crate) fn moved(&self, direction: Direction) -> u32 {
        self.secure().map_or(0, |tls| tls.moved(direction))
    }

    /// Notes that the records pending now belong to verbs that have returned Ok.
    pub(crate) fn promise(&self) {
        if self.is_covered()
            && let Some(tls) = self.secure()
        {
            tls.promise();
        }
    }

    /// Tells whether such records were not sent.
    pub(crate) fn breaks_promise(&self) -> bool {
        self.secure().is_some_and(Records::breaks_promise)
    }

    // ---- ending

    /// Appends a close_notify to the pending records, if TLS is spoken.
    pub(crate) fn close_notify(&self) {
        if let Some(tls) = self.secure() {
            tls.close_notify();
        }
    }

    /// Shuts one direction or both down, like shutdown(2).
    pub(crate) fn shutdown(&self, how: Shutdown) -> Result<()> {
        if let (Shutdown::Read | Shutdown::Both, Some(tls)) = (how, self.secure()) {
            tls.stop_reading();
        }
        self.sys.shutdown(how)
    }

    /// Tells, without waiting, whether the socket can be closed and lose nothing that was sent. A
    /// plain socket always can; for TLS see `records/channel.rs`.
    ///
    /// # Errors
    /// Fails once, with the reason, if the connection broke before the peer had all.
    pub(crate) fn settle(&self) -> io::Result<bool> {
        Ok(self.secure().map_or(Ok(true), |tls| tls.settle(&self.sys))?)
    }

    /// Discards what the kernel has received, if TLS is spoken, before the socket is closed.
    ///
    /// A server sends session tickets unasked. If a client that only sends left them unread, the
    /// kernel would answer the close with a reset, and the peer would lose what was sent before.
    pub(crate) fn drain_before_close(&self) {
        if self.is_secure() {
            let mut hot = hot::take();
            let mut left = MOST_DISCARDED;
            while let Ok(got @ 1..) = self.sys.recv(&mut hot) {
                left = left.saturating_sub(got);
                if left == 0 {
                    break;
                }
            }
        }
    }

    /// Converts the error of a call that moves bytes; for a failure of TLS, adds the reason.
    #[cold]
    #[inline(never)]
    pub(crate) fn reason(&self, error: Errno) -> io::Error {
        self.secure().map_or_else(|| error.into(), |tls| tls.reason(error))
    }
}
