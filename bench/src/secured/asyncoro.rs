//! asyncoro: its sockets with TLS, and its messages.

use asyncoro::coro::Scheduler;
use asyncoro::{AsyncSocket, ClientTls, ServerTls, Tls, spawn};

use super::ends::Net;
use super::{IN_FLIGHT, Identity, MESSAGE, connected};

#[derive(Clone)]
pub(crate) struct Config {
    server: ServerTls,
    client: ClientTls,
    fresh: ClientTls,
}

impl Net for Scheduler {
    type Config = Config;
    type Stream = AsyncSocket;

    fn configure(identity: &Identity) -> Config {
        let (chain, key) = (identity.chain.as_bytes(), identity.key.as_bytes());
        let server = Tls::server_from_pem(chain, key).expect("the key fits");
        let client = Tls::client().and_then(|client| client.ca_from_pem(chain));
        let client = client.and_then(|client| client.server_name("localhost"));
        let client = client.expect("the certificate is one");
        Config { server, fresh: client.clone().session_resumption(false), client }
    }
    async fn pair(config: Config, resumed: bool) -> (AsyncSocket, AsyncSocket) {
        let (near, far) = connected();
        let far = AsyncSocket::new(far).expect("a socket");
        let near = AsyncSocket::new(near).expect("a socket");
        let client = if resumed { &config.client } else { &config.fresh };
        let server = config.server.clone();
        let serving = spawn(async move { far.start_tls(&server).await.map(|()| far) });
        near.start_tls(client).await.expect("a handshake");
        (near, serving.await.expect("no panic").expect("a handshake"))
    }
    async fn write(socket: &mut AsyncSocket, bytes: &[u8]) {
        socket.send_all(bytes).await.expect("the peer is there");
    }
    /// Does nothing: the bytes are in the kernel already.
    async fn flush(_: &mut AsyncSocket) {}
    async fn read(socket: &mut AsyncSocket, buffer: &mut [u8]) {
        socket.recv_all(buffer).await.expect("the peer is there");
    }
    async fn read_some(socket: &mut AsyncSocket, buffer: &mut [u8]) -> usize {
        socket.recv(buffer).await.expect("the peer is there")
    }
    async fn close(socket: &mut AsyncSocket) {
        socket.close().await.expect("the peer is there");
    }
    async fn ask(socket: &mut AsyncSocket, times: usize, _: bool) {
        for _ in 0..times {
            for _ in 0..IN_FLIGHT {
                socket.send_msg(&MESSAGE).await.expect("the peer is there");
            }
            for _ in 0..IN_FLIGHT {
                socket.recv_msg().await.expect("the peer is there").expect("no end");
            }
        }
    }
    async fn answer(socket: &mut AsyncSocket, times: usize, _: bool) {
        for _ in 0..times * IN_FLIGHT {
            let message = socket.recv_msg().await.expect("the peer is there").expect("no end");
            socket.send_msg(&message).await.expect("the peer is there");
        }
    }
}
