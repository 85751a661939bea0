//! The records of one connection: what was received of them, what is still to be sent.
//!
//! Records are received into a buffer that the whole thread shares and decrypted in there; what a
//! connection keeps between two verbs is the part of a record that has not come whole, what was
//! said beyond what a verb has asked for, and records that the kernel had no room for. All three
//! are empty, without memory, on a connection that is idle.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    mem,
    time::{Duration, Instant},
};

use rustix::io::Errno;

use super::super::{
    hot::{self, HOT, Hot},
    sys::Sys,
};
use crate::tls::session::{FULL, PLAIN, RECORD, SEALED, Session};

thread_local! {
    /// Where records are received and made.
    static RECORDS: Cell<Option<Box<[u8; SEALED]>>> = const { Cell::new(None) };
}

/// Fewest bytes asked of the kernel, however much of a record is there already.
const FEWEST: usize = 2 << 10;

/// See the module's page.
pub(super) struct Channel {
    session: Session,
    /// Received: the beginning of a record, or of a message of the handshake.
    unfinished: Vec<u8>,
    /// Said by the peer and not yet taken, from `taken` on.
    said: Vec<u8>,
    taken: usize,
    /// Records for the peer, from `sent` on.
    records: Vec<u8>,
    sent: usize,
    /// The kernel had less than it was asked for.
    drained: bool,
    /// The stream has ended.
    ended: bool,
    /// We have shut down reading.
    stopped: bool,
    /// What the handshake may take.
    timeout: Duration,
    /// So it has to be done by then.
    deadline: Option<Instant>,
    /// Nobody goes on with the handshake.
    given_up: bool,
}

/// What one read of records gave.
enum Came {
    /// Something was said, this many bytes of it for the caller.
    Said(usize),
    /// Records that say nothing to the caller, or a part of one.
    Nothing,
    End,
}

impl Channel {
    pub(super) fn new(session: Session, timeout: Duration) -> Channel {
        let mut channel = Channel {
            session,
            unfinished: Vec::new(),
            said: Vec::new(),
            taken: 0,
            records: Vec::new(),
            sent: 0,
            drained: false,
            ended: false,
            stopped: false,
            timeout,
            deadline: None,
            given_up: false,
        };
        // A client speaks first. Nothing has come that could be wrong.
        let _ = channel.session.pull(&mut [], &mut channel.records, &mut |_| {});
        channel
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// When the handshake has to be done, if it begins now at the latest.
    pub(super) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        if self.deadline.is_none() {
            self.deadline = now.checked_add(self.timeout);
        }
        self.deadline
    }

    /// Says that nobody goes on with the handshake, unless it is done.
    pub(super) fn give_up(&mut self) {
        self.given_up = self.session.is_handshaking();
    }

    /// Why verbs fail with `EPROTO`.
    pub(super) fn reason(&self) -> Option<io::Error> {
        if let Err(error) = self.session.check() {
            return Some(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        self.session.is_handshaking().then(super::unfinished)
    }

    /// Whether the stream has ended without the peer's saying so.
    pub(super) fn is_cut(&self) -> bool {
        self.ended && !self.stopped && !self.session.has_peer_closed()
    }

    /// The end of the stream will be our own doing.
    pub(super) fn stop_reading(&mut self) {
        self.stopped = true;
    }

    /// A number that changes with each byte of a record that comes or goes.
    pub(super) fn moved(&self) -> u32 {
        (self.unfinished.len() + self.records.len() - self.sent) as u32
    }

    /// Whether the next read is known to find nothing.
    pub(super) fn is_drained(&self) -> bool {
        self.drained && !self.has_said()
    }

    /// Whether something was said and not taken.
    pub(super) fn has_said(&self) -> bool {
        !self.said.is_empty()
    }

    /// What was said and not taken.
    pub(super) fn said(&self) -> &[u8] {
        &self.said[self.taken..]
    }

    /// Takes all that was said.
    pub(super) fn take_said(&mut self) -> Vec<u8> {
        let mut said = mem::take(&mut self.said);
        said.drain(..mem::take(&mut self.taken));
        said
    }

    /// Hands at most `max` bytes of what the peer says to `put`; 0 is the end of the stream.
    pub(super) fn read(
        &mut self,
        sys: &Sys,
        max: usize,
        put: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Errno> {
        if self.has_said() {
            // The system is not asked; what is known of it may be older than the driver's report.
            self.drained = false;
            return Ok(self.hand_out(max, put));
        }
        loop {
            self.check()?;
            match self.receive(sys, max, put)? {
                Came::Said(count) => return Ok(count),
                Came::End => return Ok(0),
                Came::Nothing => {}
            }
        }
    }

    /// Receives until something is said; `false` if nothing is there yet.
    pub(super) fn fill(&mut self, sys: &Sys) -> Result<bool, Errno> {
        while !self.has_said() {
            self.check()?;
            match self.receive(sys, 0, &mut |_| {}) {
                Ok(Came::End) => return Ok(true),
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn hand_out(&mut self, max: usize, put: &mut dyn FnMut(&[u8])) -> usize {
        let count = max.min(self.said().len());
        put(&self.said()[..count]);
        self.taken += count;
        if self.taken == self.said.len() {
            self.said = Vec::new();
            self.taken = 0;
        }
        count
    }

    fn check(&self) -> Result<(), Errno> {
        if self.session.is_handshaking() || self.session.check().is_err() {
            return Err(Errno::PROTO);
        }
        Ok(())
    }

    /// One read of records, and what they say.
    fn receive(
        &mut self,
        sys: &Sys,
        max: usize,
        put: &mut dyn FnMut(&[u8]),
    ) -> Result<Came, Errno> {
        if self.ended || self.session.has_peer_closed() {
            return Ok(Came::End);
        }
        let mut buffer = Hot::of(&RECORDS);
        let before = self.unfinished.len();
        // As much as the caller takes, in records, and no less than one.
        let wanted = (max + max / 64 + 64).max(RECORD);
        let room = buffer.len().saturating_sub(before);
        let asked = wanted.saturating_sub(before).max(FEWEST).min(room);
        if asked == 0 {
            self.session.fail("a message of the handshake is too long");
            return Err(Errno::PROTO);
        }
        let got = sys.recv_raw(&mut buffer[before..before + asked])?;
        if got == 0 {
            self.ended = true;
            return Ok(Came::End);
        }
        self.drained = got < asked;
        buffer[..before].copy_from_slice(&self.unfinished);
        let came = &mut buffer[..before + got];

        let (said, mut given) = (&mut self.said, 0);
        let used = self.session.pull(came, &mut self.records, &mut |bytes| {
            let (for_caller, rest) = bytes.split_at(bytes.len().min(max - given));
            if !for_caller.is_empty() {
                put(for_caller);
                given += for_caller.len();
            }
            said.extend_from_slice(rest);
        });
        if !self.records.is_empty() {
            // An answer to the peer, or an alert. If there is no room it leaves with the next send.
            let _ = self.push(sys);
        }
        match used {
            Ok(used) => self.keep(&came[used..]),
            // What was said before the failure is the caller's; the failure sticks.
            Err(_) if given > 0 || self.has_said() => {}
            Err(_) => return Err(Errno::PROTO),
        }
        let is_more = given > 0 || self.has_said();
        Ok(if is_more { Came::Said(given) } else { Came::Nothing })
    }

    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.unfinished = Vec::new();
        } else {
            self.unfinished.clear();
            self.unfinished.extend_from_slice(rest);
        }
    }

    /// One read of the handshake; `false` once it is done.
    pub(super) fn shake(&mut self, sys: &Sys) -> Result<bool, Errno> {
        if !self.session.is_handshaking() {
            return Ok(false);
        }
        if self.session.check().is_err() || self.given_up {
            return Err(Errno::PROTO);
        }
        match self.receive(sys, 0, &mut |_| {})? {
            Came::End => Err(Errno::CONNRESET),
            _ => Ok(true),
        }
    }

    /// Sends the beginning of `bytes` as records; how many bytes were taken.
    ///
    /// What was taken and found no room goes before whatever is sent next, see [`Channel::push`].
    pub(super) fn send(&mut self, sys: &Sys, bytes: &[u8]) -> Result<usize, Errno> {
        self.check()?;
        if self.session.is_closed() {
            return Err(Errno::PIPE);
        }
        self.push(sys)?;
        // All of it, or records that are full.
        let taken = if bytes.len() <= PLAIN { bytes.len() } else { FULL };
        if taken == 0 {
            return Ok(0);
        }
        let mut buffer = Hot::of(&RECORDS);
        let sealed = self.session.seal(&mut self.unfinished, &bytes[..taken], &mut buffer);
        let sealed = &buffer[..sealed.map_err(|_| Errno::PROTO)?];
        match sys.send_raw(sealed) {
            Ok(sent) => self.records.extend_from_slice(&sealed[sent..]),
            Err(Errno::AGAIN) => self.records.extend_from_slice(sealed),
            Err(error) => return Err(error),
        }
        Ok(taken)
    }

    /// The same from several buffers.
    pub(super) fn send_vectored(
        &mut self,
        sys: &Sys,
        slices: &[IoSlice<'_>],
    ) -> Result<usize, Errno> {
        if let [slice] = slices {
            return self.send(sys, slice);
        }
        let mut plain = hot::take();
        let mut count = 0;
        for slice in slices {
            let part = slice.len().min(HOT - count);
            plain[count..count + part].copy_from_slice(&slice[..part]);
            count += part;
        }
        self.send(sys, &plain[..count])
    }

    /// Whether records are still to be sent.
    pub(super) fn owes(&self) -> bool {
        !self.records.is_empty()
    }

    /// Sends the records that found no room.
    pub(super) fn push(&mut self, sys: &Sys) -> Result<(), Errno> {
        while self.owes() {
            self.sent += sys.send_raw(&self.records[self.sent..])?;
            if self.sent == self.records.len() {
                self.records = Vec::new();
                self.sent = 0;
            }
        }
        Ok(())
    }

    /// Puts close_notify behind everything else that is to be sent.
    pub(super) fn say_goodbye(&mut self) {
        self.session.close(&mut self.unfinished, &mut self.records);
    }
}
