//! tokio with tokio-rustls, as its documentation shows: flushed where bytes have to be sent.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::ends::Net;
use super::{Identity, connected};
use crate::subject::tokio::Tokio;

#[derive(Clone)]
pub(crate) struct Config {
    acceptor: TlsAcceptor,
    client: TlsConnector,
    fresh: TlsConnector,
}

impl Net for Tokio {
    type Config = Config;
    type Stream = TlsStream<TcpStream>;

    fn configure(identity: &Identity) -> Config {
        Config {
            acceptor: identity.server().into(),
            client: identity.client(true).into(),
            fresh: identity.client(false).into(),
        }
    }
    async fn pair(config: Config, resumed: bool) -> (Self::Stream, Self::Stream) {
        let (near, far) = connected();
        let convert = |socket: std::net::TcpStream| {
            socket.set_nonblocking(true).expect("a mode");
            TcpStream::from_std(socket).expect("a socket")
        };
        let (near, far) = (convert(near), convert(far));
        let serving = spawn_local(async move { config.acceptor.accept(far).await });
        let connector = if resumed { &config.client } else { &config.fresh };
        let name = "localhost".try_into().expect("a name");
        let near = connector.connect(name, near).await.expect("a handshake");
        let far = serving.await.expect("no panic").expect("a handshake");
        (near.into(), far.into())
    }
    async fn write(stream: &mut Self::Stream, bytes: &[u8]) {
        stream.write_all(bytes).await.expect("the peer is there");
    }
    async fn flush(stream: &mut Self::Stream) {
        stream.flush().await.expect("the peer is there");
    }
    async fn read(stream: &mut Self::Stream, buffer: &mut [u8]) {
        stream.read_exact(buffer).await.expect("the peer is there");
    }
    async fn read_some(stream: &mut Self::Stream, buffer: &mut [u8]) -> usize {
        stream.read(buffer).await.expect("the peer is there")
    }
    async fn close(stream: &mut Self::Stream) {
        stream.shutdown().await.expect("the peer is there");
    }
}
