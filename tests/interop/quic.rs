//! quinn in coroutines: in a guest of tokio, and as it is, with smol's thread.

use std::{net::UdpSocket, sync::Arc};

use asyncoro::{spawn, time::timeout};
use futures_util::future::join_all;
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, Runtime, ServerConfig, SmolRuntime,
    TokioRuntime, VarInt,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{RootCertStore, pki_types::PrivatePkcs8KeyDer};

use crate::pairs::{LIMIT, run};

const STREAMS: usize = 100;

fn endpoint(server: Option<ServerConfig>, runtime: Arc<dyn Runtime>) -> Endpoint {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    Endpoint::new(EndpointConfig::default(), server, socket, runtime).unwrap()
}

/// Sends back what each stream brings.
async fn echo(connection: Connection) {
    let mut echoes = Vec::new();
    while let Ok((mut sender, mut receiver)) = connection.accept_bi().await {
        echoes.push(spawn(async move {
            let bytes = receiver.read_to_end(1 << 20).await.unwrap();
            sender.write_all(&bytes).await.unwrap();
            sender.finish().unwrap();
            // Until the peer has it all: a sender that is dropped before is reset.
            sender.stopped().await.unwrap();
        }));
    }
    assert_eq!(echoes.len(), STREAMS);
    for echo in echoes {
        echo.await.unwrap();
    }
}

/// Has a hundred streams on one connection, and ends it.
async fn streams(runtime: Arc<dyn Runtime>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let config = ServerConfig::with_single_cert(vec![cert.der().clone()], key.into()).unwrap();
    let server = endpoint(Some(config), Arc::clone(&runtime));
    let address = server.local_addr().unwrap();
    let serving = spawn(async move {
        echo(server.accept().await.unwrap().await.unwrap()).await;
        server.wait_idle().await;
    });

    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let mut client = endpoint(None, runtime);
    client.set_default_client_config(ClientConfig::with_root_certificates(roots.into()).unwrap());
    let connection = client.connect(address, "localhost").unwrap().await.unwrap();
    let echoes = join_all((0..STREAMS).map(|number| {
        let connection = connection.clone();
        async move {
            let sent = vec![number as u8; 1000 * number];
            let (mut sender, mut receiver) = connection.open_bi().await.unwrap();
            sender.write_all(&sent).await.unwrap();
            sender.finish().unwrap();
            receiver.read_to_end(1 << 20).await.unwrap() == sent
        }
    }));
    assert_eq!(echoes.await, [true; STREAMS]);
    connection.close(VarInt::from_u32(0), b"");
    client.wait_idle().await;
    serving.await.unwrap();
}

#[test]
fn quinn_is_a_guest() {
    asyncoro::tokio::run(async {
        timeout(LIMIT, streams(Arc::new(TokioRuntime))).await.expect("the test hangs");
    });
}

#[test]
fn quinn_works_as_it_is_with_the_thread_of_smol() {
    run(streams(Arc::new(SmolRuntime)));
}
