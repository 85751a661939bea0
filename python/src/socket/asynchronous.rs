//! What the verbs do for coroutines: the crate's verbs, their values and errors as Python has them.

use std::{future::Future, io};

use asyncoro::{AsyncSocket, addr::Target};
use pyo3::{
    exceptions::PyTimeoutError,
    prelude::*,
    types::{PyByteArray, PyBytes},
};

use super::{Face, PySocket};
use crate::{
    address,
    call::{Outcome, py},
    error::{is_cut, raised, timed_out},
    view::View,
};

/// Most bytes that are queued rather than sent at once: copying more costs as much as the call that
/// it may save.
pub(super) const QUEUED: usize = 16 << 10;

/// Most bytes that are looked at and left where they are, as many as one `recv` takes.
const PEEKED: usize = 64 << 10;

/// The result of a verb, as a call gives it.
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

pub(super) fn bytearray(py: Python<'_>, bytes: &[u8]) -> Outcome {
    Ok(PyByteArray::new(py, bytes).into_any().unbind())
}

pub(super) async fn recv(socket: AsyncSocket, max: usize) -> Outcome {
    match socket.recv_with_limit(max, |got| bytes(py(), got)).await {
        Ok(outcome) => outcome,
        Err(error) => Err(raised(py(), &error)),
    }
}

pub(super) async fn peek(socket: AsyncSocket, max: usize) -> Outcome {
    let mut buffer = vec![0; max.min(PEEKED)];
    let got = socket.peek(&mut buffer).await;
    outcome(got, |py, got| bytes(py, &buffer[..got]))
}

pub(super) async fn recv_into(socket: AsyncSocket, into: View, max: usize) -> Outcome {
    let got = socket.recv_with_limit(max, |got| into.fill(got)).await;
    outcome(got, number)
}

pub(super) async fn recvall(socket: AsyncSocket, count: usize) -> Outcome {
    match socket.recv_all_bytes(count).await {
        Ok(got) => bytearray(py(), &got),
        // What has come is dropped at the end of the stream, as ever, and given at a timeout.
        Err(error) if is_cut(&error) => {
            let _ = socket.recv_with(|_| ()).await;
            bytes(py(), b"")
        }
        Err(error) => match timed_out(&error) {
            Some(done) if done.done > 0 => recv(socket, count).await,
            _ => Err(raised(py(), &error)),
        },
    }
}

pub(super) async fn recv_msg(socket: AsyncSocket) -> Outcome {
    match socket.recv_msg().await {
        Ok(Some(message)) if !message.is_empty() => bytearray(py(), &message),
        // An empty message and the end of the stream look alike, as ever.
        Ok(_) => bytes(py(), b""),
        Err(error) if is_cut(&error) => bytes(py(), b""),
        Err(error) => Err(raised(py(), &error)),
    }
}

pub(super) async fn recvfrom(socket: AsyncSocket, max: usize) -> Outcome {
    let mut buffer = vec![0; max];
    let got = socket.recv_from(&mut buffer).await;
    outcome(got, |py, (got, from)| {
        let pair = (PyBytes::new(py, &buffer[..got]), address::show(py, &from)?);
        Ok(pair.into_pyobject(py)?.into_any().unbind())
    })
}

/// recvfrom on a stream, which knows no sender.
pub(super) async fn recvfrom_stream(socket: AsyncSocket, max: usize) -> Outcome {
    let got = recv(socket, max).await?;
    Ok((got, py().None()).into_pyobject(py())?.into_any().unbind())
}

pub(super) async fn recvfrom_into(socket: AsyncSocket, into: View, max: usize) -> Outcome {
    let mut buffer = vec![0; max];
    let got = socket.recv_from(&mut buffer).await;
    outcome(got, |py, (got, from)| {
        let pair = (into.fill(&buffer[..got]), address::show(py, &from)?);
        Ok(pair.into_pyobject(py)?.into_any().unbind())
    })
}

pub(super) async fn send(socket: AsyncSocket, data: View) -> Outcome {
    outcome(socket.send(data.bytes()).await, number)
}

/// None; after a timeout the bytes that have left, if any. What stays queued counts as sent: it
/// will be.
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

pub(super) async fn sendall(socket: AsyncSocket, data: View) -> Outcome {
    // Nothing is queued behind what waits for the peer: so a timeout tells the truth.
    if data.len() < QUEUED && !socket.is_full() {
        sent(socket.send_queued(data.bytes()).await)
    } else {
        sent(socket.send_all(data.bytes()).await)
    }
}

/// As `sendall`; after a timeout in its midst the rest is still sent, so that the next message is
/// one.
pub(super) async fn send_msg(socket: AsyncSocket, data: View) -> Outcome {
    match socket.send_msg(data.bytes()).await {
        Err(error) if timed_out(&error).is_some_and(|done| done.done > 0) => {
            number(py(), timed_out(&error).map_or(0, |done| done.done))
        }
        result => sent(result),
    }
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

pub(super) async fn connect(socket: AsyncSocket, to: Target) -> Outcome {
    outcome(socket.connect(to).await, |py, ()| number(py, 0))
}

/// Waits until a connection that the regular socket has begun stands, of families that the crate
/// has no addresses of.
pub(super) async fn connected(socket: AsyncSocket) -> Outcome {
    if let Err(error) = socket.writable().await {
        return Err(raised(py(), &error));
    }
    match socket.take_error() {
        Ok(None) => number(py(), 0),
        Ok(Some(error)) | Err(error) => Err(raised(py(), &error)),
    }
}

/// The same, but what it gives is None.
pub(super) async fn quietly(call: impl Future<Output = Outcome>) -> Outcome {
    call.await?;
    Ok(py().None())
}

/// What `recv` with flags does: the regular socket's call, as often as it takes.
pub(super) async fn recv_flags(
    socket: AsyncSocket,
    regular: Py<PyAny>,
    count: usize,
    flags: i32,
) -> Outcome {
    loop {
        match regular.call_method1(py(), "recv", (count, flags)) {
            Err(error)
                if error.is_instance_of::<pyo3::exceptions::PyBlockingIOError>(py())
                    && !error.is_instance_of::<PyTimeoutError>(py()) => {}
            result => return result,
        }
        if let Err(error) = socket.readable().await {
            return Err(raised(py(), &error));
        }
    }
}
