//! Certificates that must not be accepted, and the errors at both ends.

use std::{
    io::{self, ErrorKind},
    thread,
};

use asyncoro::{AsyncSocket, BlockingSocket, ClientTls, ServerTls, coro};
use rcgen::{BasicConstraints, IsCa, date_time_ymd};
use rustls::{AlertDescription, CertificateError, Error};

use super::{
    ask, ask_blocking,
    certificates::{Authority, Made, inside, params},
    each_version, echo, echo_blocking, listening, listening_blocking, run_each_version,
};

/// A server that a client must refuse, and the reason.
struct Case {
    what: &'static str,
    server: ServerTls,
    client: ClientTls,
    reason: &'static str,
    is_reason: fn(&CertificateError) -> bool,
}

fn cases() -> Vec<Case> {
    let authority = Authority::new();
    let case = |what, made: &Made, reason, is_reason| {
        let (server, client) = (made.server(), authority.client());
        Case { what, server, client, reason, is_reason }
    };

    let mut expired = params("localhost");
    expired.not_after = date_time_ymd(2001, 1, 1);
    let mut early = params("localhost");
    early.not_before = date_time_ymd(2900, 1, 1);
    early.not_after = date_time_ymd(2901, 1, 1);
    let mut usual = params("localhost");
    usual.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut pinned = params("localhost");
    pinned.not_after = date_time_ymd(2001, 1, 1);
    let pinned = Made::self_signed(&pinned);
    let (server, client) = super::both(&pinned.chain, &pinned.key);

    vec![
        case("expired", &authority.sign(&expired), "expired", is_expired),
        Case { what: "pinned, expired", server, client, reason: "expired", is_reason: is_expired },
        case("not yet valid", &authority.sign(&early), "not valid yet", |reason| {
            use CertificateError::{NotValidYet, NotValidYetContext};
            matches!(reason, NotValidYet | NotValidYetContext { .. })
        }),
        case("of another", &authority.issue("example.org"), "example.org", |reason| {
            use CertificateError::{NotValidForName, NotValidForNameContext};
            matches!(reason, NotValidForName | NotValidForNameContext { .. })
        }),
        case("unknown CA", &Authority::new().issue("localhost"), "UnknownIssuer", is_unknown),
        case("self-signed", &Made::self_signed(&usual), "UnknownIssuer", is_unknown),
    ]
}

fn is_expired(reason: &CertificateError) -> bool {
    matches!(reason, CertificateError::Expired | CertificateError::ExpiredContext { .. })
}

fn is_unknown(reason: &CertificateError) -> bool {
    matches!(reason, CertificateError::UnknownIssuer)
}

impl Case {
    #[track_caller]
    fn judge<T>(&self, result: io::Result<T>, port: u16) {
        let Err(error) = result else { panic!("{}: accepted", self.what) };
        let (what, text) = (self.what, error.to_string());
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{what}: {error:?}");
        assert!(text.contains(&format!("localhost:{port}")), "{what}: {text}");
        assert!(text.contains(self.reason), "{what}: {text}");
        let Error::InvalidCertificate(reason) = inside(&error) else { panic!("{what}: {error:?}") };
        assert!((self.is_reason)(reason), "{what}: {reason:?}");
    }
}

#[test]
fn a_server_that_cannot_prove_who_it_is_is_refused_by_clients_of_both_faces() {
    run_each_version(async |version| {
        for case in cases() {
            let (listener, port) = listening(&case.server).await;
            let client = case.client.clone().versions(&[version]).unwrap();
            let serving = coro::spawn(async move {
                echo(&listener.accept().await?.0).await?;
                io::Result::Ok(listener.failed_handshakes())
            });
            let tried = AsyncSocket::create_tls_connection(("localhost", port), &client).await;
            case.judge(tried, port);
            let blocking = client.clone();
            let tried = thread::spawn(move || {
                BlockingSocket::create_tls_connection(("localhost", port), &blocking)
            });
            case.judge(joined(tried).await, port);
            // The listener goes on, and a client that looks away is served.
            let reckless = client.danger_accept_any_certificate();
            let socket = AsyncSocket::create_tls_connection(("localhost", port), &reckless).await;
            ask(&socket.unwrap()).await;
            assert_eq!(serving.await.unwrap().unwrap(), 2, "{}", case.what);
        }
    });
}

/// Waits for a thread without stopping the other coroutines.
async fn joined<T>(thread: thread::JoinHandle<T>) -> T {
    while !thread.is_finished() {
        asyncoro::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    thread.join().unwrap()
}

#[test]
fn a_blocking_listeners_connection_is_told_why_its_client_has_left_in_each_verb() {
    each_version(|version| {
        for case in cases() {
            let (listener, port) = listening_blocking(&case.server);
            let client = case.client.clone().versions(&[version]).unwrap();
            let serving = thread::spawn(move || {
                let (socket, _) = listener.accept().unwrap();
                let first = socket.recv(&mut [0; 10]).unwrap_err();
                for error in [first, socket.send(b"x").unwrap_err()] {
                    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
                    assert!(matches!(inside(&error), Error::AlertReceived(_)), "{error:?}");
                }
                echo_blocking(&listener.accept().unwrap().0).unwrap();
            });
            let tried = BlockingSocket::create_tls_connection(("localhost", port), &client);
            case.judge(tried, port);
            let reckless = client.danger_accept_any_certificate();
            let socket = BlockingSocket::create_tls_connection(("localhost", port), &reckless);
            ask_blocking(&socket.unwrap());
            serving.join().unwrap();
        }
    });
}

/// Makes a server that requires client certificates, and clients without a valid one.
fn strangers() -> (ServerTls, ClientTls, Vec<(ClientTls, AlertDescription)>) {
    let authority = Authority::new();
    let server = authority.issue("localhost").server();
    let server = server.require_client_certificates_from_pem(authority.pem.as_bytes()).unwrap();
    let good = authority.issue("somebody").shown_by(authority.client());
    let mut old = params("somebody");
    old.not_after = date_time_ymd(2001, 1, 1);
    let bad = vec![
        (authority.client(), AlertDescription::CertificateRequired),
        (authority.sign(&old).shown_by(authority.client()), AlertDescription::CertificateExpired),
        (
            Authority::new().issue("somebody").shown_by(authority.client()),
            AlertDescription::UnknownCA,
        ),
    ];
    (server, good, bad)
}

#[track_caller]
fn assert_refused(error: &io::Error, alert: AlertDescription) {
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
    assert_eq!(inside(error), &Error::AlertReceived(alert));
}

#[test]
fn a_client_without_the_certificate_that_is_required_never_comes_out_of_accept() {
    run_each_version(async |version| {
        let (server, good, bad) = strangers();
        let (listener, port) = listening(&server).await;
        let serving = coro::spawn(async move {
            let (socket, _) = listener.accept().await?;
            assert_eq!(socket.peer_certificates().len(), 1);
            echo(&socket).await?;
            io::Result::Ok(listener.failed_handshakes())
        });
        for (client, alert) in bad {
            let client = client.versions(&[version]).unwrap();
            let tried = AsyncSocket::create_tls_connection(("localhost", port), &client).await;
            // In TLS 1.3 the client is done before the server has looked at it.
            let error = match tried {
                Ok(socket) => socket.recv_msg().await.unwrap_err(),
                Err(error) => error,
            };
            assert_refused(&error, alert);
        }
        let good = good.versions(&[version]).unwrap();
        let socket = AsyncSocket::create_tls_connection(("localhost", port), &good).await;
        ask(&socket.unwrap()).await;
        assert_eq!(serving.await.unwrap().unwrap(), 3);
    });
}

#[test]
fn a_blocking_connection_whose_client_lacks_a_certificate_fails_in_each_verb() {
    each_version(|version| {
        let (server, good, bad) = strangers();
        let (listener, port) = listening_blocking(&server);
        let count = bad.len();
        let serving = thread::spawn(move || {
            for _ in 0..count {
                let (socket, _) = listener.accept().unwrap();
                let first = socket.recv_msg().unwrap_err();
                for error in [first, socket.send_msg(b"x").unwrap_err()] {
                    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
                    inside(&error);
                }
            }
            echo_blocking(&listener.accept().unwrap().0).unwrap();
        });
        for (client, alert) in bad {
            let client = client.versions(&[version]).unwrap();
            let tried = BlockingSocket::create_tls_connection(("localhost", port), &client);
            let error = match tried {
                Ok(socket) => socket.recv_msg().unwrap_err(),
                Err(error) => error,
            };
            assert_refused(&error, alert);
        }
        let good = good.versions(&[version]).unwrap();
        let socket = BlockingSocket::create_tls_connection(("localhost", port), &good);
        ask_blocking(&socket.unwrap());
        serving.join().unwrap();
    });
}
