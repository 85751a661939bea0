//! The verbs that receive bytes of a stream.
//!
//! Those for coroutines are `async move` blocks, and box what they seldom wait for: so they fit
//! into the place of a call (`call/place.rs`). An `async fn` keeps its arguments twice.
#![allow(clippy::manual_async_fn, reason = "see above")]

use std::{future::Future, io, task::Poll};

use asyncoro::{AsyncSocket, BlockingSocket};
use pyo3::prelude::*;

use super::{
    calls::Called,
    convert::{bytes, number, numbered, outcome, room, size, wait},
    flagged::PEEKED,
    flags,
    object::{PySocket, poll_once},
};
use crate::{
    call::Outcome,
    error::{is_cut, raised, timed_out},
    exiting, fresh,
    gil::{self, py},
    view::View,
};

/// From this many bytes on, what is received gets memory of its own.
const BULKY: usize = 8 << 10;

/// The most bytes that are allocated before they have come.
const MOST_BULKY: usize = 256 << 10;

#[pymethods]
impl PySocket {
    /// Receives at most `count` bytes, once there are any; b'' at the end of the stream.
    #[pyo3(signature = (bufsize, flags = 0), text_signature = "($self, bufsize, flags=0, /)")]
    pub(super) fn recv(slf: &Bound<'_, Self>, bufsize: isize, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let max = size(bufsize, "recv")?;
        if flags != 0 {
            let arguments = (bufsize, flags).into_pyobject(py)?;
            return PySocket::receive(slf, "AsyncSocket.recv", max, flags, false, arguments, bytes);
        }
        if own.inner(py).is_blocking() {
            let socket = own.blocking(py)?;
            return match max {
                0 => bytes(py, b""),
                _ => bytes(py, &wait(py, || socket.recv_with_limit(max, <[u8]>::to_vec))?),
            };
        }
        PySocket::call(slf, "AsyncSocket.recv", move |own, socket, starting| {
            let (py, own) = (gil::py(), own.clone_ref(gil::py()));
            if max == 0 {
                return starting.done(bytes(py, b""));
            }
            match max >= BULKY && own.get().inner(py).bulky.get() {
                true => starting.poll(recv_bulk(socket, own, max)),
                false => starting.poll(recv(socket, own, max)),
            }
        })
    }

    /// Receives into `buffer`, at most `nbytes` (0: as many as it holds); gives how many.
    #[pyo3(signature = (buffer, nbytes = 0, flags = 0))]
    fn recv_into(
        slf: &Bound<'_, Self>,
        buffer: &Bound<'_, PyAny>,
        nbytes: isize,
        flags: i32,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let into = View::writable(buffer)?;
        let max = room(&into, size(nbytes, "recv_into")?)?;
        if flags != 0 {
            let arguments = (buffer, max, flags).into_pyobject(py)?;
            let fill = move |py: Python<'_>, got: &[u8]| number(py, into.fill(got));
            let name = "AsyncSocket.recv_into";
            return PySocket::receive(slf, name, max, flags, false, arguments, fill);
        }
        if own.inner(py).is_blocking() {
            let socket = own.blocking(py)?;
            let got = wait(py, || socket.recv_with_limit(max, <[u8]>::to_vec))?;
            return number(py, into.fill(&got));
        }
        PySocket::start(slf, "AsyncSocket.recv_into", move |socket| recv_into(socket, into, max))
    }

    /// Receives exactly `count` bytes, a bytearray; b'' if the stream ends before. After a timeout
    /// a coroutine gets what had come.
    #[pyo3(signature = (bufsize, flags = 0))]
    pub(super) fn recvall(slf: &Bound<'_, Self>, bufsize: isize, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let count = size(bufsize, "recvall")?;
        flags::refuse_in_recvall(flags)?;
        if own.inner(py).is_blocking() {
            let socket = own.blocking(py)?;
            return match count {
                0 => bytes(py, b""),
                _ => recvall_waiting(py, &socket, count),
            };
        }
        PySocket::call(slf, "AsyncSocket.recvall", move |_, socket, starting| {
            let py = gil::py();
            if count == 0 {
                return starting.done(bytes(py, b""));
            }
            match recvall_now(py, &socket, count) {
                Some(outcome) => starting.done(outcome),
                None => starting.poll(recvall(socket, count)),
            }
        })
    }

    /// Receives into `buffer`: waits in a thread; of a socket for coroutines it takes what is
    /// there, or raises BlockingIOError.
    fn _read_into(slf: &Bound<'_, Self>, buffer: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            return slf.call_method1("recv_into", (buffer,)).map(Bound::unbind);
        }
        own.check_here(py)?;
        let into = View::writable(buffer)?;
        read_into(py, &own.asynchronous(py)?, &into)
    }
}

fn recv(socket: AsyncSocket, own: Py<PySocket>, max: usize) -> impl Future<Output = Outcome> {
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
fn recv_bulk(socket: AsyncSocket, own: Py<PySocket>, max: usize) -> impl Future<Output = Outcome> {
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

fn recv_into(socket: AsyncSocket, into: View, max: usize) -> impl Future<Output = Outcome> {
    async move {
        let got = socket.recv_with_limit(max, |got| into.fill(got)).await;
        outcome(got, number)
    }
}

fn recvall(socket: AsyncSocket, count: usize) -> impl Future<Output = Outcome> {
    async move {
        let error = match socket.recv_all_bytes(count).await {
            Ok(got) => return fresh::bytearray(py(), got),
            Err(error) => error,
        };
        Box::pin(recvall_failed(socket, count, error)).await
    }
}

/// Receives exactly `count` bytes, if they have come already.
fn recvall_now(py: Python<'_>, socket: &AsyncSocket, count: usize) -> Option<Outcome> {
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

/// Receives exactly `count` bytes, in a thread.
fn recvall_waiting(py: Python<'_>, socket: &BlockingSocket, count: usize) -> Outcome {
    match exiting::detach(py, || socket.recv_all_bytes(count)) {
        Ok(got) => fresh::bytearray_detached(py, got),
        // What has come is dropped, as in coroutines.
        Err(error) if is_cut(&error) => {
            let _ = exiting::detach(py, || socket.recv_with(|_| ()));
            bytes(py, b"")
        }
        Err(error) => Err(raised(py, &error)),
    }
}

/// Receives what is there, or raises BlockingIOError.
fn read_into(py: Python<'_>, socket: &AsyncSocket, into: &View) -> Outcome {
    let mut buffer = vec![0; into.len().min(PEEKED)];
    match numbered(socket.try_recv(&mut buffer)) {
        Ok(count) => number(py, into.fill(&buffer[..count])),
        Err(error) => Err(raised(py, &error)),
    }
}
