//! The records of one connection: what was received of them, what is still to be sent.
//!
//! Records are received into a buffer that the whole thread shares and decrypted in there; what a
//! connection keeps between two verbs is the part of a record that has not come whole, what was
//! decrypted beyond what a verb has asked for, and records that the kernel had no room for. All
//! three are empty, without memory, on a connection that is idle.

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
    /// Where records are received and made.
    static RECORDS: Cell<Option<Box<[u8; SEALED]>>> = const { Cell::new(None) };
}

/// Fewest bytes asked of the kernel, however much of a record is there already.
const FEWEST: usize = 2 << 10;

/// Bytes of records without content after which a read lets others go first: as many as one read
/// of records asks for. So a peer that sends nothing else holds nobody up for longer than that.
const BARREN: usize = 16 << 10;

/// The same for a peer that has sent much of the kind already.
const FLOODED: usize = 4 << 10;

/// Bytes received without content that count as progress for a timeout: those of a record that
/// comes in pieces, and of a few messages of TLS before it.
const AWAITED: usize = 2 * RECORD;

/// Keeps what one connection has of records between two calls.
pub(super) struct Channel {
    session: Session,
    /// Received: the beginning of a record, or of a message of the handshake.
    unfinished: Vec<u8>,
    /// Pending plaintext: decrypted and not yet taken, from `taken` on.
    plaintext: Vec<u8>,
    taken: usize,
    /// Pending records: made and not yet sent, from `sent` on.
    records: Vec<u8>,
    sent: usize,
    /// Up to here they are those of verbs that have returned Ok.
    promised: usize,
    /// The kernel had less than it was asked for.
    drained: bool,
    /// Bytes received that brought little or no content, since others were last let go first.
    barren: usize,
    /// Bytes received since there was content.
    awaited: usize,
    /// Bytes received and bytes sent that count as progress, as far as they fit.
    received: u32,
    pushed: u32,
    /// What is to be sent waits for memory of the system, and not for room: no driver reports it.
    out_of_memory: bool,
    /// What ended sending; each later send says the same.
    broken: Option<Errno>,
    /// The stream has ended.
    ended: bool,
    /// We have shut down reading.
    stopped: bool,
    /// Nothing that was sent can be lost by closing, or it is lost already and was told.
    settled: bool,
    /// The stream's end (FIN) follows what was sent.
    half_closed: bool,
    /// So many of the last bytes are a close_notify, without content.
    close_notify: u32,
    /// What the handshake may take.
    timeout: Duration,
    /// So it has to be done by then.
    deadline: Option<Instant>,
    /// Notes that nobody goes on with the handshake.
    given_up: bool,
}

/// What one read of records gave.
enum Came {
    /// Plaintext, this many bytes of it for the caller.
    Plaintext(usize),
    /// Records without plaintext, or a part of one.
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
        // A client speaks first. Nothing has come that could be wrong.
        let _ = channel.session.pull(&mut [], &mut channel.records, &mut |_| {});
        channel
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Tells when the handshake has to be done, if it begins now at the latest.
    pub(super) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        if self.deadline.is_none() {
            self.deadline = now.checked_add(self.timeout);
        }
        self.deadline
    }

    /// Notes that nobody goes on with the handshake, unless it is done.
    pub(super) fn give_up(&mut self) {
        self.given_up = self.session.is_handshaking();
    }

    /// Tells why verbs fail with `EPROTO`.
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

    /// Notes that the end of the stream will be our own doing.
    pub(super) fn stop_reading(&mut self) {
        self.stopped = true;
    }

    /// Gives a number that changes with each byte of a record that comes, unless none of them
    /// brings content.
    pub(super) fn received(&self) -> u32 {
        self.received
    }

    /// Gives a number that changes with each byte of a record that leaves.
    pub(super) fn pushed(&self) -> u32 {
        self.pushed
    }

    /// Tells whether the next read is known to find nothing: no content, no end and no failure.
    pub(super) fn is_drained(&self) -> bool {
        self.drained && !self.has_plaintext() && !self.has_ended() && self.session.check().is_ok()
    }

    /// Tells whether the end of what the peer sends is known.
    pub(super) fn has_ended(&self) -> bool {
        self.ended || self.session.has_peer_closed()
    }

    /// Tells whether plaintext is pending.
    pub(super) fn has_plaintext(&self) -> bool {
        !self.plaintext.is_empty()
    }

    /// Gives the pending plaintext.
    pub(super) fn plaintext(&self) -> &[u8] {
        &self.plaintext[self.taken..]
    }

    /// Takes the pending plaintext.
    pub(super) fn take_plaintext(&mut self) -> Vec<u8> {
        let mut plaintext = mem::take(&mut self.plaintext);
        plaintext.drain(..mem::take(&mut self.taken));
        plaintext
    }

    /// Hands at most `max` bytes of plaintext to `put`; 0 is the end of the stream.
    pub(super) fn read(
        &mut self,
        sys: &Sys,
        max: usize,
        put: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Errno> {
        if self.has_plaintext() {
            // The system is not asked; what is known of it may be older than the driver's report.
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

    /// Tells whether more has come without content than a peer that means well would send.
    fn is_flooded(&self) -> bool {
        self.awaited > AWAITED
    }

    /// Fails with [`LATER`] when much has come that brought no content.
    fn let_others_go_first(&mut self) -> Result<(), Errno> {
        let bearable = if self.is_flooded() { FLOODED } else { BARREN };
        if self.barren < bearable {
            return Ok(());
        }
        self.barren = 0;
        Err(LATER)
    }

    /// Receives until plaintext is pending; `false` if nothing is there yet.
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

    fn hand_out(&mut self, max: usize, put: &mut dyn FnMut(&[u8])) -> usize {
        let count = max.min(self.plaintext().len());
        put(&self.plaintext()[..count]);
        self.taken += count;
        if self.taken == self.plaintext.len() {
            self.plaintext = Vec::new();
            self.taken = 0;
            // The kernel was asked before these were taken, and may have told of more meanwhile.
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

    /// Makes one read of records, and decrypts them.
    fn receive(
        &mut self,
        sys: &Sys,
        max: usize,
        put: &mut dyn FnMut(&[u8]),
    ) -> Result<Came, Errno> {
        if self.has_ended() {
            return Ok(Came::End);
        }
        let mut buffer = Hot::of(&RECORDS);
        let before = self.unfinished.len();
        // As much as the caller takes, in records, and no less than one.
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
        // Whatever brings about as much as it costs is none of the concern.
        self.barren = self.barren.saturating_sub(2 * content);
        if content > 0 {
            self.awaited = 0;
        }
        if !self.records.is_empty() {
            // An answer to the peer, or an alert. If there is no room it leaves with the next send.
            let _ = self.push(sys);
        }
        match used {
            Ok(used) => self.keep(&came[used..]),
            // The plaintext before the failure is the caller's; the failure sticks.
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

    /// Makes one read of the handshake; `false` once it is done.
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
        match sys.send(sealed) {
            Ok(sent) => {
                self.out_of_memory = false;
                self.pushed = self.pushed.wrapping_add(sent as u32);
                self.records.extend_from_slice(&sealed[sent..]);
            }
            // The session counts it among those that the peer has got: it must leave, if late.
            Err(error) if may_go_later(error) => {
                self.out_of_memory = error != Errno::AGAIN;
                self.records.extend_from_slice(sealed);
            }
            Err(error) => return Err(self.break_off(error)),
        }
        Ok(taken)
    }

    /// Nothing more can be sent: a record is lost, and the peer would miss it.
    #[cold]
    fn break_off(&mut self, error: Errno) -> Errno {
        // A close_notify that has not left is not among the last bytes that have.
        let unsent = (self.records.len() - self.sent) as u32;
        self.close_notify = self.close_notify.saturating_sub(unsent);
        self.records = Vec::new();
        self.promised = self.promised.saturating_sub(self.sent);
        self.sent = 0;
        *self.broken.get_or_insert(error)
    }

    /// Does the same from several buffers.
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

    /// Notes that what is pending now is that of verbs that have returned Ok.
    pub(super) fn promise(&mut self) {
        self.promised = self.records.len();
    }

    /// Tells whether something of such verbs has not left.
    pub(super) fn breaks_promise(&self) -> bool {
        self.promised > self.sent
    }

    /// Sends the records that found no room.
    pub(super) fn push(&mut self, sys: &Sys) -> Result<(), Errno> {
        if let Some(error) = self.broken {
            return Err(self.break_off(error));
        }
        while self.has_pending() {
            match sys.send(&self.records[self.sent..]) {
                Ok(sent) => {
                    self.pushed = self.pushed.wrapping_add(sent as u32);
                    self.sent += sent;
                }
                Err(error) if may_go_later(error) => return Err(error),
                Err(error) => return Err(self.break_off(error)),
            }
            if self.sent == self.records.len() {
                self.records = Vec::new();
                self.sent = 0;
                self.promised = 0;
            }
        }
        Ok(())
    }
}

/// Tells whether a send that has failed may succeed when it is made again: there was no room, or
/// the system was short of memory.
fn may_go_later(error: Errno) -> bool {
    matches!(meaning(Call::Send, error), Meaning::Wait | Meaning::Pause)
}

/// For verbs on a socket whose handshake was given up.
pub(super) fn unfinished() -> io::Error {
    invalid_input("the TLS handshake of this socket was not finished")
}
