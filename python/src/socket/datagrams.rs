//! The verbs of datagrams. On a stream those that receive have no sender to tell of.

use asyncoro::{
    AsyncSocket,
    addr::{Address, Target},
};
use pyo3::{
    IntoPyObjectExt,
    prelude::*,
    types::{PyBytes, PyTuple},
};

use super::{
    calls::Called,
    convert::{LONGEST_DATAGRAM, number, outcome, room, size, wait},
    object::PySocket,
    regular::Direction,
};
use crate::{address, call::Outcome, view::View};

#[pymethods]
impl PySocket {
    /// Receives a datagram of at most `bufsize` bytes, and its sender.
    #[pyo3(signature = (bufsize, flags = 0), text_signature = "($self, bufsize, flags=0, /)")]
    fn recvfrom(slf: &Bound<'_, Self>, bufsize: isize, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let max = size(bufsize, "recvfrom")?;
        let arguments = (bufsize, flags).into_pyobject(py)?;
        if own.is_stream(py) {
            let from_nobody = |py: Python<'_>, got: &[u8]| pair(py, PyBytes::new(py, got));
            let name = "AsyncSocket.recvfrom";
            return PySocket::receive(slf, name, max, flags, false, arguments, from_nobody);
        }
        if own.inner(py).is_foreign.get() || flags != 0 {
            return Self::pass(slf, "AsyncSocket.recvfrom", Direction::Receive, flags, arguments);
        }
        if own.inner(py).is_blocking() {
            let (socket, mut buffer) = (own.blocking(py)?, vec![0; max.min(LONGEST_DATAGRAM)]);
            let (got, from) = wait(py, || socket.recv_from(&mut buffer))?;
            return with_sender(py, PyBytes::new(py, &buffer[..got]), &from);
        }
        PySocket::start(slf, "AsyncSocket.recvfrom", move |socket| recvfrom(socket, max))
    }

    /// Receives a datagram into `buffer`; gives how many bytes came, and its sender.
    #[pyo3(signature = (buffer, nbytes = 0, flags = 0))]
    fn recvfrom_into(
        slf: &Bound<'_, Self>,
        buffer: &Bound<'_, PyAny>,
        nbytes: isize,
        flags: i32,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let into = View::writable(buffer)?;
        let max = room(&into, size(nbytes, "recvfrom_into")?)?;
        let arguments = (buffer, max, flags).into_pyobject(py)?;
        if own.is_stream(py) {
            let fill = move |py: Python<'_>, got: &[u8]| pair(py, into.fill(got));
            let name = "AsyncSocket.recvfrom_into";
            return PySocket::receive(slf, name, max, flags, false, arguments, fill);
        }
        if own.inner(py).is_foreign.get() || flags != 0 {
            return Self::pass(
                slf,
                "AsyncSocket.recvfrom_into",
                Direction::Receive,
                flags,
                arguments,
            );
        }
        if own.inner(py).is_blocking() {
            let (socket, mut buffer) = (own.blocking(py)?, vec![0; max.min(LONGEST_DATAGRAM)]);
            let (got, from) = wait(py, || socket.recv_from(&mut buffer))?;
            return with_sender(py, into.fill(&buffer[..got]), &from);
        }
        PySocket::start(slf, "AsyncSocket.recvfrom_into", move |socket| {
            recvfrom_into(socket, into, max)
        })
    }

    /// Sends a datagram: `sendto(data, address)` or `sendto(data, flags, address)`.
    #[pyo3(signature = (data, *rest), text_signature = "($self, data, /, *rest)")]
    fn sendto(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>, rest: &Bound<'_, PyTuple>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let flags = if rest.len() == 2 { rest.get_item(0)?.extract()? } else { 0 };
        let to = match rest.len() {
            1 => Some(rest.get_item(0)?),
            2 if flags == 0 => Some(rest.get_item(1)?),
            _ => None,
        };
        let is_ours = !own.inner(py).is_foreign.get() && !own.is_stream(py);
        let Some(to) = to.filter(|_| is_ours) else {
            let arguments = [data.clone()].into_iter().chain(rest.iter());
            let arguments = PyTuple::new(py, arguments.collect::<Vec<_>>())?;
            return Self::pass(slf, "AsyncSocket.sendto", Direction::Send, flags, arguments);
        };
        let data = View::of(data)?;
        let to = address::read(&to, own.family(py)?)?;
        if own.inner(py).is_blocking() {
            let socket = own.blocking(py)?;
            return number(py, wait(py, || socket.send_to(data.bytes(), to))?);
        }
        PySocket::start(slf, "AsyncSocket.sendto", move |socket| sendto(socket, data, to))
    }
}

async fn recvfrom(socket: AsyncSocket, max: usize) -> Outcome {
    let mut buffer = vec![0; max.min(LONGEST_DATAGRAM)];
    let got = socket.recv_from(&mut buffer).await;
    outcome(got, |py, (got, from)| with_sender(py, PyBytes::new(py, &buffer[..got]), &from))
}

async fn recvfrom_into(socket: AsyncSocket, into: View, max: usize) -> Outcome {
    let mut buffer = vec![0; max.min(LONGEST_DATAGRAM)];
    let got = socket.recv_from(&mut buffer).await;
    outcome(got, |py, (got, from)| with_sender(py, into.fill(&buffer[..got]), &from))
}

async fn sendto(socket: AsyncSocket, data: View, to: Target) -> Outcome {
    outcome(socket.send_to(data.bytes(), to).await, number)
}

/// Makes the result of a datagram; a sender without a name is None, as in `socket`.
fn with_sender<'py, T>(py: Python<'py>, got: T, from: &Address) -> Outcome
where
    T: IntoPyObjectExt<'py>,
{
    let is_unnamed = matches!(from, Address::Unix(from) if from.is_unnamed());
    let from = if is_unnamed { py.None() } else { address::show(py, from)? };
    let pair = (got.into_py_any(py)?, from);
    Ok(pair.into_pyobject(py)?.into_any().unbind())
}

/// Makes the result of a stream, which knows no sender.
fn pair<'py, T>(py: Python<'py>, got: T) -> Outcome
where
    T: IntoPyObjectExt<'py>,
{
    Ok((got.into_py_any(py)?, py.None()).into_pyobject(py)?.into_any().unbind())
}
