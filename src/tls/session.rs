//! A TLS session over byte slices: no sockets, no waiting.
//!
//! [`Session::pull`] decrypts records in place and passes the plaintext on; [`Session::seal`] makes
//! records from plaintext. Both faces of a socket drive the same session, and so does the fuzz
//! target. No bytes are kept between calls outside of rustls's state: bytes that `pull` has not
//! used stay with the caller, who passes them again with more after them.
//!
//! This is the only file that uses rustls's unbuffered interface, which changes with 0.24.

use std::sync::Arc;

use rustls::{
    ClientConfig, CommonState, Error, HandshakeKind, ServerConfig,
    client::UnbufferedClientConnection,
    pki_types::{CertificateDer, ServerName},
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, UnbufferedStatus},
};

use super::{names, version::TlsVersion};

/// The most bytes that one [`Session::seal`] takes: what a socket may have queued, and a header.
pub(crate) const PLAIN: usize = (64 << 10) + 64;

/// The most bytes of plaintext in one record.
pub(crate) const CONTENT: usize = 16 << 10;

/// Bytes of plaintext in four full records.
pub(crate) const FULL: usize = 4 * CONTENT;

/// The most bytes that the records of [`PLAIN`] bytes need, and what rustls may have to send before
/// them: each record of 16 KiB grows by its header, nonce and tag.
pub(crate) const SEALED: usize = PLAIN + (4 << 10);

/// The most bytes of one record with its header, nonce and tag.
pub(crate) const RECORD: usize = CONTENT + 512;

/// The state of a TLS session, over rustls's connection.
pub(crate) struct Session {
    connection: Connection,
    /// The error that ended the session; each later call returns it again.
    failure: Option<Error>,
    /// The name that the client asked for; in a server's session only.
    asked_name: Option<Box<str>>,
    peer_closed: bool,
    closed: bool,
}

enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What to do after one call of rustls.
enum Step {
    /// Call again.
    Again,
    /// Nothing more can be done without more bytes from the peer.
    Idle,
    PeerClosed,
    Failed(Error),
}

impl Session {
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Session, Error> {
        Ok(Session::new(Connection::Server(UnbufferedServerConnection::new(config)?)))
    }

    /// Begins a client's session; the server must prove that it is `name`.
    pub(crate) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Session, Error> {
        Ok(Session::new(Connection::Client(UnbufferedClientConnection::new(config, name)?)))
    }

    fn new(connection: Connection) -> Session {
        let (peer_closed, closed) = (false, false);
        Session { connection, failure: None, asked_name: None, peer_closed, closed }
    }

    /// Decrypts records at the front of `input`, in place; returns how many bytes were used. Passes
    /// the plaintext to `plaintext`, and appends what must be sent to the peer to `answer`.
    ///
    /// An error is permanent; `answer` then ends with the alert for the peer.
    pub(crate) fn pull(
        &mut self,
        input: &mut [u8],
        answer: &mut Vec<u8>,
        plaintext: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Error> {
        self.check()?;
        let mut used = 0;
        loop {
            let (discard, step) = self.step(&mut input[used..], answer, plaintext);
            used += discard;
            match step {
                Step::Again => {}
                Step::PeerClosed => self.peer_closed = true,
                Step::Idle => return Ok(used),
                Step::Failed(error) => {
                    self.failure = Some(error.clone());
                    // Only to write the alert: otherwise rustls would read on after the failure.
                    while self.common().wants_write() {
                        self.step(&mut [], answer, plaintext);
                    }
                    return Err(error);
                }
            }
        }
    }

    fn step(
        &mut self,
        input: &mut [u8],
        answer: &mut Vec<u8>,
        plaintext: &mut dyn FnMut(&[u8]),
    ) -> (usize, Step) {
        match &mut self.connection {
            Connection::Client(client) => {
                step(client.process_tls_records(input), answer, plaintext)
            }
            Connection::Server(server) if server.is_handshaking() => {
                let (stepped, name) = names::with_asked_name(|| {
                    step(server.process_tls_records(input), answer, plaintext)
                });
                if name.is_some() {
                    self.asked_name = name;
                }
                stepped
            }
            Connection::Server(server) => {
                step(server.process_tls_records(input), answer, plaintext)
            }
        }
    }

    /// Makes records of `plain`, at most [`PLAIN`] bytes, in `sealed`, which has at least
    /// [`SEALED`] bytes; returns their length. `unused` is what `pull` has left unused: rustls
    /// remembers the position of an incomplete handshake message in it.
    pub(crate) fn seal(
        &mut self,
        unused: &mut [u8],
        plain: &[u8],
        sealed: &mut [u8],
    ) -> Result<usize, Error> {
        debug_assert!(plain.len() <= PLAIN && sealed.len() >= SEALED, "as much as fits is sealed");
        self.write(unused, Write::Plain(plain), sealed)
    }

    /// Appends close_notify to `answer`, once. `unused` as for [`Session::seal`].
    pub(crate) fn close(&mut self, unused: &mut [u8], answer: &mut Vec<u8>) {
        if self.closed || self.failure.is_some() || self.is_handshaking() {
            return;
        }
        self.closed = true;
        let before = answer.len();
        answer.resize(before + ALERT, 0);
        let written = self.write(unused, Write::Close, &mut answer[before..]).unwrap_or(0);
        answer.truncate(before + written);
    }

    fn write(
        &mut self,
        unused: &mut [u8],
        what: Write<'_>,
        sealed: &mut [u8],
    ) -> Result<usize, Error> {
        self.check()?;
        let written = match &mut self.connection {
            Connection::Client(client) => write(client.process_tls_records(unused), what, sealed),
            Connection::Server(server) => write(server.process_tls_records(unused), what, sealed),
        };
        if let Err(error) = &written {
            self.failure = Some(error.clone());
        }
        written
    }

    /// Ends the session with the caller's reason.
    pub(crate) fn fail(&mut self, why: &str) {
        self.failure.get_or_insert_with(|| Error::General(why.to_owned()));
    }

    /// Returns the error that ended the session, if there is one.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// Tells whether this is a server's session of TLS 1.3 whose handshake is complete but for
    /// tickets.
    pub(crate) fn has_been_answered(&self) -> bool {
        matches!(self.connection, Connection::Server(_))
            && self.version() == Some(TlsVersion::V1_3)
            && !self.is_handshaking()
    }

    /// Tells whether the peer has sent close_notify.
    pub(crate) fn has_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Tells whether [`Session::close`] has made a close_notify.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        self.common().peer_certificates().unwrap_or_default().to_vec()
    }

    pub(crate) fn alpn(&self) -> Option<Vec<u8>> {
        self.common().alpn_protocol().map(<[u8]>::to_vec)
    }

    pub(crate) fn version(&self) -> Option<TlsVersion> {
        TlsVersion::of(self.common().protocol_version()?)
    }

    /// Tells whether the handshake resumed an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.common().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Returns the name that the client has asked for; `None` in a client's session.
    pub(crate) fn asked_name(&self) -> Option<&str> {
        self.asked_name.as_deref()
    }

    fn common(&self) -> &CommonState {
        match &self.connection {
            Connection::Client(client) => client,
            Connection::Server(server) => server,
        }
    }
}

/// The most bytes of an alert's record, and of what rustls may have to send before it.
const ALERT: usize = 512;

/// What [`write`] encrypts.
enum Write<'a> {
    Plain(&'a [u8]),
    Close,
}

fn write<D>(
    status: UnbufferedStatus<'_, '_, D>,
    what: Write<'_>,
    sealed: &mut [u8],
) -> Result<usize, Error> {
    let ConnectionState::WriteTraffic(mut traffic) = status.state? else {
        return Err(Error::HandshakeNotComplete);
    };
    let written = match what {
        Write::Plain(plain) => traffic.encrypt(plain, sealed),
        Write::Close => traffic.queue_close_notify(sealed),
    };
    written.map_err(|error| Error::General(error.to_string()))
}

fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    answer: &mut Vec<u8>,
    plaintext: &mut dyn FnMut(&[u8]),
) -> (usize, Step) {
    let mut discard = status.discard;
    let step = match status.state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    plaintext(record.payload);
                }
                Some(Err(error)) => break Step::Failed(error),
                None => break Step::Again,
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            encode(answer, |space| data.encode(space));
            Step::Again
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // It is in `answer`, which the caller sends in order.
            data.done();
            Step::Again
        }
        Ok(ConnectionState::PeerClosed) => Step::PeerClosed,
        // Early data is never accepted; states that a later rustls adds are ignored.
        Ok(_) => Step::Idle,
        Err(error) => Step::Failed(error),
    };
    (discard, step)
}

/// Appends what `call` writes, with as much space as it asks for.
fn encode(answer: &mut Vec<u8>, mut call: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let before = answer.len();
    let mut space = 0;
    loop {
        answer.resize(before + space, 0);
        match call(&mut answer[before..]) {
            Ok(written) => return answer.truncate(before + written),
            Err(EncodeError::InsufficientSize(needs)) => space = needs.required_size,
            Err(EncodeError::AlreadyEncoded) => return answer.truncate(before),
        }
    }
}
