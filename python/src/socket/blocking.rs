//! Implements the verbs in threads: calls the crate's blocking verbs with the GIL released.

use std::{cell::Cell, io};

use asyncoro::BlockingSocket;
use pyo3::prelude::*;

use super::{
    Face, Inner, PySocket,
    asynchronous::{LONGEST_DATAGRAM, bytes, has_rest, number, numbered, would_block},
    flags::Receiving,
};
use crate::{
    address,
    call::Outcome,
    error::{is_cut, raised, timed_out},
    exiting, fresh,
    view::View,
};

/// Lets signals end the waits of this thread: Python's handlers run, and what one raises ends the
/// verb.
pub(super) fn heed_signals() {
    thread_local! {
        static HEEDS: Cell<bool> = const { Cell::new(false) };
    }
    if !HEEDS.replace(true) {
        BlockingSocket::on_interrupt(|| {
            // Nobody gets the GIL of an interpreter that is ending.
            let heeded = Python::try_attach(|py| py.check_signals());
            heeded.unwrap_or(Ok(())).map_err(io::Error::other)
        });
    }
}

/// Runs a verb without the GIL.
fn wait<T: Send>(py: Python<'_>, verb: impl FnOnce() -> io::Result<T> + Send) -> PyResult<T> {
    exiting::detach(py, verb).map_err(|error| raised(py, &error))
}

pub(super) fn recv(py: Python<'_>, socket: &BlockingSocket, max: usize) -> Outcome {
    let got = wait(py, || socket.recv_with_limit(max, <[u8]>::to_vec))?;
    bytes(py, &got)
}

/// Receives from a stream, as `how` says.
pub(super) fn receive(
    py: Python<'_>,
    socket: &BlockingSocket,
    max: usize,
    how: Receiving,
) -> PyResult<Vec<u8>> {
    if max == 0 {
        return Ok(Vec::new());
    }
    wait(py, || match how {
        Receiving::Some => socket.recv_with_limit(max, <[u8]>::to_vec),
        Receiving::All => match socket.recv_all_bytes(max) {
            Ok(got) => Ok(got.to_vec()),
            Err(error) if has_rest(&error) => socket.recv_with_limit(max, <[u8]>::to_vec),
            Err(error) => Err(error),
        },
        Receiving::AtOnce => filled(max, |buffer| numbered(socket.try_recv(buffer))),
        Receiving::Peek => filled(max, |buffer| socket.peek(buffer)),
        Receiving::PeekAtOnce if socket.has_received() => filled(max, |buffer| socket.peek(buffer)),
        Receiving::PeekAtOnce => Err(would_block()),
    })
}

/// Fills a new buffer of at most `max` bytes.
fn filled(max: usize, fill: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; max.min(LONGEST_DATAGRAM)];
    let count = fill(&mut buffer)?;
    buffer.truncate(count);
    Ok(buffer)
}

/// Sends what the system takes now, or raises BlockingIOError.
pub(super) fn send_at_once(py: Python<'_>, socket: &BlockingSocket, data: &View) -> Outcome {
    number(py, wait(py, || numbered(socket.try_send(data.bytes())))?)
}

pub(super) fn recv_into(
    py: Python<'_>,
    socket: &BlockingSocket,
    into: &View,
    max: usize,
) -> Outcome {
    let got = wait(py, || socket.recv_with_limit(max, <[u8]>::to_vec))?;
    number(py, into.fill(&got))
}

pub(super) fn recvall(py: Python<'_>, socket: &BlockingSocket, count: usize) -> Outcome {
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

pub(super) fn recv_msg(py: Python<'_>, socket: &BlockingSocket) -> Outcome {
    match exiting::detach(py, || socket.recv_msg()) {
        Ok(Some(message)) if !message.is_empty() => fresh::bytearray_detached(py, message),
        Ok(_) => bytes(py, b""),
        Err(error) if is_cut(&error) => bytes(py, b""),
        Err(error) => Err(raised(py, &error)),
    }
}

pub(super) fn recvfrom(py: Python<'_>, socket: &BlockingSocket, max: usize) -> Outcome {
    let mut buffer = vec![0; max.min(LONGEST_DATAGRAM)];
    let (got, from) = wait(py, || socket.recv_from(&mut buffer))?;
    let pair = (pyo3::types::PyBytes::new(py, &buffer[..got]), address::show(py, &from)?);
    Ok(pair.into_pyobject(py)?.into_any().unbind())
}

pub(super) fn recvfrom_into(
    py: Python<'_>,
    socket: &BlockingSocket,
    into: &View,
    max: usize,
) -> Outcome {
    let mut buffer = vec![0; max.min(LONGEST_DATAGRAM)];
    let (got, from) = wait(py, || socket.recv_from(&mut buffer))?;
    let pair = (into.fill(&buffer[..got]), address::show(py, &from)?);
    Ok(pair.into_pyobject(py)?.into_any().unbind())
}

pub(super) fn send(py: Python<'_>, socket: &BlockingSocket, data: &View) -> Outcome {
    number(py, wait(py, || socket.send(data.bytes()))?)
}

/// Sends all of `data`; TimeoutError after a timeout, however much was sent.
pub(super) fn sendall(py: Python<'_>, socket: &BlockingSocket, data: &View) -> Outcome {
    sent(py, exiting::detach(py, || socket.send_all(data.bytes())))
}

pub(super) fn send_msg(py: Python<'_>, socket: &BlockingSocket, data: &View) -> Outcome {
    sent(py, exiting::detach(py, || socket.send_msg(data.bytes())))
}

fn sent(py: Python<'_>, result: io::Result<()>) -> Outcome {
    match result {
        Ok(()) => Ok(py.None()),
        Err(error) if timed_out(&error).is_some_and(|done| done.rest_queued) => Ok(py.None()),
        Err(error) => Err(raised(py, &error)),
    }
}

pub(super) fn sendto(
    py: Python<'_>,
    socket: &BlockingSocket,
    data: &View,
    to: asyncoro::addr::Target,
) -> Outcome {
    number(py, wait(py, || socket.send_to(data.bytes(), to))?)
}

pub(super) fn flush(py: Python<'_>, socket: &BlockingSocket) -> Outcome {
    wait(py, || socket.flush())?;
    Ok(py.None())
}

pub(super) fn accept(py: Python<'_>, socket: &BlockingSocket, listener: &Inner) -> Outcome {
    let (connection, from) = wait(py, || socket.accept())?;
    let face = Face::Blocking(connection);
    let connection = PySocket::accepted(py, face, listener, listener.secure.get())?;
    Ok((connection, address::show(py, &from)?).into_pyobject(py)?.into_any().unbind())
}
