//! Implements the verbs for coroutines: calls the crate's, and converts their values and errors.
//!
//! Frequent ones are `async move` blocks, and box what they seldom wait for: so they fit into the
//! place of a call (`place.rs`). An `async fn` keeps its arguments twice.
#![allow(clippy::manual_async_fn, reason = "see above")]

use std::{future::Future, io, task::Poll};

use asyncoro::{AsyncSocket, addr::Target, bytes::Bytes};
use pyo3::{
    exceptions::PyTimeoutError,
    prelude::*,
    types::{PyBytes, PyTuple},
};

use super::{Face, PySocket, poll_once};
use crate::{
    address,
    call::{Outcome, py},
    error::{is_cut, raised, timed_out},
    fresh,
    view::{Data, View},
};

/// Fewer bytes are queued rather than sent at once: copying more costs as much as the call that it
/// may save.
pub(super) const QUEUED: usize = 16 << 10;

/// From this many bytes on, what is received gets memory of its own.
pub(super) const BULKY: usize = 8 << 10;

/// The most bytes that are allocated before they have come.
const MOST_BULKY: usize = 256 << 10;

/// The longest buffer of a datagram, whatever a program asks for.
pub(super) const LONGEST_DATAGRAM: usize = 64 << 20;

/// The most bytes that are peeked at, as many as one `recv` takes.
const PEEKED: usize = 64 << 10;

/// Converts the result of a verb to that of a call.
fn outcome<T>(result: io::Result<T>, value: impl FnOnce(Python<'_>, T) -> Outcome) -> Outcome {
    match result {
        Ok(it) => value(py(), it),
        Err(error) => Err(raised(py(), &error)),
    }
}

fn none(py: Python<'_>, (): ()) -> Outcome {
    Ok(py.None())
}

pub(super) fn number(py: Python<'_>, count: usize) -> Outcome {
    Ok(count.into_pyobject(py)?.into_any().unbind())
}

pub(super) fn bytes(py: Python<'_>, bytes: &[u8]) -> Outcome {
    Ok(PyBytes::new(py, bytes).into_any().unbind())
}

pub(super) fn recv(
    socket: AsyncSocket,
    own: Py<PySocket>,
    max: usize,
) -> impl Future<Output = Outcome> {
    async move {
        let received = socket.recv_with_limit(max, |got| {
            own.get().inner(py()).bulky.set(got.len() >= BULKY);
            bytes(py(), got)
        });
        match received.await {
            Ok(outcome) => outcome,
            Err(error) => Err(raised(py(), &error)),
        }
    }
}

/// Receives without a copy, for a socket whose last `recv` got much.
pub(super) fn recv_bulk(
    socket: AsyncSocket,
    own: Py<PySocket>,
    max: usize,
) -> impl Future<Output = Outcome> {
    async move {
        let room = max.min(MOST_BULKY);
        match fresh::recv(&socket, room).await {
            Ok(got) => {
                let got = got?.into_bound(py());
                own.get().inner(py()).bulky.set(got.as_bytes().len() >= BULKY);
                Ok(got.into_any().unbind())
            }
            Err(error) => Err(raised(py(), &error)),
        }
    }
}

pub(super) async fn peek(socket: AsyncSocket, max: usize) -> Outcome {
    let mut buffer = vec![0; max.min(PEEKED)];
    let got = socket.peek(&mut buffer).await;
    outcome(got, |py, got| bytes(py, &buffer[..got]))
}

pub(super) fn recv_into(
    socket: AsyncSocket,
    into: View,
    max: usize,
) -> impl Future<Output = Outcome> {
    async move {
        let got = socket.recv_with_limit(max, |got| into.fill(got)).await;
        outcome(got, number)
    }
}

pub(super) fn recvall(socket: AsyncSocket, count: usize) -> impl Future<Output = Outcome> {
    async move {
        let error = match socket.recv_all_bytes(count).await {
            Ok(got) => return fresh::bytearray(py(), got),
            Err(error) => error,
        };
        Box::pin(recvall_failed(socket, count, error)).await
    }
}

/// Receives exactly `count` bytes, if they have come already.
pub(super) fn recvall_now(py: Python<'_>, socket: &AsyncSocket, count: usize) -> Option<Outcome> {
    if !socket.has_received() {
        return None;
    }
    match poll_once(socket.recv_all_bytes(count)) {
        Poll::Ready(Ok(got)) => Some(fresh::bytearray(py, got)),
        // The system reports other errors only once.
        Poll::Ready(Err(error)) if !is_cut(&error) && timed_out(&error).is_none() => {
            Some(Err(raised(py, &error)))
        }
        _ => None,
    }
}

/// Drops what has come at the end of the stream, and gives it at a timeout.
async fn recvall_failed(socket: AsyncSocket, count: usize, error: io::Error) -> Outcome {
    if is_cut(&error) {
        drop(socket.recv_with(|_| ()).await);
        return bytes(py(), b"");
    }
    match timed_out(&error) {
        Some(done) if done.done > 0 => {
            match socket.recv_with_limit(count, |got| bytes(py(), got)).await {
                Ok(outcome) => outcome,
                Err(error) => Err(raised(py(), &error)),
            }
        }
        _ => Err(raised(py(), &error)),
    }
}

pub(super) fn recv_msg(socket: AsyncSocket) -> impl Future<Output = Outcome> {
    async move { message(py(), socket.recv_msg().await) }
}

/// Receives a message, if it has come already.
pub(super) fn recv_msg_now(py: Python<'_>, socket: &AsyncSocket) -> Option<Outcome> {
    if !socket.has_received() {
        return None;
    }
    match poll_once(socket.recv_msg()) {
        Poll::Ready(received) => Some(message(py, received)),
        Poll::Pending => None,
    }
}

/// Converts a message; an empty one and the end of the stream look alike.
fn message(py: Python<'_>, received: io::Result<Option<Bytes>>) -> Outcome {
    match received {
        Ok(Some(message)) if !message.is_empty() => fresh::bytearray(py, message),
        Ok(_) => bytes(py, b""),
        Err(error) if is_cut(&error) => bytes(py, b""),
        Err(error) => Err(raised(py, &error)),
    }
}

pub(super) async fn recvfrom(socket: AsyncSocket, max: usize) -> Outcome {
    let mut buffer = vec![0; max.min(LONGEST_DATAGRAM)];
    let got = socket.recv_from(&mut buffer).await;
    outcome(got, |py, (got, from)| {
        let pair = (PyBytes::new(py, &buffer[..got]), address::show(py, &from)?);
        Ok(pair.into_pyobject(py)?.into_any().unbind())
    })
}

/// Receives from a stream, which knows no sender.
pub(super) async fn recvfrom_stream(socket: AsyncSocket, own: Py<PySocket>, max: usize) -> Outcome {
    let got = recv(socket, own, max).await?;
    Ok((got, py().None()).into_pyobject(py())?.into_any().unbind())
}

pub(super) async fn recvfrom_into(socket: AsyncSocket, into: View, max: usize) -> Outcome {
    let mut buffer = vec![0; max.min(LONGEST_DATAGRAM)];
    let got = socket.recv_from(&mut buffer).await;
    outcome(got, |py, (got, from)| {
        let pair = (into.fill(&buffer[..got]), address::show(py, &from)?);
        Ok(pair.into_pyobject(py)?.into_any().unbind())
    })
}

pub(super) fn send(socket: AsyncSocket, data: View) -> impl Future<Output = Outcome> {
    async move { outcome(socket.send(data.bytes()).await, number) }
}

/// Converts the result of a send: None, or after a timeout the bytes that were sent, if any. What
/// stays queued counts as sent: it will be.
fn sent(result: io::Result<()>) -> Outcome {
    let error = match result {
        Ok(()) => return Ok(py().None()),
        Err(error) => error,
    };
    match timed_out(&error) {
        Some(done) if done.rest_queued => Ok(py().None()),
        Some(done) if done.done > 0 => number(py(), done.done),
        _ => Err(raised(py(), &error)),
    }
}

pub(super) fn sendall(socket: AsyncSocket, data: View) -> impl Future<Output = Outcome> {
    async move {
        // Nothing is queued behind what waits for the peer: so a timeout counts correctly.
        if data.len() < QUEUED && !socket.is_full() {
            sent(socket.send_queued(data.bytes()).await)
        } else {
            sent(socket.send_all(data.bytes()).await)
        }
    }
}

/// Sends all of `data`, if it can be queued at once.
pub(super) fn sendall_now(py: Python<'_>, socket: &AsyncSocket, data: &Data) -> Option<Outcome> {
    data.lend(py, |data| {
        if data.is_empty() {
            return Some(Ok(py.None()));
        }
        let queued = data.len() < QUEUED && !socket.is_full();
        queued.then(|| ready(poll_once(socket.send_queued(data))))?
    })
}

/// Converts the result of a verb that queues; `None` if it has to wait.
fn ready(polled: Poll<io::Result<()>>) -> Option<Outcome> {
    match polled {
        Poll::Ready(result) => Some(sent(result)),
        Poll::Pending => None,
    }
}

/// Sends a message; after a timeout in its midst the rest is still sent, so that the next one can
/// follow.
pub(super) fn send_msg(socket: AsyncSocket, data: View) -> impl Future<Output = Outcome> {
    async move {
        match socket.send_msg(data.bytes()).await {
            Err(error) if timed_out(&error).is_some_and(|done| done.done > 0) => {
                number(py(), timed_out(&error).map_or(0, |done| done.done))
            }
            result => sent(result),
        }
    }
}

/// Sends a message, if it can be queued at once.
pub(super) fn send_msg_now(py: Python<'_>, socket: &AsyncSocket, data: &Data) -> Option<Outcome> {
    data.lend(py, |data| {
        let queued = data.len() < QUEUED;
        queued.then(|| ready(poll_once(socket.send_msg(data))))?
    })
}

pub(super) async fn sendto(socket: AsyncSocket, data: View, to: Target) -> Outcome {
    outcome(socket.send_to(data.bytes(), to).await, number)
}

pub(super) async fn flush(socket: AsyncSocket) -> Outcome {
    outcome(socket.flush().await, none)
}

pub(super) async fn accept(socket: AsyncSocket, listener: Py<PySocket>) -> Outcome {
    outcome(socket.accept().await, |py, (connection, from)| {
        let listener = listener.get().inner(py);
        let face = Face::Asynchronous(connection);
        let connection = PySocket::accepted(py, face, listener, listener.secure.get())?;
        Ok((connection, address::show(py, &from)?).into_pyobject(py)?.into_any().unbind())
    })
}

/// A connection that is about to be made.
pub(super) struct Connecting {
    pub(super) socket: AsyncSocket,
    /// `None` if the regular socket has begun it, to an address that the crate has not.
    pub(super) to: Option<Target>,
}

impl Connecting {
    /// Connects; gives None if `quiet`, else 0.
    pub(super) async fn run(self, quiet: bool) -> Outcome {
        let connected = match self.to {
            Some(to) => self.socket.connect(to).await,
            None => connected(self.socket).await,
        };
        outcome(connected, |py, ()| if quiet { Ok(py.None()) } else { number(py, 0) })
    }
}

/// Waits for a connection that the system makes.
async fn connected(socket: AsyncSocket) -> io::Result<()> {
    socket.writable().await?;
    socket.take_error()?.map_or(Ok(()), Err)
}

pub(super) async fn start_tls(socket: AsyncSocket, tls: asyncoro::Tls) -> Outcome {
    outcome(socket.start_tls(tls).await, none)
}

/// A call of the regular socket's.
pub(super) struct Passed {
    pub(super) regular: Py<PyAny>,
    pub(super) verb: &'static str,
    pub(super) arguments: Py<PyTuple>,
    pub(super) direction: Direction,
}

/// What a call of the regular socket's waits for.
pub(super) enum Direction {
    Receive,
    Send,
}

/// Repeats the regular socket's call until it need not wait.
pub(super) async fn passed(socket: AsyncSocket, passed: Passed) -> Outcome {
    loop {
        match passed.regular.call_method1(py(), passed.verb, passed.arguments.bind(py())) {
            Err(error)
                if error.is_instance_of::<pyo3::exceptions::PyBlockingIOError>(py())
                    && !error.is_instance_of::<PyTimeoutError>(py()) => {}
            result => return result,
        }
        let waited = match passed.direction {
            Direction::Receive => socket.readable().await,
            Direction::Send => socket.writable().await,
        };
        if let Err(error) = waited {
            return Err(raised(py(), &error));
        }
    }
}
