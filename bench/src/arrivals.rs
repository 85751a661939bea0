//! Short-lived connections: a raw client connects and a server accepts, in one thread.
//!
//! In each iteration the client opens its connections and, for the echo, sends on each (not timed);
//! the server accepts them all and answers (timed); the client receives and resets them (not
//! timed); the server notices and closes its ends (timed).

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use crate::progress::Progress;
use crate::runtime::Net;
use crate::served::fatal;

/// The client's end, with a number of connections at once.
pub(crate) struct Arrivals {
    address: SocketAddr,
    connections: usize,
    echo: bool,
}

/// Makes a server of a listener; a turn of it runs a number of iterations.
pub(crate) type MakeAccepting = fn(TcpListener, Rc<Arrivals>) -> io::Result<Turn>;
/// Runs a turn.
pub(crate) type Turn = Box<dyn FnMut(usize) -> Duration>;

impl Arrivals {
    /// Makes a client and the listener of its server; with `echo` it sends once on each connection.
    pub(crate) fn new(connections: usize, echo: bool) -> io::Result<(Rc<Self>, TcpListener)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        rustix::net::listen(&listener, 1024)?;
        let address = listener.local_addr()?;
        Ok((Rc::new(Self { address, connections, echo }), listener))
    }

    /// Whether each connection has a request.
    pub(crate) fn echo(&self) -> bool {
        self.echo
    }

    /// Runs a turn of a server that is called: `serve(n)` runs until n connections were answered
    /// (or accepted, without echo), and again until as many were closed.
    pub(crate) fn turn(&self, times: usize, mut serve: impl FnMut(usize)) -> Duration {
        let mut spent = Duration::ZERO;
        for _ in 0..times {
            let clients = self.connect();
            let started = Instant::now();
            serve(self.connections);
            spent += started.elapsed();
            self.part(clients);
            if self.echo {
                let started = Instant::now();
                serve(self.connections);
                spent += started.elapsed();
            }
        }
        spent
    }

    /// Runs a turn as a coroutine beside the server's own.
    pub(crate) async fn turn_inside(
        self: Rc<Self>,
        progress: Rc<Progress>,
        times: usize,
    ) -> Duration {
        let mut spent = Duration::ZERO;
        for _ in 0..times {
            let clients = self.connect();
            let started = Instant::now();
            progress.another(self.connections).await;
            spent += started.elapsed();
            self.part(clients);
            if self.echo {
                let started = Instant::now();
                progress.another(self.connections).await;
                spent += started.elapsed();
            }
        }
        spent
    }

    fn connect(&self) -> Vec<TcpStream> {
        let connect = |_| {
            let mut client = TcpStream::connect(self.address).expect("the server listens");
            set_socket_linger(&client, Some(Duration::ZERO)).expect("a socket lingers as told");
            if self.echo {
                client.write_all(&REQUEST).expect("the server does not reset");
            }
            client
        };
        (0..self.connections).map(connect).collect()
    }

    /// Compares the answers and resets the connections, by dropping them.
    fn part(&self, clients: Vec<TcpStream>) {
        let mut answer = [0; REQUEST.len()];
        for mut client in clients.iter().filter(|_| self.echo) {
            client.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
            client.read_exact(&mut answer).expect("an answer on each connection");
            assert_eq!(answer, REQUEST, "an answer differs from its request");
        }
    }
}

/// Runs a coroutine that accepts and one for each connection, which answers once and waits for its
/// end.
pub(crate) fn accepting<R: Net>(listener: TcpListener, arrivals: Rc<Arrivals>) -> io::Result<Turn> {
    let (mut runtime, progress) = (R::new()?, Rc::new(Progress::default()));
    let counted = Rc::clone(&progress);
    let echo = arrivals.echo();
    runtime.block_on(async move {
        R::detach(R::spawn(async move {
            let listener = R::listener(listener).unwrap_or_else(fatal);
            loop {
                let stream = R::accept(&listener).await.unwrap_or_else(fatal);
                if echo {
                    let counted = Rc::clone(&counted);
                    R::detach(R::spawn(async move {
                        answer::<R>(stream, &counted).await;
                        counted.add(1);
                    }));
                } else {
                    drop(stream);
                    counted.add(1);
                }
            }
        }));
    });
    Ok(Box::new(move |times| {
        runtime.block_on(Rc::clone(&arrivals).turn_inside(Rc::clone(&progress), times))
    }))
}

/// Answers until the end of the connection, and closes it.
async fn answer<R: Net>(mut stream: R::Stream, progress: &Progress) {
    let mut buffer = vec![0; ROOM];
    loop {
        let received;
        (received, buffer) = R::recv(&mut stream, buffer).await;
        // The client ends by a reset, which is an error.
        let Ok(received @ 1..) = received else { return };
        let sent;
        (sent, buffer) = R::send_all(&mut stream, buffer, received).await;
        sent.unwrap_or_else(fatal);
        progress.add(1);
    }
}

const REQUEST: [u8; 64] = [b'?'; 64];
/// The length of the buffer for a request.
pub(crate) const ROOM: usize = 1024;
/// Far longer than loopback ever takes.
const PATIENCE: Duration = Duration::from_secs(5);
