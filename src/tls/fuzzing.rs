//! Feeds a session with malformed and changed records, for the fuzz target `session`; the unit
//! tests do so with its seeds.
//!
//! [`Ends::feed`] derives from its input which side the session under test is on, how it is
//! configured, and what the peer sends: bytes from the input, from the start or after a proper
//! handshake, or proper records that are changed on their way. [`Fed::pull`] checks the invariants.

use std::io;

use rustls::Error;

use super::{
    Tls,
    session::{PLAIN, RECORD, SEALED, Session},
    version::TlsVersion,
};

/// The configurations of both ends; made once.
pub struct Ends {
    /// Indexed by version, then by whether the client has a certificate.
    servers: [[Tls; 2]; 2],
    clients: [[Tls; 2]; 2],
}

/// The first byte of an input, a set of bits.
#[derive(Clone, Copy)]
struct Choice(u8);

/// The bits of [`Choice`].
pub(super) const SERVER: u8 = 1;
pub(super) const TLS12: u8 = 2;
pub(super) const AFTER_HANDSHAKE: u8 = 4;
pub(super) const CHANGED: u8 = 8;
pub(super) const CERTIFICATE: u8 = 16;

impl Ends {
    /// Makes servers named `localhost`, whose certificate is pinned by clients, and clients that
    /// show the same certificate.
    ///
    /// # Errors
    /// Those of a server's configuration.
    pub fn new(chain: &[u8], key: &[u8]) -> io::Result<Ends> {
        let server = |version, asks| {
            let server = Tls::server_from_pem(chain, key)?.versions(&[version])?;
            let server =
                if asks { server.accept_client_certificates_from_pem(chain)? } else { server };
            io::Result::Ok(Tls::from(server.alpn(["one", "two"])))
        };
        let client = |version, shows| {
            let client = Tls::client()?.ca_from_pem(chain)?.versions(&[version])?;
            let client = if shows { client.certificate_from_pem(chain, key)? } else { client };
            // Each handshake is a full one, so that an input always does the same.
            let client = client.session_resumption(false).server_name("localhost")?;
            io::Result::Ok(Tls::from(client.alpn(["two"])))
        };
        let [new, old] = [TlsVersion::V1_3, TlsVersion::V1_2];
        Ok(Ends {
            servers: [
                [server(new, false)?, server(new, true)?],
                [server(old, false)?, server(old, true)?],
            ],
            clients: [
                [client(new, false)?, client(new, true)?],
                [client(old, false)?, client(old, true)?],
            ],
        })
    }

    /// Interprets `input`: the choice, the size of the pieces, then the peer's bytes, or how its
    /// bytes are changed.
    ///
    /// # Panics
    /// If the session breaks an invariant.
    pub fn feed(&self, input: &[u8]) {
        let [choice, sizes, rest @ ..] = input else { return };
        let choice = Choice(*choice);
        let (ours, theirs) = self.sessions(choice);
        let mut fed = Fed::new(ours, *sizes);
        match (choice.is(AFTER_HANDSHAKE), choice.is(CHANGED)) {
            (false, false) => fed.receive(rest),
            (true, false) => {
                Honest::new(theirs).shake(&mut fed, &mut Changes(&[]));
                fed.assert_handshake_done();
                fed.receive(rest);
            }
            (false, true) => Honest::new(theirs).converse(&mut fed, &mut Changes(rest)),
            (true, true) => {
                let mut peer = Honest::new(theirs);
                peer.shake(&mut fed, &mut Changes(&[]));
                fed.assert_handshake_done();
                peer.converse(&mut fed, &mut Changes(rest));
            }
        }
        fed.end();
    }

    fn sessions(&self, choice: Choice) -> (Session, Session) {
        let version = usize::from(choice.is(TLS12));
        let certificate = usize::from(choice.is(CERTIFICATE));
        let session = |ends: &[[Tls; 2]; 2]| {
            ends[version][certificate].session(None).expect("it is complete")
        };
        let (server, client) = (session(&self.servers), session(&self.clients));
        if choice.is(SERVER) { (server, client) } else { (client, server) }
    }

    /// Returns the first flight of a proper peer of the end that `choice` describes: a client's
    /// ClientHello, or a server's reply to one.
    #[cfg(test)]
    pub(super) fn first_flight(&self, choice: u8) -> Vec<u8> {
        let (mut ours, mut theirs) = self.sessions(Choice(choice));
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        ours.pull(&mut [], &mut asked, &mut |_| {}).expect("nothing has come");
        theirs.pull(&mut asked, &mut answered, &mut |_| {}).expect("both are honest");
        answered
    }
}

impl Choice {
    fn is(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

/// The session under test and its buffers, as a channel has them.
struct Fed {
    session: Session,
    /// Bytes received and not used yet.
    pending: Vec<u8>,
    /// Bytes to send to the peer.
    answer: Vec<u8>,
    /// Bytes received, of plaintext in them, and answered, in total.
    received: usize,
    plaintext: usize,
    answered: usize,
    /// As text, since not all of rustls's errors equal themselves.
    failure: Option<String>,
    /// The size of a piece, in bytes.
    piece: usize,
}

impl Fed {
    fn new(session: Session, sizes: u8) -> Fed {
        let piece = if sizes == 0 { SEALED } else { usize::from(sizes) * usize::from(sizes) };
        let (pending, answer, failure) = (Vec::new(), Vec::new(), None);
        let (received, plaintext, answered) = (0, 0, 0);
        let mut fed =
            Fed { session, pending, answer, received, plaintext, answered, failure, piece };
        fed.pull();
        fed
    }

    /// Receives `bytes`, piece by piece; drops what a channel has no space for.
    fn receive(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            let space = SEALED - self.pending.len();
            let piece = &piece[..piece.len().min(space)];
            self.received += piece.len();
            self.pending.extend_from_slice(piece);
            self.pull();
        }
    }

    fn pull(&mut self) {
        let (before, mut plaintext) = (self.answer.len(), 0);
        let pulled = self
            .session
            .pull(&mut self.pending, &mut self.answer, &mut |bytes| plaintext += bytes.len());
        self.plaintext += plaintext;
        self.answered += self.answer.len() - before;
        // There is no more plaintext than records, and the answers are bounded by a handshake and
        // the input.
        assert!(
            self.plaintext <= self.received,
            "{} bytes of plaintext in {}",
            self.plaintext,
            self.received
        );
        assert!(self.answered <= RECORD + 4 * self.received, "{} bytes answered", self.answered);
        if let Some(failure) = &self.failure {
            let again = pulled.as_ref().err().map(Error::to_string);
            assert_eq!(again.as_ref(), Some(failure), "a failure is for good");
            assert_eq!((plaintext, self.answer.len()), (0, before), "nothing comes after it");
        }
        match pulled {
            Ok(used) => {
                assert!(used <= self.pending.len(), "{used} of {} bytes", self.pending.len());
                self.pending.drain(..used);
            }
            Err(error) => self.failure = Some(error.to_string()),
        }
        assert_eq!(self.reason(), self.failure);
    }

    fn reason(&self) -> Option<String> {
        self.session.check().err().map(|error| error.to_string())
    }

    fn assert_handshake_done(&self) {
        assert_eq!((&self.failure, self.session.is_handshaking()), (&None, false));
    }

    /// Does what verbs do with a session in any state.
    fn end(&mut self) {
        let mut sealed = vec![0; SEALED];
        let is_open = self.failure.is_none() && !self.session.is_handshaking();
        let written = self.session.seal(&mut self.pending, &[b'?'; 100], &mut sealed);
        assert_eq!(written.is_ok(), is_open, "{written:?}");
        self.failure = self.reason();
        let before = self.answer.len();
        self.session.close(&mut self.pending, &mut self.answer);
        self.session.close(&mut self.pending, &mut self.answer);
        assert_eq!(self.answer.len() > before, is_open, "close_notify is made once, if at all");
        self.answered += self.answer.len() - before;
        let _ = (self.session.alpn(), self.session.version(), self.session.is_resumed());
        let _ = (self.session.peer_certificates(), self.session.asked_name());
    }
}

/// A peer that follows the protocol.
struct Honest(Session);

impl Honest {
    fn new(session: Session) -> Honest {
        Honest(session)
    }

    /// Does the handshake; `changes` are applied to the peer's bytes.
    fn shake(&mut self, fed: &mut Fed, changes: &mut Changes<'_>) {
        // One flight per round.
        for _ in 0..FLIGHTS {
            let mut input = std::mem::take(&mut fed.answer);
            let mut output = Vec::new();
            // It may receive an alert, which ends it.
            let _ = self.0.pull(&mut input, &mut output, &mut |_| {});
            if output.is_empty() && input.is_empty() {
                return;
            }
            fed.receive(&changes.of(output));
        }
    }

    /// Does the handshake unless that was done, sends some plaintext, then close_notify.
    fn converse(&mut self, fed: &mut Fed, changes: &mut Changes<'_>) {
        self.shake(fed, changes);
        for length in [64, 2 * RECORD.min(PLAIN / 2), 0, 1] {
            let mut sealed = vec![0; SEALED];
            if let Ok(written) = self.0.seal(&mut [], &vec![b'!'; length], &mut sealed) {
                sealed.truncate(written);
                fed.receive(&changes.of(sealed));
            }
        }
        let mut close_notify = Vec::new();
        self.0.close(&mut [], &mut close_notify);
        fed.receive(&changes.of(close_notify));
    }
}

/// The most flights of a handshake, in each direction.
const FLIGHTS: usize = 6;

/// Changes to bytes on their way, encoded in four bytes each: kind, place and value.
struct Changes<'a>(&'a [u8]);

impl Changes<'_> {
    fn of(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        while let [kind, high, low, value, rest @ ..] = self.0 {
            self.0 = rest;
            let place = usize::from(u16::from_be_bytes([*high, *low]));
            let (place, value) = (place.min(bytes.len()), *value);
            let end = (place + 1 + usize::from(value)).min(bytes.len());
            match kind % 7 {
                // No more changes to these bytes; the rest is for the next ones.
                0 => break,
                1 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= value),
                2 => bytes.truncate(place),
                3 => drop(bytes.drain(place..end)),
                4 => bytes.extend_from_within(place..end),
                5 => bytes.insert(place, value),
                // Repeats a record.
                _ => bytes.extend_from_within(..place),
            }
        }
        bytes
    }
}
