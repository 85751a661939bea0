//! tokio with tokio-rustls, as its documentation recommends: current_thread, a task at each end.

use std::net::{TcpListener as Listener, TcpStream as Stream};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::{IN_FLIGHT, Identity, MESSAGE, RECORD, Secured};

type Near = client::TlsStream<TcpStream>;
type Far = server::TlsStream<TcpStream>;

pub(crate) struct Tokio {
    runtime: Runtime,
    local: LocalSet,
    acceptor: TlsAcceptor,
    client: TlsConnector,
    fresh: TlsConnector,
    /// Taken by whoever works with it.
    pair: Option<(Near, Far)>,
    kept: Vec<(Near, Far)>,
}

impl Tokio {
    pub(crate) fn new(identity: &Identity) -> Tokio {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let local = LocalSet::new();
        let acceptor = TlsAcceptor::from(identity.server());
        let fresh = TlsConnector::from(identity.client(false));
        let client = TlsConnector::from(identity.client(true));
        let pair = Some(local.block_on(&runtime, pair(acceptor.clone(), &fresh)));
        Tokio { runtime, local, acceptor, client, fresh, pair, kept: Vec::new() }
    }
}

async fn pair(acceptor: TlsAcceptor, connector: &TlsConnector) -> (Near, Far) {
    let listener = Listener::bind("127.0.0.1:0").expect("a port is free");
    let near = Stream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let far = listener.accept().expect("it has connected").0;
    let convert = |socket: Stream| {
        socket.set_nodelay(true).expect("an option of TCP");
        socket.set_nonblocking(true).expect("a mode");
        TcpStream::from_std(socket).expect("a socket")
    };
    let (near, far) = (convert(near), convert(far));
    let serving = tokio::task::spawn_local(async move { acceptor.accept(far).await });
    let name = "localhost".try_into().expect("a name");
    let near = connector.connect(name, near).await.expect("a handshake");
    (near, serving.await.expect("no panic").expect("a handshake"))
}

impl Tokio {
    /// Runs both ends, the far one in a task, and keeps them.
    fn both<N, F>(&mut self, near_end: impl FnOnce(Near) -> N, far_end: impl FnOnce(Far) -> F)
    where
        N: Future<Output = Near>,
        F: Future<Output = Far> + 'static,
    {
        let (near, far) = self.pair.take().expect("it was put back");
        let far_end = far_end(far);
        self.pair = Some(self.local.block_on(&self.runtime, async {
            let far = tokio::task::spawn_local(far_end);
            (near_end(near).await, far.await.expect("no panic"))
        }));
    }
}

impl Secured for Tokio {
    fn ping_pong(&mut self, times: usize, bytes: usize) {
        let near = |mut near: Near| async move {
            let mut buffer = vec![b'p'; bytes];
            for _ in 0..times {
                near.write_all(&buffer).await.expect("room");
                near.flush().await.expect("room");
                near.read_exact(&mut buffer).await.expect("its bytes");
            }
            near
        };
        self.both(near, move |mut far| async move {
            let mut buffer = vec![0; bytes];
            for _ in 0..times {
                far.read_exact(&mut buffer).await.expect("its bytes");
                far.write_all(&buffer).await.expect("room");
                far.flush().await.expect("room");
            }
            far
        });
    }

    fn messages(&mut self, times: usize, gathered: bool) {
        let near = |mut near: Near| async move {
            let framed = [&100_u32.to_be_bytes()[..], &MESSAGE].concat();
            let mut buffer = vec![0; framed.len() * IN_FLIGHT];
            for _ in 0..times {
                if gathered {
                    near.write_all(&framed.repeat(IN_FLIGHT)).await.expect("room");
                } else {
                    for _ in 0..IN_FLIGHT {
                        near.write_all(&framed).await.expect("room");
                        near.flush().await.expect("room");
                    }
                }
                near.flush().await.expect("room");
                near.read_exact(&mut buffer).await.expect("its bytes");
            }
            near
        };
        self.both(near, move |mut far| async move {
            let mut framed = vec![0; 4 + MESSAGE.len()];
            let mut all = vec![0; framed.len() * IN_FLIGHT];
            for _ in 0..times {
                if gathered {
                    far.read_exact(&mut all).await.expect("its bytes");
                    far.write_all(&all).await.expect("room");
                    far.flush().await.expect("room");
                    continue;
                }
                for _ in 0..IN_FLIGHT {
                    far.read_exact(&mut framed).await.expect("its bytes");
                    far.write_all(&framed).await.expect("room");
                    far.flush().await.expect("room");
                }
            }
            far
        });
    }

    fn bulk(&mut self, records: usize) {
        let near = |mut near: Near| async move {
            for _ in 0..records {
                near.write_all(&RECORD).await.expect("room");
            }
            near.flush().await.expect("room");
            near
        };
        self.both(near, move |mut far| async move {
            let mut buffer = vec![0; RECORD.len()];
            let mut left = records * RECORD.len();
            while left > 0 {
                left -= far.read(&mut buffer).await.expect("its bytes");
            }
            far
        });
    }

    fn handshakes(&mut self, times: usize, resumed: bool) {
        let connector = if resumed { &self.client } else { &self.fresh };
        self.local.block_on(&self.runtime, async {
            for _ in 0..times {
                let (mut near, mut far) = pair(self.acceptor.clone(), connector).await;
                far.write_all(b"!").await.expect("room");
                far.flush().await.expect("room");
                near.read_exact(&mut [0]).await.expect("its byte");
                near.shutdown().await.expect("it closes");
                far.shutdown().await.expect("it closes");
            }
        });
    }

    fn keep(&mut self, connections: usize) {
        for _ in 0..connections {
            let kept = self.local.block_on(&self.runtime, async {
                let (mut near, mut far) = pair(self.acceptor.clone(), &self.fresh).await;
                far.write_all(b"!").await.expect("room");
                far.flush().await.expect("room");
                near.read_exact(&mut [0]).await.expect("its byte");
                (near, far)
            });
            self.kept.push(kept);
        }
    }
}
