//! Tests of loading, choosing and reloading; those in `tests/handshakes.rs` connect both ends in
//! memory.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::*;

mod fuzzing;
mod handshakes;

/// A certificate and its key, as PEM.
struct Made {
    chain: String,
    key: String,
}

impl Made {
    fn both(&self) -> String {
        format!("{}{}", self.key, self.chain)
    }

    fn server(&self) -> ServerTls {
        Tls::server_from_pem(self.chain.as_bytes(), self.key.as_bytes()).unwrap()
    }
}

/// Each with its own subject, since issuers are found by it.
fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, format!("subject {}", number()));
    params
}

/// Returns another number with each call.
fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn self_signed(params: &CertificateParams) -> Made {
    let key = KeyPair::generate().unwrap();
    Made { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// Makes a certificate as `openssl req -x509` does: self-signed, and an authority.
fn usual(name: &str) -> CertificateParams {
    let mut usual = params(&[name]);
    usual.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    usual
}

/// A certificate authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, names: &[&str]) -> Made {
        self.sign(&params(names))
    }

    fn sign(&self, params: &CertificateParams) -> Made {
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Made { chain, key: key.serialize_pem() }
    }
}

/// A directory that is removed at the end of the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        let path =
            std::env::temp_dir().join(format!("asyncoro-tls-{}-{}", std::process::id(), number()));
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn assert_says<T>(result: io::Result<T>, kind: io::ErrorKind, words: &[&str]) {
    let Err(error) = result else { panic!("it went well") };
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text:?}");
    }
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn chain_and_key_are_read_from_two_files_or_from_one() {
    let directory = Directory::new();
    let made = self_signed(&params(&["localhost"]));
    let chain = directory.write("chain.pem", &made.chain);
    let key = directory.write("key.pem", &made.key);
    let both = directory.write("both.pem", &made.both());
    Tls::server(&chain, &key).unwrap();
    Tls::server(&both, &both).unwrap();
    Tls::client().unwrap().certificate(&both, &both).unwrap();
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_systems_error() {
    let directory = Directory::new();
    let both = directory.write("both.pem", &self_signed(&params(&["localhost"])).both());
    let absent = directory.0.join("absent.pem");
    let not_found = io::ErrorKind::NotFound;
    assert_says(Tls::server(&absent, &both), not_found, &["Tls::server", "absent.pem"]);
    assert_says(Tls::server(&both, &absent), not_found, &["Tls::server", "absent.pem"]);
    let client = Tls::client().unwrap();
    assert_says(client.ca_file(&absent), not_found, &["ClientTls::ca_file", "absent.pem"]);
    let error = Tls::server(&directory.0, &both).unwrap_err();
    assert_eq!(crate::error::os_code(&error), Some(libc::EISDIR));
}

#[test]
fn contents_that_are_no_certificate_or_key_are_named_with_what_is_there() {
    let directory = Directory::new();
    let made = self_signed(&params(&["localhost"]));
    let chain = directory.write("chain.pem", &made.chain);
    let key = directory.write("key.pem", &made.key);
    let invalid = io::ErrorKind::InvalidData;
    let said = ["key.pem", "no certificate", "it holds PRIVATE KEY"];
    assert_says(Tls::server(&key, &key), invalid, &said);
    let said = ["chain.pem", "no private key", "it holds CERTIFICATE"];
    assert_says(Tls::server(&chain, &chain), invalid, &said);
    for (text, said) in [
        ("", "it is empty"),
        ("no PEM at all\n", "it is not PEM"),
        ("0\u{1}", "DER"),
        ("-----BEGIN CERTIFICATE-----\nTUlJ\n", "ends the section CERTIFICATE"),
        ("-----BEGIN CERTIFICATE-----\n#?\n-----END CERTIFICATE-----\n", "not base64"),
        ("-----BEGIN CERTIFICATE---\n", "cannot begin"),
        ("-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n", "bad.pem"),
    ] {
        let bad = directory.write("bad.pem", text);
        assert_says(Tls::server(&bad, &key), invalid, &["bad.pem", said]);
        assert_says(Tls::client().unwrap().ca_file(&bad), invalid, &["bad.pem", said]);
    }
    let garbage = "-----BEGIN PRIVATE KEY-----\nTUlJ\n-----END PRIVATE KEY-----\n";
    let bad = directory.write("garbage.pem", garbage);
    assert_says(Tls::server(&chain, &bad), invalid, &["garbage.pem", "private key"]);
}

#[test]
fn an_encrypted_key_is_refused_with_advice() {
    let made = self_signed(&params(&["localhost"]));
    let pkcs8 =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
    for key in [pkcs8, old] {
        let result = Tls::server_from_pem(made.chain.as_bytes(), key.as_bytes());
        assert_says(result, io::ErrorKind::InvalidData, &["encrypted", "openssl pkey"]);
    }
}

#[test]
fn a_key_that_does_not_fit_is_an_error_that_names_both_files() {
    let directory = Directory::new();
    let chain = directory.write("mine.pem", &self_signed(&params(&["localhost"])).chain);
    let key = directory.write("other.key", &self_signed(&params(&["localhost"])).key);
    let said = [name(&chain), name(&key), "the key is not that of the first certificate"];
    let invalid = io::ErrorKind::InvalidData;
    assert_says(Tls::server(&chain, &key), invalid, &said);
    assert_says(Tls::client().unwrap().certificate(&chain, &key), invalid, &said);
    let fitting = self_signed(&params(&["localhost"])).server();
    assert_says(fitting.and_certificate(&chain, &key), invalid, &said);
}

#[test]
fn own_certificates_that_have_expired_are_loaded() {
    let mut old = params(&["localhost"]);
    old.not_after = date_time_ymd(2001, 1, 1);
    self_signed(&old).server();
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let server = self_signed(&params(&["localhost"])).server();
    let client = || Tls::client().unwrap().danger_accept_any_certificate();
    let invalid = io::ErrorKind::InvalidInput;
    assert_says(server.clone().versions(&[]), invalid, &["TLSv1.2 and TLSv1.3"]);
    assert_says(client().versions(&[]), invalid, &["TLSv1.2 and TLSv1.3"]);
    assert_says(client().server_name("two words"), invalid, &["two words", "neither"]);
    client().server_name("::1").unwrap();
    for bad in [String::new(), "x".repeat(256)] {
        let tls = Tls::from(client().alpn([&bad]));
        assert_says(tls.client_config(), invalid, &["ALPN", &bad.len().to_string()]);
        let tls = Tls::from(server.clone().alpn([&bad]));
        assert_says(tls.server_config(), invalid, &["ALPN"]);
    }
    assert_says(Tls::from(client()).server_config(), invalid, &["Tls::server"]);
    assert_says(Tls::from(server).client_config(), invalid, &["Tls::client"]);
}

#[test]
fn clones_share_what_rustls_is_given_and_changes_begin_anew() {
    let server = self_signed(&params(&["localhost"])).server();
    let config = |server: &ServerTls| Tls::from(server).server_config().unwrap();
    assert!(Arc::ptr_eq(&config(&server), &config(&server.clone())));
    let changed = server.clone().session_tickets(4);
    assert!(!Arc::ptr_eq(&config(&server), &config(&changed)));
    assert_eq!(config(&changed).send_tls13_tickets, 4);

    let client = Tls::client().unwrap().danger_accept_any_certificate();
    let config = |client: &ClientTls| Tls::from(client).client_config().unwrap();
    assert!(Arc::ptr_eq(&config(&client), &config(&client.clone())));
    assert!(!Arc::ptr_eq(&config(&client), &config(&client.clone().alpn(["h2"]))));
}

#[test]
fn sockets_are_told_deadline_number_and_name() {
    let server = self_signed(&params(&["localhost"])).server();
    let tls = Tls::from(&server);
    let seen = (tls.is_server(), tls.handshake_timeout(), tls.handshakes());
    assert_eq!(seen, (true, Duration::from_secs(10), 256));
    assert_eq!(tls.name(), None);
    let tls = Tls::from(server.handshakes(0).handshake_timeout(Duration::from_secs(1)));
    assert_eq!((tls.handshake_timeout(), tls.handshakes()), (Duration::from_secs(1), 1));

    let client = Tls::client().unwrap();
    assert_eq!(Tls::from(&client).handshake_timeout(), Duration::from_secs(10));
    let tls = Tls::from(client.server_name("example.org").unwrap());
    assert!(!tls.is_server());
    assert_eq!(tls.name().unwrap().to_str(), "example.org");
    assert!(format!("{tls:?}").contains("example.org"));
}

#[test]
fn configurations_go_to_any_thread() {
    fn any_thread<T: Send + Sync>() {}
    any_thread::<ServerTls>();
    any_thread::<ClientTls>();
    any_thread::<Tls>();
}
