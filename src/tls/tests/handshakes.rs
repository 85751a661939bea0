//! Tests of what each configuration accepts and refuses, with both ends in one thread.

use rustls::{
    CertificateError, ClientConnection, Error, HandshakeKind, ProtocolVersion, ServerConnection,
    pki_types::CertificateDer,
};

use super::*;

/// Both ends after their handshake.
struct Pair {
    client: ClientConnection,
    server: ServerConnection,
}

impl Pair {
    /// The certificate that the server showed.
    fn shown(&self) -> CertificateDer<'static> {
        self.client.peer_certificates().unwrap()[0].clone()
    }

    fn resumed(&self) -> bool {
        self.server.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

/// Does the handshake until neither end has more to send; fails with the first error of either end.
fn shake(client: &ClientTls, server: &ServerTls, name: &str) -> Result<Pair, Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let config = Tls::from(client).client_config().unwrap();
    let mut client = ClientConnection::new(config, name).unwrap();
    let mut server = ServerConnection::new(Tls::from(server).server_config().unwrap()).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Pair { client, server })
}

fn trusting(pem: &str) -> ClientTls {
    Tls::client().unwrap().ca_from_pem(pem.as_bytes()).unwrap()
}

fn refused(client: &ClientTls, server: &ServerTls, name: &str) -> CertificateError {
    match shake(client, server, name) {
        Err(Error::InvalidCertificate(reason)) => reason,
        Err(error) => panic!("refused for something else: {error}"),
        Ok(_) => panic!("accepted"),
    }
}

fn der(made: &Made) -> CertificateDer<'static> {
    super::pem::certificates(made.chain.as_bytes()).unwrap().remove(0)
}

#[test]
fn a_server_is_accepted_by_its_authority_and_its_name() {
    let authority = Authority::new();
    let server = authority.issue(&["example.org", "127.0.0.1"]).server();
    let client = trusting(&authority.pem);
    let pair = shake(&client, &server, "example.org").unwrap();
    assert_eq!(pair.client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    shake(&client, &server, "127.0.0.1").unwrap();

    let said = refused(&client, &server, "example.net");
    assert!(matches!(said, CertificateError::NotValidForNameContext { .. }), "{said:?}");
    let said = refused(&trusting(&Authority::new().pem), &server, "example.org");
    assert_eq!(said, CertificateError::UnknownIssuer);
    // Several authorities add up, too.
    let both = trusting(&Authority::new().pem).ca_from_pem(authority.pem.as_bytes()).unwrap();
    shake(&both, &server, "example.org").unwrap();
}

/// The system's roots are read once per process and found through its environment, so each case
/// runs this test in a process of its own, with `SHOW` set.
#[test]
fn the_systems_roots_are_trusted_if_none_are_given_and_as_well_if_wanted() {
    const SHOW: &str = "ASYNCORO_TEST_TLS_ROOTS";
    const TEST: &str = "the_systems_roots_are_trusted_if_none_are_given_and_as_well_if_wanted";
    if let Ok(directory) = std::env::var(SHOW) {
        return with_these_roots(Path::new(&directory));
    }
    let (directory, authority) = (Directory::new(), Authority::new());
    directory.write("empty.pem", "");
    directory.write("ca.pem", &authority.pem);
    directory.write("server.pem", &authority.issue(&["example.org"]).both());
    for roots in ["empty.pem", "ca.pem"] {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("tls::tests::handshakes::{TEST}")])
            .env(SHOW, &directory.0)
            .env("SSL_CERT_FILE", directory.0.join(roots))
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{roots}: {output}");
    }
}

fn with_these_roots(directory: &Path) {
    let server = directory.join("server.pem");
    let server = Tls::server(&server, &server).unwrap();
    let client = Tls::client().unwrap();
    let other = trusting(&Authority::new().pem);
    if std::env::var("SSL_CERT_FILE").unwrap().ends_with("empty.pem") {
        let said = ["no root certificates", "ca-certificates", "ClientTls::ca_file"];
        for client in [client, other.system_roots()] {
            assert_says(Tls::from(client).client_config(), io::ErrorKind::NotFound, &said);
        }
        return;
    }
    shake(&client, &server, "example.org").unwrap();
    assert_eq!(refused(&other, &server, "example.org"), CertificateError::UnknownIssuer);
    shake(&other.system_roots(), &server, "example.org").unwrap();
}

#[test]
fn a_certificate_outside_of_its_dates_is_refused() {
    let authority = Authority::new();
    let client = trusting(&authority.pem);
    let mut old = params(&["example.org"]);
    old.not_after = date_time_ymd(2001, 1, 1);
    let said = refused(&client, &authority.sign(&old).server(), "example.org");
    assert!(matches!(said, CertificateError::ExpiredContext { .. }), "{said:?}");
    let mut young = params(&["example.org"]);
    young.not_before = date_time_ymd(4000, 1, 1);
    let said = refused(&client, &authority.sign(&young).server(), "example.org");
    assert!(matches!(said, CertificateError::NotValidYetContext { .. }), "{said:?}");
}

#[test]
fn a_pinned_certificate_is_accepted_for_any_name() {
    for made in [self_signed(&usual("old.example.org")), self_signed(&params(&["a.example"]))] {
        let server = made.server();
        for versions in [[TlsVersion::V1_2], [TlsVersion::V1_3]] {
            let client = trusting(&made.chain).versions(&versions).unwrap();
            shake(&client, &server, "10.0.0.1").unwrap();
            shake(&client, &server, "elsewhere.example").unwrap();
        }
    }
}

#[test]
fn a_certificate_is_pinned_by_its_bytes_not_by_its_key_or_names() {
    let params = usual("example.org");
    let key = KeyPair::generate().unwrap();
    let pinned = params.self_signed(&key).unwrap().pem();
    let mut again = params.clone();
    again.serial_number = Some(7.into());
    let renewed = Made { chain: again.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
    let result = shake(&trusting(&pinned), &renewed.server(), "example.org");
    assert!(matches!(result, Err(Error::InvalidCertificate(_))));
}

#[test]
fn the_dates_of_a_pinned_certificate_are_checked() {
    let mut old = usual("example.org");
    old.not_after = date_time_ymd(2001, 1, 1);
    let made = self_signed(&old);
    let said = refused(&trusting(&made.chain), &made.server(), "example.org");
    assert!(matches!(said, CertificateError::ExpiredContext { .. }), "{said:?}");
    let mut young = usual("example.org");
    young.not_before = date_time_ymd(4000, 1, 1);
    let made = self_signed(&young);
    let said = refused(&trusting(&made.chain), &made.server(), "example.org");
    assert!(matches!(said, CertificateError::NotValidYetContext { .. }), "{said:?}");
}

#[test]
fn a_self_signed_certificate_that_was_not_given_has_an_unknown_issuer() {
    let client = trusting(&Authority::new().pem);
    for made in [self_signed(&usual("example.org")), self_signed(&params(&["example.org"]))] {
        let said = refused(&client, &made.server(), "example.org");
        assert_eq!(said, CertificateError::UnknownIssuer);
    }
}

#[test]
fn only_danger_accepts_any_certificate() {
    let mut old = usual("example.org");
    old.not_after = date_time_ymd(2001, 1, 1);
    let server = self_signed(&old).server();
    let reckless = Tls::client().unwrap().danger_accept_any_certificate();
    for versions in [[TlsVersion::V1_2], [TlsVersion::V1_3]] {
        let client = reckless.clone().versions(&versions).unwrap();
        shake(&client, &server, "elsewhere.example").unwrap();
    }
}

/// A certificate with the key of another, which no configuration of this crate can have.
#[derive(Debug)]
struct Thief(Arc<rustls::sign::CertifiedKey>);

impl rustls::server::ResolvesServerCert for Thief {
    fn resolve(
        &self,
        _: rustls::server::ClientHello<'_>,
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[test]
fn a_server_without_the_key_of_its_certificate_is_refused_pinned_or_with_danger() {
    let (shown, own) = (self_signed(&usual("example.org")), self_signed(&usual("example.org")));
    let key = super::pem::key(own.key.as_bytes()).unwrap();
    let key = provider::provider().key_provider.load_private_key(key).unwrap();
    let stolen = Arc::new(rustls::sign::CertifiedKey::new(vec![der(&shown)], key));
    let reckless = Tls::client().unwrap().danger_accept_any_certificate();
    for client in [trusting(&shown.chain), reckless] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let config = rustls::ServerConfig::builder_with_provider(provider::provider())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(Thief(stolen.clone())));
            let mut server = ServerConnection::new(Arc::new(config)).unwrap();
            let name = ServerName::try_from("example.org").unwrap();
            let config = Tls::from(&client).client_config().unwrap();
            let mut client = ClientConnection::new(config, name).unwrap();
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            client.read_tls(&mut wire.as_slice()).unwrap();
            let error = client.process_new_packets().unwrap_err();
            assert_eq!(error, Error::InvalidCertificate(CertificateError::BadSignature));
        }
    }
}

#[test]
fn client_certificates_are_required_accepted_or_not_asked_for() {
    let (authority, others) = (Authority::new(), Authority::new());
    let server = authority.issue(&["example.org"]).server();
    let required =
        server.clone().require_client_certificates_from_pem(authority.pem.as_bytes()).unwrap();
    let optional =
        server.clone().accept_client_certificates_from_pem(authority.pem.as_bytes()).unwrap();
    let with = |made: &Made| {
        let (chain, key) = (made.chain.as_bytes(), made.key.as_bytes());
        trusting(&authority.pem).certificate_from_pem(chain, key).unwrap()
    };
    let shows = |client: &ClientTls, server: &ServerTls| {
        let pair = shake(client, server, "example.org")?;
        Ok::<_, Error>(pair.server.peer_certificates().map(|chain| chain[0].clone()))
    };
    let (none, good) = (trusting(&authority.pem), authority.issue(&["a client"]));
    // rustls shows a certificate only if the server names its issuer or, as here, names none.
    let bad = others.issue(&["a client"]);
    assert_eq!(shows(&none, &required), Err(Error::NoCertificatesPresented));
    assert_eq!(shows(&none, &optional), Ok(None));
    assert_eq!(shows(&with(&good), &required), Ok(Some(der(&good))));
    assert_eq!(shows(&with(&good), &optional), Ok(Some(der(&good))));
    assert_eq!(shows(&with(&good), &server), Ok(None));
    for asking in [&required, &optional] {
        let error = shows(&with(&bad), asking).unwrap_err();
        assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
    }
    let both = required.accept_client_certificates_from_pem(others.pem.as_bytes()).unwrap();
    assert_eq!(shows(&none, &both), Ok(None));
    assert_eq!(shows(&with(&good), &both), Ok(Some(der(&good))));
    assert_eq!(shows(&with(&bad), &both), Ok(Some(der(&bad))));
}

#[test]
fn the_certificate_is_chosen_by_name_and_the_first_is_for_the_rest() {
    let authority = Authority::new();
    let first = authority.issue(&["first.example", "192.0.2.1"]);
    let wildcard = authority.issue(&["*.example.org"]);
    let exact = authority.issue(&["Exact.Example.org"]);
    let and = |server: ServerTls, made: &Made| {
        server.and_certificate_from_pem(made.chain.as_bytes(), made.key.as_bytes()).unwrap()
    };
    let server = and(and(first.server(), &wildcard), &exact);
    // It accepts any certificate: the test is about which one is shown.
    let client = Tls::client().unwrap().danger_accept_any_certificate();
    for (name, made) in [
        ("first.example", &first),
        ("exact.example.org", &exact),
        ("EXACT.example.ORG", &exact),
        ("any.example.org", &wildcard),
        ("two.labels.example.org", &first),
        ("example.org", &first),
        ("unknown.example", &first),
        ("192.0.2.1", &first), // no name is sent for an address
    ] {
        assert_eq!(shake(&client, &server, name).unwrap().shown(), der(made), "{name}");
    }
}

#[test]
fn a_reload_is_for_all_clones_and_for_what_was_built_before() {
    let (authority, directory) = (Authority::new(), Directory::new());
    let (old, new) = (authority.issue(&["example.org"]), authority.issue(&["example.org"]));
    let path = directory.write("both.pem", &old.both());
    let server = Tls::server(&path, &path).unwrap();
    let clone = server.clone();
    let client = trusting(&authority.pem).session_resumption(false);
    assert_eq!(shake(&client, &clone, "example.org").unwrap().shown(), der(&old));
    let before = Tls::from(&clone).server_config().unwrap();

    directory.write("both.pem", &new.both());
    assert_eq!(shake(&client, &clone, "example.org").unwrap().shown(), der(&old));
    server.reload().unwrap();
    assert_eq!(shake(&client, &clone, "example.org").unwrap().shown(), der(&new));
    assert!(Arc::ptr_eq(&before, &Tls::from(&clone).server_config().unwrap()));

    server.reload_from_pem(old.chain.as_bytes(), old.key.as_bytes()).unwrap();
    assert_eq!(shake(&client, &clone, "example.org").unwrap().shown(), der(&old));
    server.reload().unwrap();
    assert_eq!(shake(&client, &clone, "example.org").unwrap().shown(), der(&old));
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    let (authority, directory) = (Authority::new(), Directory::new());
    let made: Vec<_> = (0..4).map(|_| authority.issue(&["a.example"])).collect();
    let first = directory.write("first.pem", &made[0].both());
    let second = directory.write("second.pem", &authority.issue(&["b.example"]).both());
    let server = Tls::server(&first, &first).unwrap().and_certificate(&second, &second).unwrap();
    let client = trusting(&authority.pem).session_resumption(false);
    let shown = || shake(&client, &server, "a.example").unwrap().shown();

    directory.write("first.pem", &made[1].both());
    directory.write("second.pem", &made[2].chain);
    let said = ["ServerTls::reload", "second.pem", "no private key"];
    assert_says(server.reload(), io::ErrorKind::InvalidData, &said);
    assert_eq!(shown(), der(&made[0]));
    fs::remove_file(&second).unwrap();
    assert_says(server.reload(), io::ErrorKind::NotFound, &["second.pem"]);
    assert_eq!(shown(), der(&made[0]));
    let mixed = server.reload_from_pem(made[2].chain.as_bytes(), made[3].key.as_bytes());
    assert_says(mixed, io::ErrorKind::InvalidData, &["the key is not that of"]);
    assert_eq!(shown(), der(&made[0]));

    directory.write("second.pem", &authority.issue(&["b.example"]).both());
    server.reload().unwrap();
    assert_eq!(shown(), der(&made[1]));
}

#[test]
fn a_client_whose_authority_went_with_a_reload_resumes_nothing() {
    let (authority, directory) = (Authority::new(), Directory::new());
    let ca = directory.write("ca.pem", &authority.pem);
    let server = authority.issue(&["example.org"]).server();
    let server = server.require_client_certificates(&ca).unwrap();
    let made = authority.issue(&["a client"]);
    let client = trusting(&authority.pem);
    let client = client.certificate_from_pem(made.chain.as_bytes(), made.key.as_bytes()).unwrap();
    assert!(!shake(&client, &server, "example.org").unwrap().resumed());
    assert!(shake(&client, &server, "example.org").unwrap().resumed());
    server.reload().unwrap(); // the same authority
    assert!(shake(&client, &server, "example.org").unwrap().resumed());

    directory.write("ca.pem", &Authority::new().pem);
    server.reload().unwrap();
    let error = shake(&client, &server, "example.org").err().unwrap();
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
}

#[test]
fn sessions_are_resumed_unless_either_end_does_not_want_to() {
    let authority = Authority::new();
    let server = authority.issue(&["example.org"]).server();
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let client = || trusting(&authority.pem).versions(&[version]).unwrap();
        let second = |client: ClientTls, server: &ServerTls| {
            shake(&client, server, "example.org").unwrap();
            shake(&client.clone(), &server.clone(), "example.org").unwrap().resumed()
        };
        assert!(second(client(), &server), "{version}");
        assert!(!second(client().session_resumption(false), &server), "{version}");
        assert!(!second(client(), &server.clone().session_tickets(0)), "{version}");
    }
}

#[test]
fn protocols_and_versions_are_agreed_upon_or_the_handshake_fails() {
    let authority = Authority::new();
    let server = authority.issue(&["example.org"]).server().alpn(["h2", "http/1.1"]);
    let client = trusting(&authority.pem);
    let pair = shake(&client.clone().alpn(["http/1.1"]), &server, "example.org").unwrap();
    assert_eq!(pair.client.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(pair.server.alpn_protocol(), Some(&b"http/1.1"[..]));
    let pair = shake(&client, &server, "example.org").unwrap();
    assert_eq!(pair.server.alpn_protocol(), None);
    let error = shake(&client.clone().alpn(["smtp"]), &server, "example.org").err().unwrap();
    assert_eq!(error, Error::NoApplicationProtocol);

    let old = client.versions(&[TlsVersion::V1_2]).unwrap();
    let pair = shake(&old, &server, "example.org").unwrap();
    assert_eq!(pair.client.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    let new = server.versions(&[TlsVersion::V1_3]).unwrap();
    assert!(matches!(shake(&old, &new, "example.org").err(), Some(Error::PeerIncompatible(_))));
}
