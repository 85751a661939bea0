//! A TLS conversation over byte slices: no sockets, no waiting, no async.
//!
//! [`Session::pull`] takes what has come from the peer, in place, and hands on what it says;
//! [`Session::seal`] makes records of what is to be said. Both faces of a socket drive the same
//! session, and so does the fuzz target. Nothing is kept between calls but rustls's own state: what
//! `pull` has not used belongs to the caller, who brings it again with more behind it.
//!
//! This is a seam: the only file that knows rustls's unbuffered interface, which changes with 0.24.

use std::sync::Arc;

use rustls::{
    ClientConfig, CommonState, Error, HandshakeKind, ServerConfig,
    client::UnbufferedClientConnection,
    pki_types::{CertificateDer, ServerName},
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, UnbufferedStatus},
};

use super::{names, version::TlsVersion};

/// Most bytes that one [`Session::seal`] takes: what a socket may have queued, and a header.
pub(crate) const PLAIN: usize = (64 << 10) + 64;

/// Most bytes of content in one record.
pub(crate) const CONTENT: usize = 16 << 10;

/// Bytes of four records that are full.
pub(crate) const FULL: usize = 4 * CONTENT;

/// Bytes that the records of [`PLAIN`] bytes need, with what may have to go before them: each
/// record of 16 KiB grows by its header, its nonce and its tag.
pub(crate) const SEALED: usize = PLAIN + (4 << 10);

/// Bytes of one record and of whatever is around it.
pub(crate) const RECORD: usize = CONTENT + 512;

/// See the module's page.
pub(crate) struct Session {
    connection: Connection,
    /// What ended it; each later call says the same.
    failure: Option<Error>,
    /// The name the client asked for, of a server's session.
    asked_name: Option<Box<str>>,
    peer_closed: bool,
    closed: bool,
}

enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// How far one call of rustls has come.
enum Step {
    /// There is more to be had.
    Again,
    /// The rest needs more from the peer.
    Idle,
    PeerClosed,
    Failed(Error),
}

impl Session {
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Session, Error> {
        Ok(Session::new(Connection::Server(UnbufferedServerConnection::new(config)?)))
    }

    /// `name` is what the server must prove to be.
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

    /// Takes records from the front of `input`, which is changed; gives how many bytes were used.
    /// What the peer says goes to `said`, what has to be sent back to the end of `answer`.
    ///
    /// An error is for good, and an alert that tells the peer stands in `answer`.
    pub(crate) fn pull(
        &mut self,
        input: &mut [u8],
        answer: &mut Vec<u8>,
        said: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Error> {
        self.check()?;
        let mut used = 0;
        loop {
            let (discard, step) = self.step(&mut input[used..], answer, said);
            used += discard;
            match step {
                Step::Again => {}
                Step::PeerClosed => self.peer_closed = true,
                Step::Idle => return Ok(used),
                Step::Failed(error) => {
                    self.failure = Some(error.clone());
                    // The alert, and no call more: rustls would read on, behind the failure.
                    while self.common().wants_write() {
                        self.step(&mut [], answer, said);
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
        said: &mut dyn FnMut(&[u8]),
    ) -> (usize, Step) {
        match &mut self.connection {
            Connection::Client(client) => step(client.process_tls_records(input), answer, said),
            Connection::Server(server) if server.is_handshaking() => {
                let (stepped, name) =
                    names::noting(|| step(server.process_tls_records(input), answer, said));
                if name.is_some() {
                    self.asked_name = name;
                }
                stepped
            }
            Connection::Server(server) => step(server.process_tls_records(input), answer, said),
        }
    }

    /// Makes records of `plain`, at most [`PLAIN`] bytes, in `sealed`, which has room for
    /// [`SEALED`]; gives their length. `unused` is what `pull` has left: rustls remembers where in
    /// there a message begins that has not come whole.
    pub(crate) fn seal(
        &mut self,
        unused: &mut [u8],
        plain: &[u8],
        sealed: &mut [u8],
    ) -> Result<usize, Error> {
        debug_assert!(plain.len() <= PLAIN && sealed.len() >= SEALED, "as much as fits is sealed");
        self.write(unused, Write::Plain(plain), sealed)
    }

    /// Puts close_notify at the end of `answer`, once. `unused` as for [`Session::seal`].
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

    /// Ends it for a reason of the caller's.
    pub(crate) fn fail(&mut self, why: &str) {
        self.failure.get_or_insert_with(|| Error::General(why.to_owned()));
    }

    /// The failure that ended it, if there was one.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// Whether this is a server's, and nothing of the handshake is left but tickets.
    pub(crate) fn has_been_answered(&self) -> bool {
        matches!(self.connection, Connection::Server(_))
            && self.version() == Some(TlsVersion::V1_3)
            && !self.is_handshaking()
    }

    /// Whether the peer has said that nothing follows.
    pub(crate) fn has_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Whether we have said so.
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

    /// Whether keys of an earlier session were used again.
    pub(crate) fn is_resumed(&self) -> bool {
        self.common().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The name the client has asked for; `None` of a client's session.
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

/// Bytes of an alert's record, and of what rustls may have to send before it.
const ALERT: usize = 512;

/// What is to be sent.
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
    said: &mut dyn FnMut(&[u8]),
) -> (usize, Step) {
    let mut discard = status.discard;
    let step = match status.state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    said(record.payload);
                }
                Some(Err(error)) => break Step::Failed(error),
                None => break Step::Again,
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            encode(answer, |room| data.encode(room));
            Step::Again
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // It stands in `answer`, behind which nothing overtakes it.
            data.done();
            Step::Again
        }
        Ok(ConnectionState::PeerClosed) => Step::PeerClosed,
        // Early data is never accepted; whatever rustls adds is waited out.
        Ok(_) => Step::Idle,
        Err(error) => Step::Failed(error),
    };
    (discard, step)
}

/// Appends what `call` writes, once there is as much room as it says it needs.
fn encode(answer: &mut Vec<u8>, mut call: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let before = answer.len();
    let mut room = 0;
    loop {
        answer.resize(before + room, 0);
        match call(&mut answer[before..]) {
            Ok(written) => return answer.truncate(before + written),
            Err(EncodeError::InsufficientSize(needs)) => room = needs.required_size,
            Err(EncodeError::AlreadyEncoded) => return answer.truncate(before),
        }
    }
}
