//! The verbs of messages.
//!
//! Those for coroutines are `async move` blocks, as in `receive.rs`.
#![allow(clippy::manual_async_fn, reason = "see above")]

use std::{future::Future, io, task::Poll};

use asyncoro::{AsyncSocket, BlockingSocket, bytes::Bytes};
use pyo3::{exceptions::PyValueError, prelude::*};

use super::{
    calls::Called,
    convert::{bytes, number},
    object::{PySocket, poll_once},
    send::{QUEUED, ready, sent, sent_waiting},
};
use crate::{
    call::Outcome,
    error::{is_cut, raised, timed_out},
    exiting, fresh,
    gil::{self, py},
    view::{Data, View},
};

#[pymethods]
impl PySocket {
    /// Receives a message of `send_msg`, a bytearray; b'' for an empty one, and at the end of the
    /// stream.
    fn recv_msg(slf: &Bound<'_, Self>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            return recv_msg_waiting(py, &own.blocking(py)?);
        }
        PySocket::call(slf, "AsyncSocket.recv_msg", move |_, socket, starting| {
            match recv_msg_now(gil::py(), &socket) {
                Some(outcome) => starting.done(outcome),
                None => starting.poll(recv_msg(socket)),
            }
        })
    }

    /// Sends `data` as a message: its length in 4 bytes, big-endian, then its bytes.
    pub(super) fn send_msg(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let data = Data::of(data)?;
        if data.lend(py, |data| u32::try_from(data.len()).is_err()) {
            return Err(PyValueError::new_err("a message has at most 4 GiB - 1"));
        }
        if own.inner(py).is_blocking() {
            let (socket, data) = (own.blocking(py)?, data.hold(py)?);
            return sent_waiting(py, exiting::detach(py, || socket.send_msg(data.bytes())));
        }
        PySocket::call(slf, "AsyncSocket.send_msg", move |_, socket, starting| {
            if let Some(outcome) = send_msg_now(gil::py(), &socket, &data) {
                return starting.done(outcome);
            }
            match data.hold(gil::py()) {
                Ok(data) => starting.poll(send_msg(socket, data)),
                Err(error) => starting.done(Err(error)),
            }
        })
    }
}

fn recv_msg(socket: AsyncSocket) -> impl Future<Output = Outcome> {
    async move { message(py(), socket.recv_msg().await) }
}

/// Receives a message, if it has come already.
fn recv_msg_now(py: Python<'_>, socket: &AsyncSocket) -> Option<Outcome> {
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

/// Receives a message, in a thread.
fn recv_msg_waiting(py: Python<'_>, socket: &BlockingSocket) -> Outcome {
    match exiting::detach(py, || socket.recv_msg()) {
        Ok(Some(message)) if !message.is_empty() => fresh::bytearray_detached(py, message),
        Ok(_) => bytes(py, b""),
        Err(error) if is_cut(&error) => bytes(py, b""),
        Err(error) => Err(raised(py, &error)),
    }
}

/// Sends a message; after a timeout in its midst the rest is still sent, so that the next one can
/// follow.
fn send_msg(socket: AsyncSocket, data: View) -> impl Future<Output = Outcome> {
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
fn send_msg_now(py: Python<'_>, socket: &AsyncSocket, data: &Data) -> Option<Outcome> {
    data.lend(py, |data| {
        let queued = data.len() < QUEUED && !socket.is_full();
        queued.then(|| ready(poll_once(socket.send_msg(data))))?
    })
}
