//! A peer that sends single TLS records: rustls does the handshake, and with its keys a test seals
//! records that no library would send.

use std::{
    cell::RefCell,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, LazyLock, Mutex},
};

use asyncoro::{ClientTls, ServerTls, TlsVersion};
use rustls::{
    CipherSuiteCommon, ClientConfig, ClientConnection, Connection, ConnectionTrafficSecrets,
    ContentType, KeyLog, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
    SupportedCipherSuite, SupportedProtocolVersion, Tls12CipherSuite, Tls13CipherSuite,
    crypto::{
        CryptoProvider,
        cipher::{
            AeadKey, Iv, KeyBlockShape, MessageDecrypter, MessageEncrypter, OutboundChunks,
            OutboundPlainMessage, Tls12AeadAlgorithm, UnsupportedOperationError,
        },
        ring::{
            self,
            cipher_suite::{TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS13_AES_256_GCM_SHA384},
        },
        tls13::OkmBlock,
    },
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{
    both,
    certificates::{Made, params},
    speaking,
};
use crate::pairs::LIMIT;

/// A certificate for `localhost`, for peers and sockets of one version of TLS.
pub(super) struct Identity {
    version: TlsVersion,
    made: Made,
}

impl Identity {
    pub(super) fn new(version: TlsVersion) -> Identity {
        Identity { version, made: Made::self_signed(&params("localhost")) }
    }

    /// Makes the configurations of a server and a client.
    pub(super) fn both(&self) -> (ServerTls, ClientTls) {
        speaking(self.version, both(&self.made.chain, &self.made.key))
    }

    fn versions(&self) -> [&'static SupportedProtocolVersion; 1] {
        [match self.version {
            TlsVersion::V1_2 => &rustls::version::TLS12,
            _ => &rustls::version::TLS13,
        }]
    }

    fn chain(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.made.chain.as_bytes()).unwrap()
    }

    /// Connects a client and does its handshake. It leaves unread what the server sends after that.
    pub(super) fn connect(&self, port: u16) -> Peer {
        self.shake_as_client(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    /// Does a client's handshake on an open connection.
    pub(super) fn shake_as_client(&self, stream: TcpStream) -> Peer {
        let (session, log) = self.client();
        Peer::shake(stream, session.into(), &log)
    }

    /// Makes a client's session that has sent nothing yet.
    pub(super) fn client_session(&self) -> ClientConnection {
        self.client().0
    }

    fn client(&self) -> (ClientConnection, Arc<Log>) {
        let mut roots = RootCertStore::empty();
        roots.add(self.chain()).unwrap();
        let log = Arc::new(Log::new("CLIENT_TRAFFIC_SECRET_0"));
        let config = ClientConfig::builder_with_provider(provider());
        let config = config.with_protocol_versions(&self.versions()).unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.key_log = Arc::<Log>::clone(&log);
        let name = "localhost".try_into().unwrap();
        (ClientConnection::new(Arc::new(config), name).unwrap(), log)
    }

    /// Accepts the next client and does its handshake, without tickets.
    pub(super) fn accept(&self, listener: &TcpListener) -> Peer {
        let key = PrivateKeyDer::from_pem_slice(self.made.key.as_bytes()).unwrap();
        let log = Arc::new(Log::new("SERVER_TRAFFIC_SECRET_0"));
        let config = ServerConfig::builder_with_provider(provider());
        let config = config.with_protocol_versions(&self.versions()).unwrap();
        let config = config.with_no_client_auth();
        let mut config = config.with_single_cert(vec![self.chain()], key).unwrap();
        config.key_log = Arc::<Log>::clone(&log);
        config.send_tls13_tickets = 0;
        let session = ServerConnection::new(Arc::new(config)).unwrap();
        Peer::shake(listener.accept().unwrap().0, session.into(), &log)
    }
}

/// Makes a provider whose keys have 32 bytes, as [`AeadKey`] requires.
fn provider() -> Arc<CryptoProvider> {
    static TLS12: LazyLock<Tls12CipherSuite> = LazyLock::new(|| {
        let SupportedCipherSuite::Tls12(suite) = TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 else {
            unreachable!("it is one of TLS 1.2")
        };
        Tls12CipherSuite {
            common: CipherSuiteCommon {
                suite: suite.common.suite,
                hash_provider: suite.common.hash_provider,
                confidentiality_limit: suite.common.confidentiality_limit,
            },
            prf_provider: suite.prf_provider,
            kx: suite.kx,
            sign: suite.sign,
            aead_alg: Box::leak(Box::new(Twice(suite.aead_alg))),
        }
    });
    let cipher_suites = vec![TLS13_AES_256_GCM_SHA384, SupportedCipherSuite::Tls12(&TLS12)];
    Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() })
}

/// Makes each encrypter twice, since the secrets that TLS 1.2 logs do not suffice to derive its
/// keys.
struct Twice(&'static dyn Tls12AeadAlgorithm);

thread_local! {
    /// The second encrypter of this thread's last handshake.
    static SECOND: RefCell<Option<Box<dyn MessageEncrypter>>> = const { RefCell::new(None) };
}

impl Tls12AeadAlgorithm for Twice {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        let same: [u8; 32] = key.as_ref().try_into().unwrap();
        SECOND.set(Some(self.0.encrypter(AeadKey::from(same), iv, extra)));
        self.0.encrypter(key, iv, extra)
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        self.0.decrypter(key, iv)
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.0.key_block_shape()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv, explicit)
    }
}

fn suite() -> &'static Tls13CipherSuite {
    match TLS13_AES_256_GCM_SHA384 {
        SupportedCipherSuite::Tls13(suite) => suite,
        _ => unreachable!("it is one of TLS 1.3"),
    }
}

/// A key log that keeps one secret of a handshake of TLS 1.3.
#[derive(Debug)]
struct Log {
    label: &'static str,
    secret: Mutex<Vec<u8>>,
}

impl Log {
    fn new(label: &'static str) -> Log {
        Log { label, secret: Mutex::default() }
    }
}

impl KeyLog for Log {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if label == self.label {
            *self.secret.lock().unwrap() = secret.to_vec();
        }
    }
}

/// A connection after its handshake: the test makes the records to send, rustls reads those that
/// come.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    pub(super) sealer: Sealer,
    session: Connection,
}

impl Peer {
    fn shake(mut stream: TcpStream, mut session: Connection, log: &Log) -> Peer {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut stream).unwrap();
        }
        let sealer = match SECOND.take() {
            // The handshake's last message was its first record.
            Some(encrypter) => Sealer { secret: Vec::new(), encrypter, count: 1 },
            None => Sealer::new(log.secret.lock().unwrap().clone()),
        };
        Peer { stream, sealer, session }
    }

    /// Sends records in one call.
    pub(super) fn send(&mut self, records: &[Vec<u8>]) {
        self.stream.write_all(&records.concat()).unwrap();
    }

    /// Reads what the other end sends, up to its end or failure.
    pub(super) fn read_what_comes(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while self.session.read_tls(&mut self.stream).is_ok_and(|got| got > 0) {
            self.session.process_new_packets().unwrap();
            // No more for now, or an end without close_notify.
            let _ = self.session.reader().read_to_end(&mut all);
        }
        all
    }

    /// Reads `count` bytes of plaintext.
    pub(super) fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let mut got = vec![0; count];
        loop {
            match self.session.reader().read_exact(&mut got) {
                Ok(()) => return got,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error:?}"),
            }
            self.session.read_tls(&mut self.stream).unwrap();
            self.session.process_new_packets().unwrap();
        }
    }

    /// Reads what the other end sends, up to its close_notify.
    pub(super) fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match self.session.reader().read_to_end(&mut all) {
                Ok(_) => return all,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error:?}"),
            }
            self.session.read_tls(&mut self.stream).unwrap();
            self.session.process_new_packets().unwrap();
        }
    }
}

/// Seals records, one after the other.
pub(super) struct Sealer {
    /// The secret from which TLS 1.3 derives the next keys.
    secret: Vec<u8>,
    encrypter: Box<dyn MessageEncrypter>,
    count: u64,
}

impl Sealer {
    fn new(secret: Vec<u8>) -> Sealer {
        let (mut key, mut iv) = ([0; 32], [0; 12]);
        expand(&secret, b"key", &mut key);
        expand(&secret, b"iv", &mut iv);
        let encrypter = suite().aead_alg.encrypter(AeadKey::from(key), Iv::from(iv));
        Sealer { secret, encrypter, count: 0 }
    }

    fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let (version, payload) = (ProtocolVersion::TLSv1_2, OutboundChunks::Single(payload));
        let plain = OutboundPlainMessage { typ, version, payload };
        let sealed = self.encrypter.encrypt(plain, self.count).unwrap();
        self.count += 1;
        sealed.encode()
    }

    pub(super) fn data(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.record(ContentType::ApplicationData, bytes)
    }

    pub(super) fn close_notify(&mut self) -> Vec<u8> {
        self.record(ContentType::Alert, &[1, 0])
    }

    /// Makes a KeyUpdate, which changes the keys of this direction. TLS 1.2 has none.
    pub(super) fn key_update(&mut self) -> Vec<u8> {
        assert!(!self.secret.is_empty(), "TLS 1.3");
        let record = self.record(ContentType::Handshake, &[24, 0, 0, 1, 0]);
        let mut next = vec![0; self.secret.len()];
        expand(&self.secret, b"traffic upd", &mut next);
        *self = Sealer::new(next);
        record
    }

    /// Makes records without content that a server may send at any time: NewSessionTicket, or in
    /// TLS 1.2 a HelloRequest, which is refused, and an empty record.
    pub(super) fn late(&mut self) -> [Vec<u8>; 2] {
        if self.secret.is_empty() {
            [self.hello_request(), self.data(b"")]
        } else {
            [self.ticket(), self.ticket()]
        }
    }

    /// Makes an alert that does not end the connection: in TLS 1.2 a warning.
    pub(super) fn warning(&mut self) -> Vec<u8> {
        const NO_RENEGOTIATION: u8 = 100;
        self.record(ContentType::Alert, &[1, NO_RENEGOTIATION])
    }

    /// Makes a HelloRequest of TLS 1.2.
    pub(super) fn hello_request(&mut self) -> Vec<u8> {
        self.record(ContentType::Handshake, &HELLO_REQUEST)
    }

    /// Makes the first of [`Sealer::late`] in two records.
    pub(super) fn halves(&mut self) -> [Vec<u8>; 2] {
        let message = if self.secret.is_empty() { HELLO_REQUEST.to_vec() } else { ticket() };
        let (first, rest) = message.split_at(message.len() / 2);
        [first, rest].map(|half| self.record(ContentType::Handshake, half))
    }

    /// Makes a NewSessionTicket of TLS 1.3.
    pub(super) fn ticket(&mut self) -> Vec<u8> {
        self.record(ContentType::Handshake, &ticket())
    }
}

/// HelloRequest of RFC 5246, 7.4.1.1.
const HELLO_REQUEST: [u8; 4] = [0; 4];

/// NewSessionTicket of RFC 8446, 4.6.1.
fn ticket() -> Vec<u8> {
    let mut body = vec![0, 0, 0x1c, 0x20, 1, 2, 3, 4, 1, 0, 0, 32];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0]);
    let mut message = vec![4, 0, 0, body.len() as u8];
    message.extend_from_slice(&body);
    message
}

/// Makes a record that cannot be decrypted.
pub(super) fn broken() -> Vec<u8> {
    let mut record = vec![7; 37];
    record[..5].copy_from_slice(&[23, 3, 3, 0, 32]);
    record
}

/// Does HKDF-Expand-Label of RFC 8446, 7.1, with an empty context.
fn expand(secret: &[u8], label: &[u8], to: &mut [u8]) {
    let expander = suite().hkdf_provider.expander_for_okm(&OkmBlock::new(secret));
    let length = (to.len() as u16).to_be_bytes();
    let label_length = [b"tls13 ".len() as u8 + label.len() as u8];
    expander.expand_slice(&[&length, &label_length, b"tls13 ", label, &[0]], to).unwrap();
}
