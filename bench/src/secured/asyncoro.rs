//! asyncoro: sockets with TLS, a coroutine at each end.

use std::net::{TcpListener, TcpStream};

use asyncoro::{AsyncSocket, ClientTls, Coro, ServerTls, Tls, coro::Scheduler};

use super::{IN_FLIGHT, Identity, MESSAGE, RECORD, Secured};

pub(crate) struct Asyncoro {
    scheduler: Scheduler,
    server: ServerTls,
    client: ClientTls,
    fresh: ClientTls,
    near: AsyncSocket,
    far: AsyncSocket,
    kept: Vec<(AsyncSocket, AsyncSocket)>,
}

impl Asyncoro {
    pub(crate) fn new(identity: &Identity) -> Asyncoro {
        let scheduler = Scheduler::new().expect("a scheduler can be made");
        let (chain, key) = (identity.chain.as_bytes(), identity.key.as_bytes());
        let server = Tls::server_from_pem(chain, key).expect("the key fits");
        let client = || {
            let client = Tls::client().and_then(|client| client.ca_from_pem(chain));
            client.and_then(|client| client.server_name("localhost")).expect("it is ours")
        };
        let fresh = client().session_resumption(false);
        let (near, far) = scheduler.enter(pair(&server, &fresh));
        let client = client();
        Asyncoro { scheduler, server, client, fresh, near, far, kept: Vec::new() }
    }
}

/// Two ends that have shaken hands.
async fn pair(server: &ServerTls, client: &ClientTls) -> (AsyncSocket, AsyncSocket) {
    let (near, far) = connected();
    let server = server.clone();
    let serving: Coro<_> =
        asyncoro::spawn(async move { far.start_tls(&server).await.map(|()| far) });
    near.start_tls(client).await.expect("a handshake");
    (near, serving.await.expect("no panic").expect("a handshake"))
}

fn connected() -> (AsyncSocket, AsyncSocket) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let near = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let far = listener.accept().expect("it has connected").0;
    let convert = |socket: TcpStream| {
        socket.set_nodelay(true).expect("an option of TCP");
        AsyncSocket::new(socket).expect("a socket")
    };
    (convert(near), convert(far))
}

impl Secured for Asyncoro {
    fn ping_pong(&mut self, times: usize, bytes: usize) {
        let far = self.far.clone();
        self.scheduler.enter(async {
            let echo = asyncoro::spawn(async move {
                let mut buffer = vec![0; bytes];
                for _ in 0..times {
                    far.recv_all(&mut buffer).await.expect("its bytes");
                    far.send_all(&buffer).await.expect("room");
                }
            });
            let mut buffer = vec![b'p'; bytes];
            for _ in 0..times {
                self.near.send_all(&buffer).await.expect("room");
                self.near.recv_all(&mut buffer).await.expect("its bytes");
            }
            echo.await.expect("no panic");
        });
    }

    fn messages(&mut self, times: usize, _: bool) {
        let far = self.far.clone();
        self.scheduler.enter(async {
            let echo = asyncoro::spawn(async move {
                for _ in 0..times * IN_FLIGHT {
                    let message = far.recv_msg().await.expect("a message").expect("no end");
                    far.send_msg(&message).await.expect("room");
                }
            });
            for _ in 0..times {
                for _ in 0..IN_FLIGHT {
                    self.near.send_msg(&MESSAGE).await.expect("room");
                }
                for _ in 0..IN_FLIGHT {
                    self.near.recv_msg().await.expect("a message").expect("no end");
                }
            }
            echo.await.expect("no panic");
        });
    }

    fn bulk(&mut self, records: usize) {
        let far = self.far.clone();
        self.scheduler.enter(async {
            let sink = asyncoro::spawn(async move {
                let mut buffer = vec![0; RECORD.len()];
                let mut left = records * RECORD.len();
                while left > 0 {
                    left -= far.recv(&mut buffer).await.expect("its bytes");
                }
            });
            for _ in 0..records {
                self.near.send_all(&RECORD).await.expect("room");
            }
            sink.await.expect("no panic");
        });
    }

    fn handshakes(&mut self, times: usize, resumed: bool) {
        let client = if resumed { &self.client } else { &self.fresh };
        self.scheduler.enter(async {
            for _ in 0..times {
                let (near, far) = pair(&self.server, client).await;
                far.send_all(b"!").await.expect("room");
                // Tickets come before it.
                near.recv_all(&mut [0]).await.expect("its byte");
                near.close().await.expect("it closes");
                far.close().await.expect("it closes");
            }
        });
    }

    fn keep(&mut self, connections: usize) {
        for _ in 0..connections {
            let (near, far) = self.scheduler.enter(async {
                let (near, far) = pair(&self.server, &self.fresh).await;
                far.send_all(b"!").await.expect("room");
                near.recv_all(&mut [0]).await.expect("its byte");
                (near, far)
            });
            self.kept.push((near, far));
        }
    }
}
