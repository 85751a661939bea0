//! TLS records over a plain descriptor.
//!
//! `link.rs` uses this module where a socket speaks TLS, so the operations are the same with and
//! without it. Errors are numbers, like the kernel's. `EPROTO` stands for a failure of TLS;
//! [`Records::reason`] returns its text.
//!
//! A mutex protects the records of a connection, since one thread may receive while another sends.
//! It is held for system calls that never wait, and for encryption.
//!
//! - `channel.rs`: the records of one connection;
//! - `listener.rs`: the failed handshakes that a listener counts;
//! - `absent.rs`: replaces all of this where the crate is built without TLS.

mod channel;
mod listener;

use std::{
    io::{self, IoSlice},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::io::Errno;

use self::channel::{Channel, unfinished};
use self::listener::{ANSWERED, BEGUN, SILENT};
pub(super) use self::listener::{Listener, NEW};
use crate::{
    addr::Address,
    driver::Driver,
    primitives::{Mutex, MutexGuard, lock},
    sys::{Direction, LATER, Sys},
    tls::{
        Tls,
        session::{CONTENT, Session},
    },
};

/// The TLS state of a socket.
pub(crate) struct Records {
    stage: Mutex<TlsStage>,
    /// Whether there is a channel.
    on: AtomicBool,
    /// Whether the next verb must complete the handshake first.
    shaking: AtomicBool,
    /// Whether the channel has pending records.
    has_pending: AtomicBool,
}

enum TlsStage {
    Plain,
    /// The configuration of a listener, or of a socket that is not connected yet.
    Intended(Tls, Option<Arc<Listener>>),
    /// A connection's channel, and the listener that counts a failure of its handshake.
    Speaking(Box<Channel>, Weak<Listener>),
}

impl Records {
    /// Returns the state of a socket that may speak TLS later.
    pub(super) fn plain() -> Records {
        Records {
            stage: Mutex::new(TlsStage::Plain),
            on: AtomicBool::new(false),
            shaking: AtomicBool::new(false),
            has_pending: AtomicBool::new(false),
        }
    }

    fn stage(&self) -> MutexGuard<'_, TlsStage> {
        lock(&self.stage)
    }

    /// Calls `f` with the channel, which exists once [`Records::is_on`] is true.
    fn channel<R>(&self, f: impl FnOnce(&mut Channel) -> R) -> Option<R> {
        match &mut *self.stage() {
            TlsStage::Speaking(channel, _) => {
                let result = f(channel);
                self.has_pending.store(channel.has_pending(), Ordering::Release);
                Some(result)
            }
            _ => None,
        }
    }

    fn call<R>(&self, f: impl FnOnce(&mut Channel) -> Result<R, Errno>) -> Result<R, Errno> {
        self.channel(f).unwrap_or(Err(Errno::PROTO))
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Tells whether TLS was neither configured nor begun.
    pub(super) fn is_plain(&self) -> bool {
        matches!(*self.stage(), TlsStage::Plain)
    }

    /// Tells whether the next verb must complete the handshake first.
    pub(super) fn is_shaking(&self) -> bool {
        self.shaking.load(Ordering::Acquire)
    }

    /// Stores the configuration of a socket that listens or is not connected yet.
    pub(super) fn intend(&self, tls: Tls) {
        *self.stage() = TlsStage::Intended(tls, None);
    }

    pub(super) fn intended(&self) -> Option<Tls> {
        match &*self.stage() {
            TlsStage::Intended(tls, _) => Some(tls.clone()),
            _ => None,
        }
    }

    /// Returns the number of handshakes that have failed on a listener.
    pub(super) fn failures(&self) -> u64 {
        match &*self.stage() {
            TlsStage::Intended(_, Some(listener)) => listener.failures(),
            _ => 0,
        }
    }

    /// Returns the configuration of a listener and the counter of its failed handshakes; `None` if
    /// it has no TLS.
    pub(super) fn listener(&self) -> Option<io::Result<(Tls, Arc<Listener>)>> {
        match &mut *self.stage() {
            TlsStage::Intended(tls, listener) => {
                let listener = listener.get_or_insert_default();
                Some(tls.server_config().map(|_| (tls.clone(), Arc::clone(listener))))
            }
            _ => None,
        }
    }

    /// Begins TLS with a handshake, which may take `timeout`.
    pub(super) fn begin(&self, session: Session, timeout: Duration, listener: Weak<Listener>) {
        let channel = Channel::new(session, timeout);
        self.has_pending.store(channel.has_pending(), Ordering::Release);
        *self.stage() = TlsStage::Speaking(Box::new(channel), listener);
        self.shaking.store(true, Ordering::Release);
        self.on.store(true, Ordering::Release);
    }

    /// Returns when the handshake must be done; the first call starts its time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.channel(|channel| channel.deadline(Driver::now())).flatten()
    }

    /// Tells whether the time of the handshake is over.
    pub(super) fn is_overdue(&self) -> bool {
        self.deadline().is_some_and(|deadline| Driver::now() >= deadline)
    }

    /// Notes that the handshake is abandoned.
    pub(super) fn give_up(&self) {
        self.channel(Channel::give_up);
        self.shaking.store(false, Ordering::Release);
    }

    /// Abandons the handshake for a reason that the listener counts and logs, once.
    pub(super) fn fail(&self, why: &io::Error, from: Option<&Address>) {
        self.give_up();
        let listener = match &mut *self.stage() {
            TlsStage::Speaking(_, listener) => std::mem::take(listener),
            _ => Weak::new(),
        };
        if let Some(listener) = listener.upgrade() {
            listener.count(&why.to_string(), from);
        }
    }

    // ---- what the link asks

    pub(super) fn read(
        &self,
        sys: &Sys,
        max: usize,
        put: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Errno> {
        self.call(|channel| channel.read(sys, max, put))
    }

    pub(super) fn peek(&self, sys: &Sys, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.call(|channel| {
            if !channel.fill(sys)? {
                return Err(Errno::AGAIN);
            }
            let count = channel.plaintext().len().min(buffer.len());
            buffer[..count].copy_from_slice(&channel.plaintext()[..count]);
            Ok(count)
        })
    }

    /// Decrypts what was received ahead.
    pub(super) fn take_ahead(&self, sys: &Sys) {
        self.channel(|channel| channel.take_ahead(sys));
    }

    /// Tells whether a read would return something, including the end of the stream.
    pub(super) fn is_readable(&self, sys: &Sys) -> Result<bool, Errno> {
        match self.call(|channel| channel.fill(sys)) {
            Err(LATER) => Err(LATER),
            filled => Ok(filled.unwrap_or(true)),
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        self.channel(|channel| channel.is_drained()).unwrap_or(false)
    }

    pub(super) fn is_cut(&self) -> bool {
        self.channel(|channel| channel.is_cut()).unwrap_or(false)
    }

    pub(super) fn moved(&self, direction: Direction) -> u32 {
        let moved = self.channel(|channel| match direction {
            Direction::Read => channel.received(),
            Direction::Write => channel.pushed(),
        });
        moved.unwrap_or(0)
    }

    /// Notes that a later end of the stream is caused by this side.
    pub(super) fn stop_reading(&self) {
        self.channel(Channel::stop_reading);
    }

    pub(super) fn has_plaintext(&self) -> bool {
        self.channel(|channel| channel.has_plaintext()).unwrap_or(false)
    }

    pub(super) fn take_plaintext(&self) -> Vec<u8> {
        self.channel(Channel::take_plaintext).unwrap_or_default()
    }

    pub(super) fn send(&self, sys: &Sys, bytes: &[u8]) -> Result<usize, Errno> {
        self.call(|channel| channel.send(sys, bytes))
    }

    pub(super) fn send_vectored(&self, sys: &Sys, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
        self.call(|channel| channel.send_vectored(sys, slices))
    }

    pub(super) fn has_pending(&self) -> bool {
        self.has_pending.load(Ordering::Acquire)
    }

    /// Tells whether pending records wait for memory of the system.
    pub(super) fn is_out_of_memory(&self) -> bool {
        self.channel(|channel| channel.is_out_of_memory()).unwrap_or(false)
    }

    pub(super) fn push(&self, sys: &Sys) -> Result<(), Errno> {
        self.call(|channel| channel.push(sys))
    }

    /// Returns how many bytes still fit into the record that holds the last of `queued` bytes.
    #[expect(clippy::unused_self, reason = "there are records where there is a Records")]
    pub(super) fn room_behind(&self, queued: usize) -> usize {
        queued.next_multiple_of(CONTENT) - queued
    }

    /// Notes that the records pending now belong to verbs that have returned Ok.
    pub(super) fn promise(&self) {
        self.channel(Channel::promise);
    }

    /// Tells whether records of such verbs were not sent.
    pub(super) fn breaks_promise(&self) -> bool {
        self.channel(|channel| channel.breaks_promise()).unwrap_or(false)
    }

    pub(super) fn close_notify(&self) {
        self.channel(Channel::close_notify);
    }

    /// Tells whether the socket can be closed and lose nothing that was sent.
    pub(super) fn settle(&self, sys: &Sys) -> Result<bool, Errno> {
        self.channel(|channel| channel.settle(sys)).unwrap_or(Ok(true))
    }

    /// Calls `f` with the session, for what was negotiated and what the peer has sent.
    pub(super) fn fact<R>(&self, f: impl FnOnce(&Session) -> R) -> Option<R> {
        self.channel(|channel| f(channel.session()))
    }

    /// Returns how far a server's handshake has come.
    pub(super) fn stage_of_handshake(&self) -> u8 {
        let stage = self.channel(|channel| match (channel.pushed(), channel.received()) {
            (0, 0) => SILENT,
            (0, _) => BEGUN,
            _ => ANSWERED,
        });
        stage.unwrap_or(ANSWERED)
    }

    /// Tells whether the client has finished its handshake, so that only tickets remain to be sent.
    pub(super) fn has_been_answered(&self) -> bool {
        self.channel(|channel| channel.session().has_been_answered()).unwrap_or(false)
    }

    /// Makes one read of the handshake; returns `false` once the handshake is done.
    pub(super) fn shake(&self, sys: &Sys) -> Result<bool, Errno> {
        let more = self.call(|channel| channel.shake(sys));
        if more != Err(Errno::AGAIN) && more != Ok(true) {
            self.shaking.store(false, Ordering::Release);
        }
        more
    }

    /// Converts an error, with the text of a failure of TLS.
    pub(super) fn reason(&self, error: Errno) -> io::Error {
        match error {
            Errno::PROTO => {
                self.channel(|channel| channel.reason()).flatten().unwrap_or_else(unfinished)
            }
            error => error.into(),
        }
    }
}

/// Returns the error of a handshake that has not finished in its time.
pub(super) fn took_too_long() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")
}
