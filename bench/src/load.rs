//! The client end: raw non-blocking sockets in the thread of the server that they load.
//!
//! In each iteration the client sends a request on every connection (not timed), the server answers
//! them all (timed) and the client receives and compares the answers (not timed). On loopback a
//! sent byte is in the receiver's queue when `send` returns, so the server finds all connections
//! ready, nobody sleeps and no second core takes part. The clock is read twice per iteration, which
//! adds one reading (about 25 ns) to the time of all K requests, for every subject alike.
//!
//! Two measures keep this fair to runtimes that let the kernel complete operations (io_uring):
//! - A server with remote clients has submitted its receives to the kernel long before a request
//!   comes. Here the bell (`Bell`) lets it do so: before each sending the load waits for a byte
//!   through the server's own driver, which submits everything that is queued.
//! - The kernel then does their receives while the client sends. So the time of the sending is
//!   measured, too, and its excess over the yardstick's is added to theirs (`rounds.rs`).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_linger, set_tcp_congestion};

use crate::progress::Progress;
use crate::runtime::Net;
use crate::served::fatal;

/// The client ends of K connections and what they send.
pub(crate) struct Load {
    clients: Vec<TcpStream>,
    /// The client ends that never send.
    _idle: Vec<TcpStream>,
    request: Vec<u8>,
}

impl Load {
    /// Connects K times over loopback, without Nagle's delay; also returns the server's ends, which
    /// are blocking sockets as `accept` returned them.
    pub(crate) fn connect(k: usize, request: Vec<u8>) -> io::Result<(Rc<Self>, Vec<TcpStream>)> {
        Self::connect_some(k, k, request)
    }

    /// As `connect`, but only some of the K have requests, spread evenly over all.
    pub(crate) fn connect_some(
        k: usize,
        active: usize,
        request: Vec<u8>,
    ) -> io::Result<(Rc<Self>, Vec<TcpStream>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (mut clients, mut idle) = (Vec::with_capacity(active), Vec::new());
        let mut servers = Vec::with_capacity(k);
        for place in 0..k {
            let client = TcpStream::connect(address)?;
            let (server, _) = listener.accept()?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            // It is always available and needs no timers; a system's default may be BBR, which
            // paces.
            set_tcp_congestion(&client, "reno")?;
            set_tcp_congestion(&server, "reno")?;
            client.set_nonblocking(true)?;
            // The client closes first, by a reset, so that no port stays in TIME_WAIT.
            set_socket_linger(&client, Some(Duration::ZERO))?;
            let is_next = place * active / k == clients.len();
            if is_next {
                clients.push(client)
            } else {
                idle.push(client)
            }
            servers.push(server);
        }
        Ok((Rc::new(Self { clients, _idle: idle, request }), servers))
    }

    /// Runs a turn of a server that is called: `serve(n)` answers until it has sent n bytes. The
    /// result does not include the iterations that only warm up the caches.
    pub(crate) fn turn(&self, times: usize, mut serve: impl FnMut(usize)) -> Spent {
        let mut answer = vec![0; self.request.len()];
        let mut spent = Spent::default();
        for time in 0..WARM_UP + times {
            let sent = self.send();
            let started = Instant::now();
            serve(self.bytes());
            let served = started.elapsed();
            self.receive(&mut answer);
            spent.add(time, served, sent);
        }
        spent
    }

    /// Runs a turn as a coroutine beside the server's own, for a runtime that is expensive to
    /// enter: the timing ends when the last answer is in the kernel and this coroutine is resumed.
    pub(crate) async fn turn_inside<R: Net>(
        self: Rc<Self>,
        progress: Rc<Progress>,
        mut bell: Bell<R>,
        times: usize,
    ) -> (Spent, Bell<R>) {
        let mut answer = vec![0; self.request.len()];
        let mut spent = Spent::default();
        for time in 0..WARM_UP + times {
            bell = bell.ring().await;
            let sent = self.send();
            let started = Instant::now();
            progress.another(self.bytes()).await;
            let served = started.elapsed();
            self.receive(&mut answer);
            spent.add(time, served, sent);
        }
        (spent, bell)
    }

    /// Returns the bytes of one iteration, of all connections together.
    fn bytes(&self) -> usize {
        self.clients.len() * self.request.len()
    }

    /// Sends a request on each connection; returns how long that took.
    fn send(&self) -> Duration {
        let started = Instant::now();
        for mut client in &self.clients {
            let sent = client.write(&self.request).expect("the server's ends are open");
            assert_eq!(sent, self.request.len(), "a request must fit into the socket's buffers");
        }
        started.elapsed()
    }

    fn receive(&self, answer: &mut [u8]) {
        for client in &self.clients {
            receive_all(client, answer);
            assert!(answer == self.request, "an answer differs from its request");
        }
    }
}

/// The time of a turn: the server's part, and the client's sending, during which the kernel works
/// for some servers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) serving: Duration,
    pub(crate) sending: Duration,
}

impl Spent {
    fn add(&mut self, time: usize, serving: Duration, sending: Duration) {
        if time >= WARM_UP {
            self.serving += serving;
            self.sending += sending;
        }
    }
}

/// The load's own connection to the server's runtime.
pub(crate) struct Bell<R: Net> {
    client: TcpStream,
    server: R::Stream,
    buffer: Vec<u8>,
}

impl<R: Net> Bell<R> {
    /// Connects; call it inside the runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let (load, mut servers) = Load::connect(1, vec![0])?;
        let server = R::stream(servers.remove(0))?;
        let load = Rc::into_inner(load).expect("nobody else has it yet");
        let client = load.clients.into_iter().next().expect("one was asked for");
        Ok(Self { client, server, buffer: vec![0; 8] })
    }

    /// Sends a byte and receives it through the runtime's driver.
    async fn ring(mut self) -> Self {
        self.client.write_all(&[0]).unwrap_or_else(fatal);
        let received;
        (received, self.buffer) = R::recv(&mut self.server, self.buffer).await;
        assert_eq!(received.unwrap_or_else(fatal), 1, "the bell is rung once");
        self
    }
}

/// Fills the buffer, retrying while nothing is there; panics after a few seconds, since the subject
/// has then counted bytes that it had not sent.
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

/// Iterations at the start of a turn that are not counted: they replace the last subject's data in
/// the caches.
const WARM_UP: usize = 1;
/// Far longer than loopback ever takes.
const PATIENCE: Duration = Duration::from_secs(5);
