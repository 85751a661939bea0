//! The verbs that receive with flags or ancillary data: from what the socket has received, or by
//! the system where only that knows.

use std::{future::Future, io, task::Poll, time::Duration};

use asyncoro::{AsyncSocket, BlockingSocket, time};
use pyo3::{
    IntoPyObjectExt,
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyList, PyTuple},
};

use super::{
    calls::{Called, verb_of},
    convert::{LONGEST_DATAGRAM, has_rest, numbered, size, wait, would_block},
    flags::Receiving,
    object::{PySocket, poll_once},
    passed::Passed,
    regular::Direction,
};
use crate::{
    call::Outcome,
    error::raised,
    gil::{self, py},
    view::View,
};

/// The most bytes that are peeked at, as many as one `recv` takes.
pub(super) const PEEKED: usize = 64 << 10;

#[pymethods]
impl PySocket {
    /// Receives bytes and ancillary data: gives (data, ancillary data, flags, address). With TLS,
    /// and of bytes that were read ahead, there is no ancillary data.
    #[pyo3(signature = (bufsize, ancbufsize = 0, flags = 0),
        text_signature = "($self, bufsize, ancbufsize=0, flags=0, /)")]
    fn recvmsg(slf: &Bound<'_, Self>, bufsize: isize, ancbufsize: isize, flags: i32) -> Called {
        let max = size(bufsize, "recvmsg")?;
        check_ancillary(ancbufsize)?;
        let arguments = (bufsize, ancbufsize, flags).into_pyobject(slf.py())?;
        PySocket::receive(slf, "AsyncSocket.recvmsg", max, flags, true, arguments, message)
    }

    /// Receives as `recvmsg` does, into several buffers; gives the number of bytes in place of
    /// them.
    #[pyo3(signature = (buffers, ancbufsize = 0, flags = 0),
        text_signature = "($self, buffers, ancbufsize=0, flags=0, /)")]
    fn recvmsg_into(
        slf: &Bound<'_, Self>,
        buffers: &Bound<'_, PyAny>,
        ancbufsize: isize,
        flags: i32,
    ) -> Called {
        check_ancillary(ancbufsize)?;
        let buffers: Vec<_> = buffers.try_iter()?.collect::<PyResult<_>>()?;
        let views: Vec<_> = buffers.iter().map(View::writable).collect::<PyResult<_>>()?;
        let max = views.iter().map(View::len).sum();
        let arguments = (buffers, ancbufsize, flags).into_pyobject(slf.py())?;
        let fill = move |py: Python<'_>, got: &[u8]| {
            let mut filled = 0;
            for view in &views {
                filled += view.fill(&got[filled..]);
            }
            with_nothing(py, filled)
        };
        PySocket::receive(slf, "AsyncSocket.recvmsg_into", max, flags, true, arguments, fill)
    }
}

impl PySocket {
    /// Receives with flags, and converts what has come. `arguments` are those of the regular
    /// socket's method, which is called for what only the system knows: some flags, `ancillary`
    /// data where there may be any, and datagrams.
    #[allow(clippy::too_many_arguments, reason = "those of a method, and what it gives")]
    pub(super) fn receive<'py, C>(
        slf: &Bound<'py, Self>,
        name: &'static str,
        max: usize,
        flags: i32,
        ancillary: bool,
        arguments: Bound<'py, PyTuple>,
        convert: C,
    ) -> Called
    where
        C: FnOnce(Python<'_>, &[u8]) -> Outcome + 'static,
    {
        let (py, own) = (slf.py(), slf.get());
        let (verb, direction) = (verb_of(name), Direction::Receive);
        let passed = Passed { verb, arguments: arguments.unbind(), direction, flags };
        let asked = Asked { max, ancillary, passed };
        if own.inner(py).is_blocking() {
            return receive_waiting(py, own, &asked, convert);
        }
        PySocket::call(slf, name, move |own, socket, starting| {
            starting.poll(receive(socket, own.clone_ref(gil::py()), asked, convert))
        })
    }

    /// Returns how to receive with these flags; `None` if the system is to do it.
    fn receives_how(&self, py: Python<'_>, asked: &Asked) -> Option<Receiving> {
        let how = Receiving::of(asked.passed.flags).filter(|_| self.is_stream(py))?;
        // A thread's look at what has come is the system's, too.
        let looks = how == Receiving::PeekAtOnce && self.inner(py).is_blocking();
        let is_systems = (asked.ancillary && asked.max > 0 || looks)
            && !self.has_received(py)
            && !self.speaks_tls(py);
        (!is_systems).then_some(how)
    }
}

/// What a verb is to receive.
pub(super) struct Asked {
    pub(super) max: usize,
    /// Whether there may be ancillary data.
    pub(super) ancillary: bool,
    /// The call of the regular socket's that receives it.
    pub(super) passed: Passed,
}

/// Receives, and converts what was received; what the regular socket gives stays as it is.
pub(super) async fn receive(
    socket: AsyncSocket,
    own: Py<PySocket>,
    asked: Asked,
    convert: impl FnOnce(Python<'_>, &[u8]) -> Outcome,
) -> Outcome {
    loop {
        // Each time: another coroutine may have read ahead.
        if let Some(how) = own.get().receives_how(py(), &asked) {
            return match receive_how(&socket, asked.max, how).await {
                Ok(got) => convert(py(), &got),
                Err(error) => Err(raised(py(), &error)),
            };
        }
        if let Some(result) = asked.passed.attempt(&own) {
            return result;
        }
        let ready = asked.passed.direction.ready(&socket).await;
        ready.map_err(|error| raised(py(), &error))?;
    }
}

/// Receives from a stream, as `how` says.
async fn receive_how(socket: &AsyncSocket, max: usize, how: Receiving) -> io::Result<Vec<u8>> {
    match how {
        _ if max == 0 => Ok(Vec::new()),
        Receiving::Some => socket.recv_with_limit(max, <[u8]>::to_vec).await,
        Receiving::All => receive_all(socket, max).await,
        Receiving::Peek => peek_some(socket, max).await,
        Receiving::AtOnce => at_once(|| socket.recv_with_limit(max, <[u8]>::to_vec)).await,
        Receiving::PeekAtOnce => at_once(|| peek_some(socket, max)).await,
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

async fn peek_some(socket: &AsyncSocket, max: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; max.min(PEEKED)];
    let count = socket.peek(&mut buffer).await?;
    buffer.truncate(count);
    Ok(buffer)
}

/// Makes one attempt of a verb, and one more after the kernel was asked; `WouldBlock` if it has to
/// wait, and then it has done nothing.
pub(super) async fn at_once<T, F>(verb: impl Fn() -> F) -> io::Result<T>
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

/// Receives in a thread, and converts what was received; what the regular socket gives stays as it
/// is.
pub(super) fn receive_waiting(
    py: Python<'_>,
    own: &PySocket,
    asked: &Asked,
    convert: impl FnOnce(Python<'_>, &[u8]) -> Outcome,
) -> Outcome {
    let mut how = own.receives_how(py, asked);
    if how.is_none() {
        asked.passed.wait(py, own)?;
        // Another thread may have read ahead.
        how = own.receives_how(py, asked);
    }
    match how {
        Some(how) => convert(py, &receive_how_waiting(py, &own.blocking(py)?, asked.max, how)?),
        None => asked.passed.call(py, own),
    }
}

/// Receives from a stream, as `how` says, in a thread.
fn receive_how_waiting(
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

/// Refuses a size of ancillary data as `socket` does.
fn check_ancillary(size: isize) -> PyResult<()> {
    if i32::try_from(size).is_ok_and(|size| size >= 0) {
        return Ok(());
    }
    Err(PyValueError::new_err("invalid ancillary data buffer length"))
}

/// Makes the result of `recvmsg` without ancillary data.
pub(super) fn message(py: Python<'_>, got: &[u8]) -> Outcome {
    with_nothing(py, PyBytes::new(py, got))
}

/// Makes the result of `recvmsg` and its kin without ancillary data.
fn with_nothing<'py, T>(py: Python<'py>, got: T) -> Outcome
where
    T: IntoPyObjectExt<'py>,
{
    let parts = (got.into_py_any(py)?, PyList::empty(py), 0, py.None());
    Ok(parts.into_pyobject(py)?.into_any().unbind())
}
