//! The verbs that receive up to a delimiter: lines, and what other protocols of text have.
//!
//! Those for coroutines are `async move` blocks, as in `receive.rs`.
#![allow(clippy::manual_async_fn, reason = "see above")]

use std::future::Future;

use asyncoro::{AsyncSocket, bytes::Bytes};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyBytes};

use super::{
    calls::Called,
    convert::{bytes, outcome, size, wait},
    object::PySocket,
};
use crate::{call::Outcome, view::View};

#[pymethods]
impl PySocket {
    /// Receives up to and including `delimiter`, bytes, which must be within the first `max` bytes.
    #[pyo3(signature = (delimiter, max = 65536))]
    fn recv_until(slf: &Bound<'_, Self>, delimiter: &Bound<'_, PyAny>, max: isize) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let delimiter: Box<[u8]> = View::of(delimiter)?.bytes().into();
        if delimiter.is_empty() {
            return Err(PyValueError::new_err("recv_until needs a delimiter"));
        }
        let max = size(max, "recv_until")?;
        if own.inner(py).is_blocking() {
            let socket = own.blocking(py)?;
            return bytes(py, &wait(py, || socket.recv_until(&delimiter, max))?);
        }
        PySocket::start(slf, "AsyncSocket.recv_until", move |socket| {
            recv_until(socket, delimiter, max)
        })
    }

    /// Receives a line of at most `max` bytes, without the `\n` or `\r\n` at its end; None at the
    /// end of the stream.
    #[pyo3(signature = (max = 65536))]
    fn recv_line(slf: &Bound<'_, Self>, max: isize) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let max = size(max, "recv_line")?;
        if own.inner(py).is_blocking() {
            let socket = own.blocking(py)?;
            return line(py, wait(py, || socket.recv_line(max))?);
        }
        PySocket::start(slf, "AsyncSocket.recv_line", move |socket| recv_line(socket, max))
    }
}

fn recv_until(
    socket: AsyncSocket,
    delimiter: Box<[u8]>,
    max: usize,
) -> impl Future<Output = Outcome> {
    async move {
        let got = socket.recv_until(&delimiter, max).await;
        outcome(got, |py, got| bytes(py, &got))
    }
}

fn recv_line(socket: AsyncSocket, max: usize) -> impl Future<Output = Outcome> {
    async move { outcome(socket.recv_line(max).await, line) }
}

/// Converts a line; None is the end of the stream.
fn line(py: Python<'_>, got: Option<Bytes>) -> Outcome {
    Ok(got.map(|line| PyBytes::new(py, &line)).into_pyobject(py)?.unbind())
}
