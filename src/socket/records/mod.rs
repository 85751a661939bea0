//! TLS records over a plain descriptor.
//!
//! `link.rs` asks this where a socket speaks TLS, so the operations are the same for both and do
//! not know. Errors come as numbers, as from the kernel; `EPROTO` stands for a failure of TLS, and
//! [`Records::reason`] has it in words.
//!
//! A lock is around the records of a connection, since one thread may receive while another sends.
//! It is held for a system call that never waits, and for the arithmetic.
//!
//! - `channel.rs`: the records of one connection;
//! - `listener.rs`: what a listener is told of the handshakes of its connections;
//! - `absent.rs`: all of this where the crate is built without TLS.

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

/// What a socket knows of TLS.
pub(crate) struct Records {
    stage: Mutex<Stage>,
    /// Whether there is a channel.
    on: AtomicBool,
    /// Whether its handshake is to be done by the next verb.
    shaking: AtomicBool,
    /// Whether it has records to send.
    has_pending: AtomicBool,
}

enum Stage {
    Plain,
    /// A listener's, or what a socket will speak when it is connected.
    Intended(Tls, Option<Arc<Listener>>),
    /// A connection's; also the listener, if failures of the handshake are still to be told there.
    Speaking(Box<Channel>, Weak<Listener>),
}

impl Records {
    /// Of a socket that may speak TLS later.
    pub(super) fn plain() -> Records {
        Records {
            stage: Mutex::new(Stage::Plain),
            on: AtomicBool::new(false),
            shaking: AtomicBool::new(false),
            has_pending: AtomicBool::new(false),
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        lock(&self.stage)
    }

    /// Calls `f` with the channel, which is there once [`Records::is_on`].
    fn channel<R>(&self, f: impl FnOnce(&mut Channel) -> R) -> Option<R> {
        match &mut *self.stage() {
            Stage::Speaking(channel, _) => {
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

    /// Tells whether nothing was said of TLS.
    pub(super) fn is_plain(&self) -> bool {
        matches!(*self.stage(), Stage::Plain)
    }

    /// Tells whether the next verb has to shake hands first.
    pub(super) fn is_shaking(&self) -> bool {
        self.shaking.load(Ordering::Acquire)
    }

    /// Notes what is to be spoken on a socket that is not connected yet, or listens.
    pub(super) fn intend(&self, tls: Tls) {
        *self.stage() = Stage::Intended(tls, None);
    }

    pub(super) fn intended(&self) -> Option<Tls> {
        match &*self.stage() {
            Stage::Intended(tls, _) => Some(tls.clone()),
            _ => None,
        }
    }

    /// Gives the number of handshakes that have failed on a listener.
    pub(super) fn failures(&self) -> u64 {
        match &*self.stage() {
            Stage::Intended(_, Some(listener)) => listener.failures(),
            _ => 0,
        }
    }

    /// Tells what a listener's connections will speak, and where their handshakes are counted;
    /// `None` if it is plain.
    pub(super) fn listener(&self) -> Option<io::Result<(Tls, Arc<Listener>)>> {
        match &mut *self.stage() {
            Stage::Intended(tls, listener) => {
                let listener = listener.get_or_insert_default();
                Some(tls.server_config().map(|_| (tls.clone(), Arc::clone(listener))))
            }
            _ => None,
        }
    }

    /// Speaks TLS from now on, first of all a handshake, which may take `timeout`.
    pub(super) fn begin(&self, session: Session, timeout: Duration, listener: Weak<Listener>) {
        let channel = Channel::new(session, timeout);
        self.has_pending.store(channel.has_pending(), Ordering::Release);
        *self.stage() = Stage::Speaking(Box::new(channel), listener);
        self.shaking.store(true, Ordering::Release);
        self.on.store(true, Ordering::Release);
    }

    /// Tells when the handshake has to be done; its time begins with the first call of this.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.channel(|channel| channel.deadline(Driver::now())).flatten()
    }

    /// Tells whether its time is over.
    pub(super) fn is_overdue(&self) -> bool {
        self.deadline().is_some_and(|deadline| Driver::now() >= deadline)
    }

    /// Notes that nobody goes on with the handshake.
    pub(super) fn give_up(&self) {
        self.channel(Channel::give_up);
        self.shaking.store(false, Ordering::Release);
    }

    /// Gives up, for a reason that the listener is told, once.
    pub(super) fn fail(&self, why: &io::Error, from: Option<&Address>) {
        self.give_up();
        let listener = match &mut *self.stage() {
            Stage::Speaking(_, listener) => std::mem::take(listener),
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

    /// Tells whether a read would give something, be it the end.
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

    /// Notes that the end of the stream will be our own doing.
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

    /// Gives the bytes for which the record has room in which the last of `queued` bytes goes.
    #[expect(clippy::unused_self, reason = "there are records where there is a Records")]
    pub(super) fn room_behind(&self, queued: usize) -> usize {
        queued.next_multiple_of(CONTENT) - queued
    }

    /// Notes that what is pending now is that of verbs that have returned Ok.
    pub(super) fn promise(&self) {
        self.channel(Channel::promise);
    }

    /// Tells whether something of such verbs has not left.
    pub(super) fn breaks_promise(&self) -> bool {
        self.channel(|channel| channel.breaks_promise()).unwrap_or(false)
    }

    pub(super) fn close_notify(&self) {
        self.channel(Channel::close_notify);
    }

    /// Tells whether the socket can be closed and nothing that was sent be lost.
    pub(super) fn settle(&self, sys: &Sys) -> Result<bool, Errno> {
        self.channel(|channel| channel.settle(sys)).unwrap_or(Ok(true))
    }

    /// Asks the session what was agreed on, and what the peer has told.
    pub(super) fn fact<R>(&self, f: impl FnOnce(&Session) -> R) -> Option<R> {
        self.channel(|channel| f(channel.session()))
    }

    /// Tells how far a server's handshake has come.
    pub(super) fn stage_of_handshake(&self) -> u8 {
        let stage = self.channel(|channel| match (channel.pushed(), channel.received()) {
            (0, 0) => SILENT,
            (0, _) => BEGUN,
            _ => ANSWERED,
        });
        stage.unwrap_or(ANSWERED)
    }

    /// Tells whether the client has finished its handshake, so that only tickets are still to be
    /// sent.
    pub(super) fn has_been_answered(&self) -> bool {
        self.channel(|channel| channel.session().has_been_answered()).unwrap_or(false)
    }

    /// Makes one read of the handshake; `false` once it is done.
    pub(super) fn shake(&self, sys: &Sys) -> Result<bool, Errno> {
        let more = self.call(|channel| channel.shake(sys));
        if more != Err(Errno::AGAIN) && more != Ok(true) {
            self.shaking.store(false, Ordering::Release);
        }
        more
    }

    /// An error in words.
    pub(super) fn reason(&self, error: Errno) -> io::Error {
        match error {
            Errno::PROTO => {
                self.channel(|channel| channel.reason()).flatten().unwrap_or_else(unfinished)
            }
            error => error.into(),
        }
    }
}

/// For a handshake that has not come to its end in its time.
pub(super) fn took_too_long() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")
}
