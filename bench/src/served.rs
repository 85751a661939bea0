//! Servers for a load: a runtime with a coroutine per connection.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::process;
use std::rc::Rc;
use std::time::Duration;

use crate::load::{Bell, Load, Spent};
use crate::progress::Progress;
use crate::runtime::{HEADER, Net};

/// The server end of the connections of a load.
pub(crate) trait Server {
    /// Answers the load for a number of iterations and returns the time, through [`Load::turn`] or
    /// [`Load::turn_inside`].
    fn turn(&mut self, load: &Rc<Load>, times: usize) -> Spent;

    /// Whether the kernel does a part of its work while the load sends.
    fn works_in_sends(&self) -> bool {
        false
    }
}

/// Makes a server of these connections (blocking sockets), given the length of its buffers: twice
/// what a connection receives at once, so that a short read shows that everything was received.
pub(crate) type MakeServer = fn(Vec<TcpStream>, usize) -> io::Result<Box<dyn Server>>;

/// Sends back what it receives.
pub(crate) fn echo<R: Net>(
    connections: Vec<TcpStream>,
    length: usize,
) -> io::Result<Box<dyn Server>> {
    serve::<R, _>(connections, false, move |stream, progress| {
        echo_stream::<R>(stream, length, move |bytes| progress.add(bytes))
    })
}

/// Serves one stream until its end; calls `answered` with the bytes of each answer.
pub(crate) async fn echo_stream<R: Net>(
    stream: R::Stream,
    length: usize,
    answered: impl Fn(usize) + 'static,
) {
    R::echo(stream, length, answered).await.map_or_else(gone, |()| 0);
}

/// Sends back what comes, with a buffer that is passed by value and returned.
pub(crate) async fn hand_over<R: Net>(
    mut stream: R::Stream,
    length: usize,
    answered: impl Fn(usize),
) -> io::Result<()> {
    let mut buffer = vec![0; length];
    loop {
        let received;
        (received, buffer) = R::recv(&mut stream, buffer).await;
        let received = received?;
        if received == 0 {
            return Ok(());
        }
        let sent;
        (sent, buffer) = R::send_all(&mut stream, buffer, received).await;
        sent?;
        answered(received);
    }
}

/// Sends messages back.
pub(crate) fn messages<R: Net>(
    connections: Vec<TcpStream>,
    length: usize,
) -> io::Result<Box<dyn Server>> {
    serve::<R, _>(connections, R::SENDS_LATER, move |stream, progress| async move {
        let answered = move |bytes| progress.add(bytes);
        let ended = R::messages(stream, length, answered).await;
        ended.map_or_else(gone, |()| 0);
    })
}

/// Sends messages back with as little memory as possible while it waits: no buffer but for the
/// length of the next message.
pub(crate) fn lean<R: Net>(connections: Vec<TcpStream>, _: usize) -> io::Result<Box<dyn Server>> {
    serve::<R, _>(connections, false, |mut stream, progress| async move {
        loop {
            let Some(header) = recv_exact::<R>(&mut stream, HEADER).await else { return };
            let length = u32::from_be_bytes(header[..].try_into().expect("four bytes"));
            let payload = recv_exact::<R>(&mut stream, length as usize).await;
            let Some(payload) = payload else { return };
            let mut message = header;
            message.extend(payload);
            let length = message.len();
            let (sent, message) = R::send_all(&mut stream, message, length).await;
            sent.unwrap_or_else(fatal);
            progress.add(message.len());
        }
    })
}

async fn recv_exact<R: Net>(stream: &mut R::Stream, length: usize) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    while whole.len() < length {
        let (received, buffer) = R::recv(stream, vec![0; length - whole.len()]).await;
        let received = received.unwrap_or_else(gone);
        if received == 0 {
            return None;
        }
        if whole.is_empty() && received == length {
            return Some(buffer);
        }
        whole.extend_from_slice(&buffer[..received]);
    }
    Some(whole)
}

/// Spawns a coroutine for each connection.
pub(crate) fn serve<R: Net, F: Future<Output = ()> + 'static>(
    connections: Vec<TcpStream>,
    sends_later: bool,
    serve: impl Fn(R::Stream, Rc<Progress>) -> F + 'static,
) -> io::Result<Box<dyn Server>> {
    let (mut runtime, progress) = (R::new()?, Rc::new(Progress::default()));
    let counted = Rc::clone(&progress);
    let bell = runtime.block_on(async move {
        for connection in connections {
            R::detach(R::spawn(serve(R::stream(connection)?, Rc::clone(&counted))));
        }
        Bell::new()
    })?;
    Ok(Box::new(Served { runtime, progress, sends_later, bell: Some(bell) }))
}

struct Served<R: Net> {
    runtime: R,
    progress: Rc<Progress>,
    sends_later: bool,
    bell: Option<Bell<R>>,
}

impl<R: Net> Server for Served<R> {
    /// The load is a coroutine beside the server's own, or outside of the runtime if answers are
    /// sent later.
    fn turn(&mut self, load: &Rc<Load>, times: usize) -> Spent {
        let progress = &self.progress;
        if self.sends_later {
            let entered = |bytes| {
                let progress = Rc::clone(progress);
                self.runtime.block_on(async move { progress.another(bytes).await });
            };
            return load.turn(times, entered);
        }
        let bell = self.bell.take().expect("a turn gives the bell back");
        let turn = Rc::clone(load).turn_inside(Rc::clone(progress), bell, times);
        let (spent, bell) = self.runtime.block_on(turn);
        self.bell = Some(bell);
        spent
    }

    fn works_in_sends(&self) -> bool {
        R::RECEIVES_IN_SENDS
    }
}

/// At the end of a case the load closes by a reset, which a runtime that outlives its case receives
/// (smol's executor belongs to the thread). It counts as the end of the stream; any other error is
/// fatal.
pub(crate) fn gone(error: io::Error) -> usize {
    if error.kind() == ErrorKind::ConnectionReset { 0 } else { fatal(error) }
}

/// Ends the program: if only the coroutine ended, the load would wait forever.
pub(crate) fn fatal<T>(error: io::Error) -> T {
    eprintln!("a subject's connection failed: {error}");
    process::exit(1)
}

/// Sends back what it receives, each time under a timeout of its own.
pub(crate) fn echo_in_time<R: Net>(
    connections: Vec<TcpStream>,
    length: usize,
) -> io::Result<Box<dyn Server>> {
    serve::<R, _>(connections, false, move |mut stream, progress| async move {
        let mut buffer = vec![0; length];
        loop {
            let received = R::within(LIMIT, R::recv(&mut stream, buffer)).await;
            let (received, filled) = received.expect("a request comes in time");
            let received = received.unwrap_or_else(gone);
            if received == 0 {
                return;
            }
            let sent;
            (sent, buffer) = R::send_all(&mut stream, filled, received).await;
            sent.unwrap_or_else(fatal);
            progress.add(received);
        }
    })
}

/// A timeout that never ends.
const LIMIT: Duration = Duration::from_secs(30);
