//! Datagrams: a raw client socket and a server that sends each back, both in one thread.
//!
//! In each iteration the client sends its datagrams (not timed), the server answers them all
//! (timed) and the client receives and compares the answers (not timed).

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::progress::Progress;
use crate::runtime::Net;
use crate::served::fatal;

/// The client's end, with a number of datagrams at once.
pub(crate) struct Flight {
    client: UdpSocket,
    datagrams: u8,
}

/// Makes a server of a socket; a turn of it runs a number of iterations.
pub(crate) type MakeAnswering = fn(UdpSocket, Rc<Flight>) -> io::Result<Turn>;
/// Runs a turn.
pub(crate) type Turn = Box<dyn FnMut(usize) -> Duration>;

impl Flight {
    /// Makes a client and the socket of its server.
    pub(crate) fn new(datagrams: u8) -> io::Result<(Rc<Self>, UdpSocket)> {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        client.connect(server.local_addr()?)?;
        client.set_read_timeout(Some(PATIENCE))?;
        Ok((Rc::new(Self { client, datagrams }), server))
    }

    /// Runs a turn of a server that is called: `serve(n)` answers n datagrams.
    pub(crate) fn turn(&self, times: usize, mut serve: impl FnMut(usize)) -> Duration {
        let mut spent = Duration::ZERO;
        for _ in 0..times {
            self.send();
            let started = Instant::now();
            serve(self.datagrams.into());
            spent += started.elapsed();
            self.receive();
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
            self.send();
            let started = Instant::now();
            progress.another(self.datagrams.into()).await;
            spent += started.elapsed();
            self.receive();
        }
        spent
    }

    fn send(&self) {
        for number in 0..self.datagrams {
            let sent = self.client.send(&[number; SIZE]).expect("the server's socket is open");
            assert_eq!(sent, SIZE);
        }
    }

    fn receive(&self) {
        let mut answer = [0; 2 * SIZE];
        for number in 0..self.datagrams {
            let received = self.client.recv(&mut answer).expect("an answer to each datagram");
            assert!(answer[..received] == [number; SIZE], "an answer differs from its datagram");
        }
    }
}

/// Makes a server that receives and sends back each datagram on its own, by the usual calls of a
/// runtime.
pub(crate) fn plain<R: Net>(socket: UdpSocket, flight: Rc<Flight>) -> io::Result<Turn> {
    answering::<R, _>(flight, async move |progress| {
        let socket = R::datagrams(socket).unwrap_or_else(fatal);
        let mut buffer = vec![0; ROOM];
        loop {
            let received;
            (received, buffer) = R::recv_from(&socket, buffer).await;
            let (length, from) = received.unwrap_or_else(fatal);
            let sent;
            (sent, buffer) = R::send_to(&socket, buffer, length, from).await;
            sent.unwrap_or_else(fatal);
            progress.add(1);
        }
    })
}

/// Runs a coroutine that answers, and the load as a coroutine beside it.
pub(crate) fn answering<R: Net, F: Future<Output = ()> + 'static>(
    flight: Rc<Flight>,
    answer: impl FnOnce(Rc<Progress>) -> F + 'static,
) -> io::Result<Turn> {
    let (mut runtime, progress) = (R::new()?, Rc::new(Progress::default()));
    let counted = Rc::clone(&progress);
    runtime.block_on(async move { R::detach(R::spawn(answer(counted))) });
    Ok(Box::new(move |times| {
        runtime.block_on(Rc::clone(&flight).turn_inside(Rc::clone(&progress), times))
    }))
}

/// The length of a datagram, in bytes.
const SIZE: usize = 100;
/// The length of the buffer for a datagram.
pub(crate) const ROOM: usize = 2048;
/// Far longer than loopback ever takes.
const PATIENCE: Duration = Duration::from_secs(5);
