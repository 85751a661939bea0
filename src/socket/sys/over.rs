//! What lies over the calls that move bytes: TLS, if it is spoken, else nothing.
//!
//! Whoever drives operations asks here what they cannot know themselves: whether records are still
//! to be sent, whether a short answer means that nothing is left, what a failure was.

use std::io;

use rustix::io::Errno;

use super::{
    super::{hot, secure::Secure},
    Direction, Result, Sys,
};

/// Says that a read has done as much as one step may without a result, and is to be made again
/// when others have had their turn. No call fails with it: interrupted ones are made again.
pub(crate) const LATER: Errno = Errno::INTR;

/// Whether a failed send may succeed when it is made again: the system was short of memory.
#[cfg(feature = "tls")]
pub(crate) fn is_transient(error: Errno) -> bool {
    matches!(error, Errno::NOBUFS | Errno::NOMEM)
}

/// Most bytes that a closing socket throws away: tickets, and whatever crossed the close.
const MOST_DRAINED: usize = 256 << 10;

impl Sys {
    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<&Secure> {
        self.tls.as_deref()
    }

    /// What it knows of TLS; from now on, something.
    #[cfg(feature = "tls")]
    pub(crate) fn may_speak_tls(&mut self) -> &Secure {
        self.tls.get_or_insert_with(|| Box::new(Secure::plain()))
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

    /// Whether something may stand between a verb and the calls: all that a plain socket is asked,
    /// whose way must stay short. What follows from it is out of line.
    #[inline]
    pub(crate) fn is_covered(&self) -> bool {
        self.tls.is_some()
    }

    /// What stands between a verb and the calls, if it is not the plain socket.
    #[inline(never)]
    pub(super) fn secure(&self) -> Option<&Secure> {
        self.tls.as_deref().filter(|tls| tls.is_on())
    }

    /// Whether TLS is spoken on it.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure().is_some()
    }

    /// Whether records found no room and are still to be sent.
    #[inline]
    pub(crate) fn owes(&self) -> bool {
        self.is_covered() && self.secure().is_some_and(Secure::owes)
    }

    /// Sends what is owed, as far as it goes.
    pub(crate) fn push(&self) -> Result<()> {
        self.secure().map_or(Ok(()), |tls| tls.push(self))
    }

    /// Whether a read that got `got` of `asked` bytes has drained the socket. TCP alone tells: a
    /// Unix stream with descriptors in flight, say, stops short early.
    #[inline]
    pub(crate) fn tells_drained(&self, got: usize, asked: usize) -> bool {
        if self.is_covered() { self.has_said_all(got, asked) } else { self.is_short(got, asked) }
    }

    #[inline]
    fn is_short(&self, done: usize, asked: usize) -> bool {
        done < asked && self.kind.is_tcp()
    }

    #[inline(never)]
    fn has_said_all(&self, got: usize, asked: usize) -> bool {
        match self.secure() {
            Some(tls) => self.kind.is_tcp() && tls.is_drained(),
            None => self.is_short(got, asked),
        }
    }

    /// Whether a write that sent `sent` of `asked` bytes has filled the socket.
    pub(crate) fn tells_full(&self, sent: usize, asked: usize) -> bool {
        match self.secure() {
            None => self.is_short(sent, asked),
            Some(tls) => tls.owes(),
        }
    }

    /// Whether what TLS owes waits for memory of the system, of which no driver tells.
    #[cold]
    pub(crate) fn is_starved(&self) -> bool {
        self.secure().is_some_and(Secure::is_starved)
    }

    /// A number that changes with each byte of a record that comes or goes in this direction.
    pub(crate) fn moved(&self, direction: Direction) -> u32 {
        self.secure().map_or(0, |tls| tls.moved(direction))
    }

    /// Whether the stream has ended without the peer's saying so, where it should have.
    pub(crate) fn is_cut(&self) -> bool {
        self.secure().is_some_and(Secure::is_cut)
    }

    /// Whether a read would not wait.
    pub(crate) fn is_readable(&self) -> Result<bool> {
        match self.secure() {
            None => self.is_readable_raw(),
            Some(tls) => tls.is_readable(self),
        }
    }

    /// Most bytes that may go in one call with `queued` bytes before them. Over TLS they get no
    /// records of their own in it: such records may be lost alone, and what is owed would not tell.
    pub(crate) fn room_behind(&self, queued: usize) -> usize {
        if queued == 0 || !self.is_covered() {
            return usize::MAX;
        }
        self.secure().map_or(usize::MAX, |tls| tls.room_behind(queued))
    }

    /// Records that are owed now are those of verbs that are over, and have said that all is well.
    pub(crate) fn promise(&self) {
        if self.owes()
            && let Some(tls) = self.secure()
        {
            tls.promise();
        }
    }

    /// Whether such records have not left.
    pub(crate) fn breaks_promise(&self) -> bool {
        self.secure().is_some_and(Secure::breaks_promise)
    }

    /// Has the peer told, where there is a way to say it, that nothing follows.
    pub(crate) fn say_goodbye(&self) {
        if let Some(tls) = self.secure() {
            tls.say_goodbye();
        }
    }

    /// Whether the socket can be closed and nothing that was sent be lost, as far as TLS is
    /// concerned: a plain socket always can. Does not wait; see `secure/channel.rs`.
    ///
    /// # Errors
    /// What has broken the connection before the peer had all; once.
    pub(crate) fn settle(&self) -> io::Result<bool> {
        Ok(self.secure().map_or(Ok(true), |tls| tls.settle(self))?)
    }

    /// Throws away what the kernel has received, if TLS is spoken, before the socket is closed.
    ///
    /// A server's session tickets come unasked. Left unread by a client that only sends, they would
    /// have the kernel answer the close with a reset, and the peer lose what was sent before.
    pub(crate) fn drain_before_close(&self) {
        if self.is_secure() {
            let mut hot = hot::take();
            let mut left = MOST_DRAINED;
            while let Ok(got @ 1..) = self.recv_raw(&mut hot) {
                left = left.saturating_sub(got);
                if left == 0 {
                    break;
                }
            }
        }
    }

    /// Whether the peer has said something that no verb has taken.
    pub(crate) fn has_said(&self) -> bool {
        self.secure().is_some_and(Secure::has_said)
    }

    /// Takes what the peer has said and no verb has taken.
    pub(crate) fn take_said(&self) -> Vec<u8> {
        self.secure().map(Secure::take_said).unwrap_or_default()
    }

    /// Receives what the peer says, over TLS or not.
    #[inline(never)]
    pub(super) fn recv_over(&self, buffer: &mut [u8]) -> Result<usize> {
        let Some(tls) = self.secure() else { return self.recv_raw(buffer) };
        let mut filled = 0;
        tls.read(self, buffer.len(), &mut |bytes| {
            buffer[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
        })
    }

    /// Sends, over TLS or not.
    #[inline(never)]
    pub(super) fn send_over(&self, buffer: &[u8]) -> Result<usize> {
        match self.secure() {
            Some(tls) => tls.send(self, buffer),
            None => self.send_raw(buffer),
        }
    }

    /// An error of a call that moves bytes, in words.
    #[cold]
    #[inline(never)]
    pub(crate) fn reason(&self, error: Errno) -> io::Error {
        self.secure().map_or_else(|| error.into(), |tls| tls.reason(error))
    }
}
