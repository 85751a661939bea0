//! Implements the verbs for coroutines: calls the crate's, and converts their values and errors.
//!
//! Frequent ones are `async move` blocks, and box what they seldom wait for: so they fit into the
//! place of a call (`place.rs`). An `async fn` keeps its arguments twice.
#![allow(clippy::manual_async_fn, reason = "see above")]

use std::{
    future::Future,
    io,
    net::Shutdown,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use asyncoro::{AsyncSocket, addr::Target, bytes::Bytes, time};
use pyo3::{
    exceptions::{PyBlockingIOError, PyTimeoutError},
    prelude::*,
    types::{PyBytes, PyTuple},
};

use super::{
    Face, PySocket,
    flags::{self, Receiving},
    poll_once,
};
use crate::{
    address,
    call::{self, Outcome, py},
    engine,
    error::{is_cut, raised, timed_out},
    fresh, hooks,
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
        // Nothing is queued behind what waits for the peer: so a timeout counts correctly.
        if socket.is_full()
            && let Err(error) = socket.writable().await
        {
            return Err(raised(py(), &error));
        }
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
        let queued = data.len() < QUEUED && !socket.is_full();
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
    pub(super) verb: &'static str,
    pub(super) arguments: Py<PyTuple>,
    pub(super) direction: Direction,
    /// Those among the arguments.
    pub(super) flags: i32,
}

/// What a call of the regular socket's waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Receive,
    Send,
}

impl Direction {
    /// Waits until the socket is ready; before a send, until what is queued has left.
    async fn ready(self, socket: &AsyncSocket) -> io::Result<()> {
        match self {
            Direction::Receive => socket.readable().await,
            Direction::Send => socket.writable().await,
        }
    }
}

/// Returns whether a call of the regular socket's would have to wait.
fn would_wait(result: &Outcome) -> bool {
    let py = py();
    result.as_ref().err().is_some_and(|error| {
        error.is_instance_of::<PyBlockingIOError>(py) && !error.is_instance_of::<PyTimeoutError>(py)
    })
}

/// Repeats the regular socket's call until it need not wait. A send comes behind what is queued.
pub(super) async fn passed(socket: AsyncSocket, own: Py<PySocket>, passed: Passed) -> Outcome {
    let fails = |error: io::Error| raised(py(), &error);
    let waits = !flags::has_dont_wait(passed.flags);
    loop {
        if passed.direction == Direction::Send {
            socket.flush().await.map_err(fails)?;
        }
        // Each time: TLS may have begun, or another coroutine may have read ahead.
        let regular = own.get().regular_for(py(), passed.direction, passed.flags)?;
        let result = regular.call_method1(py(), passed.verb, passed.arguments.bind(py()));
        if !waits || !would_wait(&result) {
            return result;
        }
        passed.direction.ready(&socket).await.map_err(fails)?;
    }
}

/// Sends all of `data` by the regular socket, with flags, behind what is queued.
pub(super) async fn pass_all(
    socket: AsyncSocket,
    own: Py<PySocket>,
    data: View,
    flags: i32,
) -> Outcome {
    let mut sent = 0;
    while sent < data.len() {
        let rest = PyBytes::new(py(), &data.bytes()[sent..]);
        let arguments = (rest, flags).into_pyobject(py())?.unbind();
        // One that would not wait may wait here: all is to be sent.
        let passed = Passed { verb: "send", arguments, direction: Direction::Send, flags: 0 };
        let count = self::passed(socket.clone(), own.clone_ref(py()), passed).await?;
        sent += count.extract::<usize>(py())?;
    }
    Ok(py().None())
}

/// Receives from a stream, as `how` says, and converts what has come.
pub(super) async fn receive(
    socket: AsyncSocket,
    max: usize,
    how: Receiving,
    convert: impl FnOnce(Python<'_>, &[u8]) -> Outcome,
) -> Outcome {
    let got = match how {
        _ if max == 0 => Ok(Vec::new()),
        Receiving::Some => socket.recv_with_limit(max, <[u8]>::to_vec).await,
        Receiving::All => receive_all(&socket, max).await,
        Receiving::Peek => peek_some(&socket, max).await,
        Receiving::AtOnce => at_once(|| socket.recv_with_limit(max, <[u8]>::to_vec)).await,
        Receiving::PeekAtOnce => at_once(|| peek_some(&socket, max)).await,
    };
    match got {
        Ok(got) => convert(py(), &got),
        Err(error) => Err(raised(py(), &error)),
    }
}

/// Receives `max` bytes, or what there is before the end of the stream or at a timeout.
async fn receive_all(socket: &AsyncSocket, max: usize) -> io::Result<Vec<u8>> {
    match socket.recv_all_bytes(max).await {
        Ok(got) => Ok(got.to_vec()),
        Err(error) if has_rest(&error) => socket.recv_with_limit(max, <[u8]>::to_vec).await,
        Err(error) => Err(error),
    }
}

/// Returns whether bytes came before the stream ended, or a timeout was over; the socket has them.
pub(super) fn has_rest(error: &io::Error) -> bool {
    is_cut(error) || timed_out(error).is_some_and(|done| done.done > 0)
}

async fn peek_some(socket: &AsyncSocket, max: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; max.min(PEEKED)];
    let count = socket.peek(&mut buffer).await?;
    buffer.truncate(count);
    Ok(buffer)
}

/// Makes one attempt of a verb, and one more after the kernel was asked; `WouldBlock` if it has to
/// wait, and then it has done nothing.
async fn at_once<T, F>(verb: impl Fn() -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    if let Poll::Ready(result) = poll_once(verb()) {
        return result;
    }
    time::sleep(Duration::ZERO).await;
    match poll_once(verb()) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(would_block()),
    }
}

/// Gives the error of what would have to wait its number.
pub(super) fn numbered<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => would_block(),
        _ => error,
    })
}

/// Receives what is there, or raises BlockingIOError.
pub(super) fn read_into(py: Python<'_>, socket: &AsyncSocket, into: &View) -> Outcome {
    let mut buffer = vec![0; into.len().min(PEEKED)];
    match numbered(socket.try_recv(&mut buffer)) {
        Ok(count) => number(py, into.fill(&buffer[..count])),
        Err(error) => Err(raised(py, &error)),
    }
}

/// Returns the error of what does not wait.
pub(super) fn would_block() -> io::Error {
    io::Error::from_raw_os_error(AGAIN)
}

/// EAGAIN, as Linux has it.
const AGAIN: i32 = 11;

/// Sends what the system takes now, or raises BlockingIOError.
pub(super) async fn send_at_once(socket: AsyncSocket, data: View) -> Outcome {
    outcome(at_once(|| socket.send(data.bytes())).await, number)
}

/// Sends what the system takes now, or raises BlockingIOError, without asking it again.
pub(super) fn write(py: Python<'_>, socket: &AsyncSocket, data: &View) -> Outcome {
    match numbered(socket.try_send(data.bytes())) {
        Ok(count) => number(py, count),
        Err(error) => Err(raised(py, &error)),
    }
}

/// Ends a direction of the connection, behind what is queued; in the background if that has to
/// wait.
pub(super) fn shutdown(py: Python<'_>, socket: AsyncSocket, how: Shutdown) -> PyResult<()> {
    let ending = async move {
        let ended = socket.shutdown(how).await;
        ended.map_err(|error| raised(call::py(), &error))
    };
    let log = |result: PyResult<()>| {
        if let Err(error) = result {
            hooks::debug(call::py(), &format!("a shutdown has failed: {error}"));
        }
    };
    if !engine::is_here() {
        return engine::spawn(py, async move { log(ending.await) });
    }
    let mut ending: Pin<Box<dyn Future<Output = PyResult<()>>>> = Box::pin(ending);
    match ending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => engine::spawn(py, async move { log(ending.await) }),
    }
}
