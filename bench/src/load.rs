//! The client end: raw non-blocking sockets in the same thread as the server they load.
//!
//! Each time round, the client sends a request on every connection (not timed), the server answers
//! them all (timed) and the client receives and compares the answers (not timed). On loopback a
//! sent byte is in the receiver's queue when `send` returns, so the server finds all connections
//! ready, nobody sleeps and no second core takes part. The clock is read twice for each time round,
//! which adds one reading (about 25 ns) to the time of all K requests, for every subject alike.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_linger, set_tcp_congestion};

use crate::progress::Progress;

/// The client ends of K connections and what they send.
pub(crate) struct Load {
    clients: Vec<TcpStream>,
    request: Vec<u8>,
}

impl Load {
    /// Connects K times over loopback, without Nagle's delay; gives the server's ends too, which
    /// are blocking sockets as `accept` returned them.
    pub(crate) fn connect(k: usize, request: Vec<u8>) -> io::Result<(Rc<Self>, Vec<TcpStream>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let mut clients = Vec::with_capacity(k);
        let mut servers = Vec::with_capacity(k);
        for _ in 0..k {
            let client = TcpStream::connect(address)?;
            let (server, _) = listener.accept()?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            // Always there and without timers; a system's default may be BBR, which paces.
            set_tcp_congestion(&client, "reno")?;
            set_tcp_congestion(&server, "reno")?;
            client.set_nonblocking(true)?;
            // The client closes first, by a reset: no port is left in TIME_WAIT.
            set_socket_linger(&client, Some(Duration::ZERO))?;
            clients.push(client);
            servers.push(server);
        }
        Ok((Rc::new(Self { clients, request }), servers))
    }

    /// One turn of a server that is called: `serve(n)` answers until it has sent n bytes. Returns
    /// the time spent in `serve`, without the times round that only warm the caches up.
    pub(crate) fn turn(&self, times: usize, mut serve: impl FnMut(usize)) -> Duration {
        let mut answer = vec![0; self.request.len()];
        let mut spent = Duration::ZERO;
        for time in 0..WARM_UP + times {
            self.send();
            let started = Instant::now();
            serve(self.bytes());
            let took = started.elapsed();
            self.receive(&mut answer);
            spent += if time < WARM_UP { Duration::ZERO } else { took };
        }
        spent
    }

    /// The same turn as a coroutine beside the server's own, for a runtime that is dear to enter:
    /// what is timed ends when the last answer is in the kernel and this coroutine resumed.
    pub(crate) async fn turn_inside(
        self: Rc<Self>,
        progress: Rc<Progress>,
        times: usize,
    ) -> Duration {
        let mut answer = vec![0; self.request.len()];
        let mut spent = Duration::ZERO;
        for time in 0..WARM_UP + times {
            self.send();
            let started = Instant::now();
            progress.another(self.bytes()).await;
            let took = started.elapsed();
            self.receive(&mut answer);
            spent += if time < WARM_UP { Duration::ZERO } else { took };
        }
        spent
    }

    /// The bytes of one time round, all connections together.
    fn bytes(&self) -> usize {
        self.clients.len() * self.request.len()
    }

    fn send(&self) {
        for mut client in &self.clients {
            let sent = client.write(&self.request).expect("the server's ends are open");
            assert_eq!(sent, self.request.len(), "a request must fit into the socket's buffers");
        }
    }

    fn receive(&self, answer: &mut [u8]) {
        for client in &self.clients {
            receive_all(client, answer);
            assert!(answer == self.request, "an answer differs from its request");
        }
    }
}

/// Fills the buffer, looking again while nothing is there; after a few seconds that is a bug of the
/// subject (it counted bytes it had not sent), so it panics rather than hang.
fn receive_all(mut client: &TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    let mut waiting_since = None;
    while filled < buffer.len() {
        match client.read(&mut buffer[filled..]) {
            Ok(0) => panic!("the subject closed a connection"),
            Ok(received) => filled += received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let since = *waiting_since.get_or_insert_with(Instant::now);
                assert!(since.elapsed() < PATIENCE, "counted answers never arrived");
            }
            Err(error) => panic!("the client end failed: {error}"),
        }
    }
}

/// Times round at the start of a turn that are not counted: they push the last subject's data out
/// of the caches.
const WARM_UP: usize = 1;
/// Far longer than loopback ever takes.
const PATIENCE: Duration = Duration::from_secs(5);
