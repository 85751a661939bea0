//! Both ends of TLS connections in one thread, by each subject, for the group `tls`.

mod asyncoro;
mod blocking;
mod ends;
mod tokio;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use ::asyncoro::coro::Scheduler;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use self::ends::Ends;
use crate::subject::tokio::Tokio;

/// A subject with a TLS connection of its own.
pub(crate) trait Secured {
    /// Sends `bytes` there and back, a number of times.
    fn ping_pong(&mut self, times: usize, bytes: usize);
    /// Sends 16 messages of 100 bytes there and back, a number of times; if `gathered`, in one
    /// write.
    fn messages(&mut self, times: usize, gathered: bool);
    /// Sends a number of records of 16 KiB in one direction.
    fn bulk(&mut self, records: usize);
    /// Makes a number of connections, each with its handshake; if `resumed`, with a ticket of the
    /// previous one.
    fn handshakes(&mut self, times: usize, resumed: bool);
    /// Makes a number of idle connections and keeps both ends of each.
    fn keep(&mut self, connections: usize);
}

/// The certificate of this run, for `localhost`.
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Identity {
    pub(crate) fn new() -> Identity {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.expect("a certificate can be made");
        Identity { chain: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    /// Returns rustls's configurations, for subjects that use it directly.
    pub(crate) fn server(&self) -> Arc<rustls::ServerConfig> {
        let chain = CertificateDer::from_pem_slice(self.chain.as_bytes()).expect("it is ours");
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("it is ours");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().expect("ring has them");
        let config = builder.with_no_client_auth().with_single_cert(vec![chain], key);
        let mut config = config.expect("the key fits");
        config.ticketer = rustls::crypto::ring::Ticketer::new().expect("there is randomness");
        Arc::new(config)
    }

    pub(crate) fn client(&self, resumption: bool) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        let chain = CertificateDer::from_pem_slice(self.chain.as_bytes()).expect("it is ours");
        roots.add(chain).expect("a root like any other");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().expect("ring has them");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        if !resumption {
            config.resumption = rustls::client::Resumption::disabled();
        }
        Arc::new(config)
    }
}

/// The subjects, the yardstick first and asyncoro last.
pub(crate) fn subjects(identity: &Identity) -> Vec<(&'static str, Box<dyn Secured>)> {
    vec![
        ("rustls, blocking", Box::new(blocking::Blocking::new(identity))),
        ("tokio-rustls", Box::new(Ends::<Tokio>::new(identity))),
        ("asyncoro", Box::new(Ends::<Scheduler>::new(identity))),
    ]
}

/// Makes both ends of a connection, still without TLS.
fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let near = TcpStream::connect(listener.local_addr().expect("it is bound"));
    let (near, far) = (near.expect("it listens"), listener.accept().expect("it has connected").0);
    for socket in [&near, &far] {
        socket.set_nodelay(true).expect("an option of TCP");
    }
    (near, far)
}

/// How many messages are in flight, and the bytes of each.
pub(crate) const IN_FLIGHT: usize = 16;
const MESSAGE: [u8; 100] = [b'm'; 100];
const RECORD: [u8; 16 << 10] = [b'r'; 16 << 10];
