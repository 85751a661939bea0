//! rustls alone on blocking sockets: both ends run alternately, and the kernel buffers the bytes
//! between them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use super::ends::framed;
use super::{Identity, RECORD, Secured, connected};

type Near = StreamOwned<ClientConnection, TcpStream>;
type Far = StreamOwned<ServerConnection, TcpStream>;

pub(crate) struct Blocking {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    fresh: Arc<ClientConfig>,
    near: Near,
    far: Far,
    kept: Vec<(Near, Far)>,
}

impl Blocking {
    pub(crate) fn new(identity: &Identity) -> Blocking {
        let (server, fresh) = (identity.server(), identity.client(false));
        let (near, far) = pair(&server, &fresh);
        let client = identity.client(true);
        Blocking { server, client, fresh, near, far, kept: Vec::new() }
    }
}

/// Runs both ends in one thread: each continues as far as it can with what has come.
fn pair(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> (Near, Far) {
    let (near, far) = connected();
    let name = "localhost".try_into().expect("a name");
    let client = ClientConnection::new(Arc::clone(client), name).expect("a session");
    let server = ServerConnection::new(Arc::clone(server)).expect("a session");
    let (mut near, mut far) = (StreamOwned::new(client, near), StreamOwned::new(server, far));
    while near.conn.is_handshaking() || far.conn.is_handshaking() {
        while near.conn.wants_write() {
            near.conn.write_tls(&mut near.sock).expect("room");
        }
        if far.conn.is_handshaking() {
            far.conn.read_tls(&mut far.sock).expect("its records");
            far.conn.process_new_packets().expect("a handshake");
        }
        while far.conn.wants_write() {
            far.conn.write_tls(&mut far.sock).expect("room");
        }
        if near.conn.is_handshaking() {
            near.conn.read_tls(&mut near.sock).expect("its records");
            near.conn.process_new_packets().expect("a handshake");
        }
    }
    (near, far)
}

impl Secured for Blocking {
    fn ping_pong(&mut self, times: usize, bytes: usize) {
        let mut buffer = vec![b'p'; bytes];
        for _ in 0..times {
            self.near.write_all(&buffer).expect("room");
            self.far.read_exact(&mut buffer).expect("its bytes");
            self.far.write_all(&buffer).expect("room");
            self.near.read_exact(&mut buffer).expect("its bytes");
        }
    }

    fn messages(&mut self, times: usize, gathered: bool) {
        let (writes, bytes) = framed(gathered);
        let mut buffer = bytes.clone();
        for _ in 0..times {
            (0..writes).for_each(|_| self.near.write_all(&bytes).expect("room"));
            for _ in 0..writes {
                self.far.read_exact(&mut buffer).expect("its bytes");
                self.far.write_all(&buffer).expect("room");
            }
            (0..writes).for_each(|_| self.near.read_exact(&mut buffer).expect("its bytes"));
        }
    }

    fn bulk(&mut self, records: usize) {
        let mut buffer = vec![0; RECORD.len()];
        for _ in 0..records {
            self.near.write_all(&RECORD).expect("room");
            self.far.read_exact(&mut buffer).expect("its bytes");
        }
    }

    fn handshakes(&mut self, times: usize, resumed: bool) {
        let client = if resumed { &self.client } else { &self.fresh };
        for _ in 0..times {
            let (mut near, mut far) = pair(&self.server, client);
            far.write_all(b"!").expect("room");
            near.read_exact(&mut [0]).expect("its byte");
            near.conn.send_close_notify();
            near.flush().expect("room");
            far.conn.send_close_notify();
            far.flush().expect("room");
        }
    }

    fn keep(&mut self, connections: usize) {
        for _ in 0..connections {
            let (mut near, mut far) = pair(&self.server, &self.fresh);
            far.write_all(b"!").expect("room");
            near.read_exact(&mut [0]).expect("its byte");
            self.kept.push((near, far));
        }
    }
}
