//! A session that hears what a peer should not say: the work of the fuzz target `session`, which
//! the unit tests do on its seeds.
//!
//! [`Ends::feed`] makes of some bytes who we are, who the peer is and what it does. The peer is a
//! liar from the first byte on or after an honest handshake (its bytes stand in the input), or an
//! honest one whose bytes somebody changes on their way. What must hold stands in [`Fed::hear`].

use std::io;

use rustls::Error;

use super::{
    Tls,
    session::{PLAIN, RECORD, SEALED, Session},
    version::TlsVersion,
};

/// What both ends are configured with; made once.
pub struct Ends {
    /// By version, then without and with a certificate of the client.
    servers: [[Tls; 2]; 2],
    clients: [[Tls; 2]; 2],
}

/// What the first byte of an input chooses.
#[derive(Clone, Copy)]
struct Choice(u8);

/// The bits of the first byte.
pub(super) const SERVER: u8 = 1;
pub(super) const TLS12: u8 = 2;
pub(super) const AFTER_HANDSHAKE: u8 = 4;
pub(super) const CHANGED: u8 = 8;
pub(super) const CERTIFICATE: u8 = 16;

impl Ends {
    /// A server of the name `localhost`, which is trusted by its own certificate, and so is the
    /// client that shows the same one.
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
            // Each handshake is a whole one, so an input does the same each time.
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

    /// Does what the bytes say: the choice, the sizes of the pieces, then what the peer says or how
    /// what it says is changed.
    ///
    /// # Panics
    /// If the session breaks one of its promises.
    pub fn feed(&self, input: &[u8]) {
        let [choice, sizes, rest @ ..] = input else { return };
        let choice = Choice(*choice);
        let (ours, theirs) = self.sessions(choice);
        let mut fed = Fed::new(ours, *sizes);
        match (choice.is(AFTER_HANDSHAKE), choice.is(CHANGED)) {
            (false, false) => fed.hear(rest),
            (true, false) => {
                Honest::new(theirs).shake(&mut fed, &mut Changes(&[]));
                fed.must_be_shaken();
                fed.hear(rest);
            }
            (false, true) => Honest::new(theirs).converse(&mut fed, &mut Changes(rest)),
            (true, true) => {
                let mut peer = Honest::new(theirs);
                peer.shake(&mut fed, &mut Changes(&[]));
                fed.must_be_shaken();
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

    /// What an honest peer says at first to an end that was chosen so: a client at once, a server
    /// when it has heard a client.
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

/// The session under test and what it was told, as a channel has it.
struct Fed {
    session: Session,
    /// Came and was not used.
    pending: Vec<u8>,
    /// For the peer.
    answer: Vec<u8>,
    /// Bytes of all that came, of what was said in it, of what was answered.
    came: usize,
    said: usize,
    answered: usize,
    /// In words: not all of rustls's errors are equal to themselves.
    failure: Option<String>,
    /// Bytes of a piece.
    piece: usize,
}

impl Fed {
    fn new(session: Session, sizes: u8) -> Fed {
        let piece = if sizes == 0 { SEALED } else { usize::from(sizes) * usize::from(sizes) };
        let (pending, answer, failure) = (Vec::new(), Vec::new(), None);
        let (came, said, answered) = (0, 0, 0);
        let mut fed = Fed { session, pending, answer, came, said, answered, failure, piece };
        fed.pull();
        fed
    }

    /// Hears all of `bytes`, piece by piece, as far as a channel has room for what is not used.
    fn hear(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            let room = SEALED - self.pending.len();
            let piece = &piece[..piece.len().min(room)];
            self.came += piece.len();
            self.pending.extend_from_slice(piece);
            self.pull();
        }
    }

    fn pull(&mut self) {
        let (before, mut said) = (self.answer.len(), 0);
        let pulled = self
            .session
            .pull(&mut self.pending, &mut self.answer, &mut |bytes| said += bytes.len());
        self.said += said;
        self.answered += self.answer.len() - before;
        // What is said was sent, and no answer is longer than a handshake and what called for it.
        assert!(self.said <= self.came, "{} bytes said in {}", self.said, self.came);
        assert!(self.answered <= RECORD + 4 * self.came, "{} bytes answered", self.answered);
        if let Some(failure) = &self.failure {
            let again = pulled.as_ref().err().map(Error::to_string);
            assert_eq!(again.as_ref(), Some(failure), "a failure is for good");
            assert_eq!((said, self.answer.len()), (0, before), "nothing comes after it");
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

    fn must_be_shaken(&self) {
        assert_eq!((&self.failure, self.session.is_handshaking()), (&None, false));
    }

    /// What verbs do with the session whatever was heard.
    fn end(&mut self) {
        let mut sealed = vec![0; SEALED];
        let is_open = self.failure.is_none() && !self.session.is_handshaking();
        let written = self.session.seal(&mut self.pending, &[b'?'; 100], &mut sealed);
        assert_eq!(written.is_ok(), is_open, "{written:?}");
        self.failure = self.reason();
        let before = self.answer.len();
        self.session.close(&mut self.pending, &mut self.answer);
        self.session.close(&mut self.pending, &mut self.answer);
        assert_eq!(self.answer.len() > before, is_open, "close_notify is said once, if at all");
        self.answered += self.answer.len() - before;
        let _ = (self.session.alpn(), self.session.version(), self.session.is_resumed());
        let _ = (self.session.peer_certificates(), self.session.asked_name());
    }
}

/// A peer that does as it should.
struct Honest(Session);

impl Honest {
    fn new(session: Session) -> Honest {
        Honest(session)
    }

    /// Shakes hands; the peer's bytes are changed on their way.
    fn shake(&mut self, fed: &mut Fed, changes: &mut Changes<'_>) {
        // Each flight is one time round; there are no more than these.
        for _ in 0..FLIGHTS {
            let mut heard = std::mem::take(&mut fed.answer);
            let mut says = Vec::new();
            // It may be told an alert, and be at its end.
            let _ = self.0.pull(&mut heard, &mut says, &mut |_| {});
            if says.is_empty() && heard.is_empty() {
                return;
            }
            fed.hear(&changes.of(says));
        }
    }

    /// Shakes hands unless that was done, says a little, a little more, and goodbye.
    fn converse(&mut self, fed: &mut Fed, changes: &mut Changes<'_>) {
        self.shake(fed, changes);
        for length in [64, 2 * RECORD.min(PLAIN / 2), 0, 1] {
            let mut sealed = vec![0; SEALED];
            if let Ok(written) = self.0.seal(&mut [], &vec![b'!'; length], &mut sealed) {
                sealed.truncate(written);
                fed.hear(&changes.of(sealed));
            }
        }
        let mut goodbye = Vec::new();
        self.0.close(&mut [], &mut goodbye);
        fed.hear(&changes.of(goodbye));
    }
}

/// Most flights of a handshake, either way.
const FLIGHTS: usize = 6;

/// What happens to bytes on their way, four bytes for each change: what and where.
struct Changes<'a>(&'a [u8]);

impl Changes<'_> {
    fn of(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        while let [kind, high, low, value, rest @ ..] = self.0 {
            self.0 = rest;
            let place = usize::from(u16::from_be_bytes([*high, *low]));
            let (place, value) = (place.min(bytes.len()), *value);
            let end = (place + 1 + usize::from(value)).min(bytes.len());
            match kind % 7 {
                // These bytes are as they are to be; what is left is for the next.
                0 => break,
                1 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= value),
                2 => bytes.truncate(place),
                3 => drop(bytes.drain(place..end)),
                4 => bytes.extend_from_within(place..end),
                5 => bytes.insert(place, value),
                // A record again.
                _ => bytes.extend_from_within(..place),
            }
        }
        bytes
    }
}
