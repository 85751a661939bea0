//! Connected sockets of each kind, and a scheduler with a time limit.

use std::{future::Future, os::unix::net::UnixStream, time::Duration};

use asyncoro::{AsyncSocket, Tls, time::timeout};
use rcgen::{CertifiedKey, generate_simple_self_signed};

/// How long a test may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Unix,
    Tls,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Tcp, Kind::Unix, Kind::Tls];

/// Runs a future on a new scheduler, with a time limit.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    asyncoro::run_until(async { timeout(LIMIT, future).await.expect("the test hangs") })
}

/// Makes two connected sockets.
pub(crate) async fn pair(kind: Kind) -> (AsyncSocket, AsyncSocket) {
    if kind == Kind::Unix {
        let (near, far) = UnixStream::pair().unwrap();
        return (AsyncSocket::new(near).unwrap(), AsyncSocket::new(far).unwrap());
    }
    let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    if kind == Kind::Tcp {
        let near = AsyncSocket::create_connection(address).await.unwrap();
        return (near, server.accept().await.unwrap().0);
    }
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = cert.pem();
    let key = signing_key.serialize_pem();
    let tls = Tls::server_from_pem(pem.as_bytes(), key.as_bytes()).unwrap();
    let server = server.with_tls(&tls).unwrap();
    let client = Tls::client().unwrap().ca_from_pem(pem.as_bytes()).unwrap();
    let client = client.server_name("localhost").unwrap();
    let connecting = asyncoro::spawn(async move {
        let near = AsyncSocket::open(socket2::Domain::IPV4, socket2::Type::STREAM).unwrap();
        let near = near.with_tls(&client).unwrap();
        near.connect(address).await.unwrap();
        near
    });
    let (far, _) = server.accept().await.unwrap();
    (connecting.await.unwrap(), far)
}
