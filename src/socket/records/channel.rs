//! The TLS records of one connection: the state of receiving and of sending them.
//!
//! Records are received into a buffer that the whole thread shares, and decrypted in place. Between
//! two verbs a connection keeps an incomplete record, pending plaintext, and pending records. On an
//! idle connection all three are empty and take no memory.

mod closing;

use std::{
    cell::Cell,
    io::{self, IoSlice},
    mem,
    time::{Duration, Instant},
};

use rustix::io::Errno;

use crate::{
    error::invalid_input,
    socket::hot::{self, HOT, Hot},
    sys::{Call, LATER, Meaning, Sys, meaning},
    tls::session::{FULL, PLAIN, RECORD, SEALED, Session},
};

thread_local! {
    /// The buffer in which records are received and made.
    static RECORDS: Cell<Option<Box<[u8; SEALED]>>> = const { Cell::new(None) };
}

/// Fewest bytes asked of the kernel, however much of a record has arrived.
const FEWEST: usize = 2 << 10;

/// Bytes of records without content after which a read lets others go first: as many as one read
/// of records asks for. A peer that sends nothing else thus delays others no longer than that.
const BARREN: usize = 16 << 10;

/// The same limit for a peer that has sent more than [`AWAITED`] bytes without content.
const FLOODED: usize = 4 << 10;

/// Bytes received without content that count as progress for a timeout: those of a record that
/// comes in pieces, and of a few messages of TLS before it.
const AWAITED: usize = 2 * RECORD;

/// The TLS state that one connection keeps between two calls.
pub(super) struct Channel {
    session: Session,
    /// Received bytes of an incomplete record, or of an incomplete handshake message.
    unfinished: Vec<u8>,
    /// Pending plaintext: decrypted and not yet taken, from `taken` on.
    plaintext: Vec<u8>,
    taken: usize,
    /// Pending records: made and not yet sent, from `sent` on.
    records: Vec<u8>,
    sent: usize,
    /// Records before this offset belong to verbs that have returned Ok.
    promised: usize,
    /// The last read returned fewer bytes than were asked for.
    drained: bool,
    /// Bytes received that brought little or no content, since a read last let others go first.
    barren: usize,
    /// Bytes received since the last content.
    awaited: usize,
    /// Bytes received and bytes sent that count as progress, modulo 2^32.
    received: u32,
    pushed: u32,
    /// The last send failed for lack of the system's memory, which no driver reports.
    out_of_memory: bool,
    /// The error that ended sending; each later send returns it.
    broken: Option<Errno>,
    /// The stream has ended.
    ended: bool,
    /// Reading was shut down on this side.
    stopped: bool,
    /// Closing can lose nothing that was sent any more, or the loss was reported.
    settled: bool,
    /// Sending was shut down (FIN) after all that was sent.
    half_closed: bool,
    /// Bytes of close_notify at the end of what was sent; they carry no content.
    close_notify: u32,
    /// Longest time for the handshake.
    timeout: Duration,
    /// Instant at which that time is over.
    deadline: Option<Instant>,
    /// The handshake was abandoned.
    given_up: bool,
}

/// The result of one read of records.
enum Came {
    /// Plaintext, so many bytes of it for the caller.
    Plaintext(usize),
    /// Records without plaintext, or a part of a record.
    Nothing,
    End,
}

impl Channel {
    pub(super) fn new(session: Session, timeout: Duration) -> Channel {
        let mut channel = Channel {
            session,
            unfinished: Vec::new(),
            plaintext: Vec::new(),
            taken: 0,
            records: Vec::new(),
            sent: 0,
            promised: 0,
            drained: false,
            barren: 0,
            awaited: 0,
            received: 0,
            pushed: 0,
            out_of_memory: false,
            broken: None,
            ended: false,
            stopped: false,
            settled: false,
            half_closed: false,
            close_notify: 0,
            timeout,
            deadline: None,
            given_up: false,
        };
        // A client speaks first. Nothing was received yet, so nothing can fail.
        let _ = channel.session.pull(&mut [], &mut channel.records, &mut |_| {});
        channel
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Returns when the handshake must be done; its time begins now, unless it has begun.
    pub(super) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        if self.deadline.is_none() {
            self.deadline = now.checked_add(self.timeout);
        }
        self.deadline
    }

    /// Notes that the handshake is abandoned, unless it is done.
    pub(super) fn give_up(&mut self) {
        self.given_up = self.session.is_handshaking();
    }

    /// Returns the reason why verbs fail with `EPROTO`.
    pub(super) fn reason(&self) -> Option<io::Error> {
        if let Err(error) = self.session.check() {
            return Some(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        self.session.is_handshaking().then(unfinished)
    }

    /// Tells whether the stream has ended without a close_notify.
    pub(super) fn is_cut(&self) -> bool {
        self.ended && !self.stopped && !self.session.has_peer_closed()
    }

    /// Notes that a later end of the stream is caused by this side.
    pub(super) fn stop_reading(&mut self) {
        self.stopped = true;
    }

    /// Returns a number that changes with each byte of a record received, except for bytes beyond
    /// [`AWAITED`] without content.
    pub(super) fn received(&self) -> u32 {
        self.received
    }

    /// Returns a number that changes with each byte of a record sent.
    pub(super) fn pushed(&self) -> u32 {
        self.pushed
    }

    /// Tells whether the next read would find nothing: no content, no end and no failure.
    pub(super) fn is_drained(&self) -> bool {
        self.drained && !self.has_plaintext() && !self.has_ended() && self.session.check().is_ok()
    }

    /// Tells whether the peer is known to send nothing more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended || self.session.has_peer_closed()
    }

    /// Tells whether plaintext is pending.
    pub(super) fn has_plaintext(&self) -> bool {
        !self.plaintext.is_empty()
    }

    /// Returns the pending plaintext.
    pub(super) fn plaintext(&self) -> &[u8] {
        &self.plaintext[self.taken..]
    }

    /// Takes the pending plaintext.
    pub(super) fn take_plaintext(&mut self) -> Vec<u8> {
        let mut plaintext = mem::take(&mut self.plaintext);
        plaintext.drain(..mem::take(&mut self.taken));
        plaintext
    }

    /// Passes at most `max` bytes of plaintext to `put`; 0 is the end of the stream.
    pub(super) fn read(
        &mut self,
        sys: &Sys,
        max: usize,
        put: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Errno> {
        if self.has_plaintext() {
            // Nothing is read here, so `drained` may be older than the driver's report.
            self.drained = false;
            return Ok(self.hand_out(max, put));
        }
        loop {
            self.check()?;
            self.let_others_go_first()?;
            match self.receive(sys, max, put)? {
                Came::Plaintext(count) => return Ok(count),
                Came::End => return Ok(0),
                Came::Nothing => {}
            }
        }
    }

    /// Tells whether the peer has sent more without content than a well-behaved one would.
    fn is_flooded(&self) -> bool {
        self.awaited > AWAITED
    }

    /// Fails with [`LATER`] when many bytes have brought no content.
    fn let_others_go_first(&mut self) -> Result<(), Errno> {
        let bearable = if self.is_flooded() { FLOODED } else { BARREN };
        if self.barren < bearable {
            return Ok(());
        }
        self.barren = 0;
        Err(LATER)
    }

    /// Receives until plaintext is pending; `false` if nothing has arrived yet.
    pub(super) fn fill(&mut self, sys: &Sys) -> Result<bool, Errno> {
        while !self.has_plaintext() {
            self.check()?;
            self.let_others_go_first()?;
            match self.receive(sys, 0, &mut |_| {}) {
                Ok(Came::End) => return Ok(true),
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Takes what was received ahead, and decrypts it. The kernel is not asked for more: that could
    /// fail, and nobody waits for it.
    pub(super) fn take_ahead(&mut self, sys: &Sys) {
        sys.no_more_than_ahead();
        while sys.is_ahead() && !self.has_ended() && self.receive(sys, 0, &mut |_| {}).is_ok() {}
        // Whatever is left comes after the end, or after a failure, which the session keeps.
        drop(sys.take_ahead());
    }

    fn hand_out(&mut self, max: usize, put: &mut dyn FnMut(&[u8])) -> usize {
        let count = max.min(self.plaintext().len());
        put(&self.plaintext()[..count]);
        self.taken += count;
        if self.taken == self.plaintext.len() {
            self.plaintext = Vec::new();
            self.taken = 0;
            // The last read was made before these were taken; the driver may have reported since.
            self.drained = false;
        }
        count
    }

    fn check(&self) -> Result<(), Errno> {
        if self.session.is_handshaking() || self.session.check().is_err() {
            return Err(Errno::PROTO);
        }
        Ok(())
    }

    /// Makes one read of records and decrypts them.
    fn receive(
        &mut self,
        sys: &Sys,
        max: usize,
        put: &mut dyn FnMut(&[u8]),
    ) -> Result<Came, Errno> {
        if self.has_ended() {
            return Ok(Came::End);
        }
        let owed = self.has_pending();
        let mut buffer = Hot::of(&RECORDS);
        let before = self.unfinished.len();
        // As many records as the caller takes, and at least one.
        let wanted = if self.is_flooded() { FLOODED } else { (max + max / 64 + 64).max(RECORD) };
        let room = buffer.len().saturating_sub(before);
        let asked = wanted.saturating_sub(before).max(FEWEST).min(room);
        if asked == 0 {
            self.session.fail("a message of the handshake is too long");
            return Err(Errno::PROTO);
        }
        let got = sys.recv(&mut buffer[before..before + asked])?;
        if got == 0 {
            self.ended = true;
            return Ok(Came::End);
        }
        self.drained = got < asked;
        self.barren += got;
        self.awaited = self.awaited.saturating_add(got);
        if self.awaited <= AWAITED {
            self.received = self.received.wrapping_add(got as u32);
        }
        buffer[..before].copy_from_slice(&self.unfinished);
        let came = &mut buffer[..before + got];

        let (plaintext, mut given, mut content) = (&mut self.plaintext, 0, 0);
        let used = self.session.pull(came, &mut self.records, &mut |bytes| {
            content += bytes.len();
            let (for_caller, rest) = bytes.split_at(bytes.len().min(max - given));
            if !for_caller.is_empty() {
                put(for_caller);
                given += for_caller.len();
            }
            plaintext.extend_from_slice(rest);
        });
        // Records whose content is at least half of their bytes do not count as barren.
        self.barren = self.barren.saturating_sub(2 * content);
        if content > 0 {
            self.awaited = 0;
        }
        if !self.records.is_empty() {
            // An answer to the peer, or an alert. If there is no room, the next send sends it.
            self.push_beside(sys, owed);
        }
        match used {
            Ok(used) => self.keep(&came[used..]),
            // The caller gets the plaintext before the failure; the session keeps the failure.
            Err(_) if given > 0 || self.has_plaintext() => {}
            Err(_) => return Err(Errno::PROTO),
        }
        let is_more = given > 0 || self.has_plaintext();
        Ok(if is_more { Came::Plaintext(given) } else { Came::Nothing })
    }

    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.unfinished = Vec::new();
        } else {
            self.unfinished.clear();
            self.unfinished.extend_from_slice(rest);
        }
    }

    /// Makes one read of the handshake; returns `false` once the handshake is done.
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

    /// Sends the beginning of `bytes` as records; returns how many bytes were taken.
    ///
    /// Records that found no room are sent before anything else; see [`Channel::push`].
    pub(super) fn send(&mut self, sys: &Sys, bytes: &[u8]) -> Result<usize, Errno> {
        self.check()?;
        if self.session.is_closed() {
            return Err(Errno::PIPE);
        }
        self.push(sys)?;
        // All of it, or only full records.
        let taken = if bytes.len() <= PLAIN { bytes.len() } else { FULL };
        if taken == 0 {
            return Ok(0);
        }
        let mut buffer = Hot::of(&RECORDS);
        let sealed = self.session.seal(&mut self.unfinished, &bytes[..taken], &mut buffer);
        let sealed = &buffer[..sealed.map_err(|_| Errno::PROTO)?];
        match sys.send(sealed) {
            Ok(sent) => {
                self.out_of_memory = false;
                self.pushed = self.pushed.wrapping_add(sent as u32);
                self.records.extend_from_slice(&sealed[sent..]);
            }
            // The session counts this record as sent, so it must be sent, if later.
            Err(error) if may_go_later(error) => {
                self.out_of_memory = error != Errno::AGAIN;
                self.records.extend_from_slice(sealed);
            }
            Err(error) => return Err(self.break_off(error)),
        }
        Ok(taken)
    }

    /// Ends sending: a record is lost, and the peer would notice the gap.
    #[cold]
    fn break_off(&mut self, error: Errno) -> Errno {
        // A close_notify that was not sent is not part of the last bytes sent.
        let unsent = (self.records.len() - self.sent) as u32;
        self.close_notify = self.close_notify.saturating_sub(unsent);
        self.records = Vec::new();
        self.promised = self.promised.saturating_sub(self.sent);
        self.sent = 0;
        *self.broken.get_or_insert(error)
    }

    /// Sends the beginning of several buffers as records; returns how many bytes were taken.
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

    /// Tells whether the last call of [`Channel::send`] found no memory.
    pub(super) fn is_out_of_memory(&self) -> bool {
        self.out_of_memory
    }

    /// Tells whether records are pending.
    pub(super) fn has_pending(&self) -> bool {
        !self.records.is_empty()
    }

    /// Notes that the records pending now belong to verbs that have returned Ok. A promise that
    /// was broken, see [`Channel::break_off`], stays.
    pub(super) fn promise(&mut self) {
        if self.has_pending() {
            self.promised = self.records.len();
        }
    }

    /// Tells whether records of such verbs were not sent.
    pub(super) fn breaks_promise(&self) -> bool {
        self.promised > self.sent
    }

    /// Sends pending records as far as the system accepts them.
    pub(super) fn push(&mut self, sys: &Sys) -> Result<(), Errno> {
        if let Some(error) = self.broken {
            return Err(self.break_off(error));
        }
        match self.push_all(sys) {
            Err(error) if !may_go_later(error) => Err(self.break_off(error)),
            pushed => pushed,
        }
    }

    /// Does the same for a reader, which is not told of a failure. If records of verbs that send
    /// are `owed`, they stay pending then, so that the next one is told.
    fn push_beside(&mut self, sys: &Sys, owed: bool) {
        match self.broken.map_or_else(|| self.push_all(sys), Err) {
            Err(error) if may_go_later(error) => {}
            Err(error) if owed => _ = self.broken.get_or_insert(error),
            Err(error) => _ = self.break_off(error),
            Ok(()) => {}
        }
    }

    fn push_all(&mut self, sys: &Sys) -> Result<(), Errno> {
        while self.has_pending() {
            let sent = sys.send(&self.records[self.sent..])?;
            self.pushed = self.pushed.wrapping_add(sent as u32);
            self.sent += sent;
            if self.sent == self.records.len() {
                self.records = Vec::new();
                self.sent = 0;
                self.promised = 0;
            }
        }
        Ok(())
    }
}

/// Tells whether a failed send may succeed later: there was no room, or the system was short of
/// memory.
fn may_go_later(error: Errno) -> bool {
    matches!(meaning(Call::Send, error), Meaning::Wait | Meaning::Pause)
}

/// Returns the error of verbs on a socket whose handshake was abandoned.
pub(super) fn unfinished() -> io::Error {
    invalid_input("the TLS handshake of this socket was not finished")
}
