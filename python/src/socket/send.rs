//! The verbs that send bytes.
//!
//! Those for coroutines are `async move` blocks, as in `receive.rs`.
#![allow(clippy::manual_async_fn, reason = "see above")]

use std::{future::Future, io, net::Shutdown, pin::Pin, task::Poll};

use asyncoro::AsyncSocket;
use pyo3::{
    prelude::*,
    types::{PyBytes, PyTuple},
};

use super::{
    calls::Called,
    convert::{none, number, numbered, outcome, wait},
    flagged::at_once,
    flags,
    object::{Face, PySocket, poll_once, poll_pinned},
    regular::Direction,
};
use crate::{
    call::Outcome,
    engine::{self, Home},
    error::{raised, timed_out},
    exiting,
    gil::{self, py},
    hooks,
    view::{Data, View},
};

/// EINVAL, as Linux has it.
const EINVAL: i32 = 22;

/// Fewer bytes are queued rather than sent at once: copying more costs as much as the call that it
/// may save.
pub(super) const QUEUED: usize = 16 << 10;

#[pymethods]
impl PySocket {
    /// Sends some of `data`; gives how many bytes.
    #[pyo3(signature = (data, flags = 0), text_signature = "($self, data, flags=0, /)")]
    fn send(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let data_given = data;
        let data = View::of(data)?;
        if !flags::is_plain(flags) {
            let arguments = (data_given, flags).into_pyobject(py)?;
            return PySocket::send_with(slf, "AsyncSocket.send", data, flags, arguments);
        }
        if own.inner(py).is_blocking() {
            let socket = own.blocking(py)?;
            return number(py, wait(py, || socket.send(data.bytes()))?);
        }
        PySocket::start(slf, "AsyncSocket.send", move |socket| send(socket, data))
    }

    /// Sends all of `data`; less than 16 KiB are sent at the end of the scheduler's turn, with what
    /// else is queued. After a timeout a coroutine gets how many were sent, if any.
    #[pyo3(signature = (data, flags = 0), text_signature = "($self, data, flags=0, /)")]
    pub(super) fn sendall(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if !flags::is_plain(flags) {
            return PySocket::pass_all(slf, View::of(data)?, flags);
        }
        if own.inner(py).is_blocking() {
            let (socket, data) = (own.blocking(py)?, View::of(data)?);
            return sent_waiting(py, exiting::detach(py, || socket.send_all(data.bytes())));
        }
        let data = Data::of(data)?;
        PySocket::call(slf, "AsyncSocket.sendall", move |_, socket, starting| {
            if let Some(outcome) = sendall_now(gil::py(), &socket, &data) {
                return starting.done(outcome);
            }
            match data.hold(gil::py()) {
                Ok(data) => starting.poll(sendall(socket, data)),
                Err(error) => starting.done(Err(error)),
            }
        })
    }

    /// Sends bytes from several buffers, with ancillary data; gives how many bytes. With TLS there
    /// can be no ancillary data.
    #[pyo3(signature = (buffers, ancdata = None, flags = 0, address = None),
        text_signature = "($self, buffers, ancdata=(), flags=0, address=None, /)")]
    fn sendmsg(
        slf: &Bound<'_, Self>,
        buffers: &Bound<'_, PyAny>,
        ancdata: Option<&Bound<'_, PyAny>>,
        flags: i32,
        address: Option<&Bound<'_, PyAny>>,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let buffers: Vec<_> = buffers.try_iter()?.collect::<PyResult<_>>()?;
        let ancdata: Vec<_> = match ancdata {
            Some(ancdata) => ancdata.try_iter()?.collect::<PyResult<_>>()?,
            None => Vec::new(),
        };
        let address = address.filter(|address| !address.is_none());
        let is_plain = ancdata.is_empty() && address.is_none();
        if own.is_stream(py) && is_plain {
            let joined = PyBytes::new(py, b"").call_method1("join", (&buffers,))?;
            return PySocket::send(slf, &joined, flags);
        }
        let arguments = match address {
            Some(address) => (buffers, ancdata, flags, address).into_pyobject(py)?,
            None => (buffers, ancdata, flags).into_pyobject(py)?.into_any().cast_into()?,
        };
        PySocket::pass(slf, "AsyncSocket.sendmsg", Direction::Send, flags, arguments)
    }

    /// Waits until all that was queued is in the kernel.
    fn flush(slf: &Bound<'_, Self>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            return own.flush_waiting(py).map(|()| py.None());
        }
        PySocket::start(slf, "AsyncSocket.flush", flush)
    }

    /// Ends a direction of a connection (SHUT_RD, SHUT_WR) or both. What is queued is sent first:
    /// what cannot be sent at once is sent in the background, and the end follows it. A later verb
    /// raises the error if that fails. In a thread it waits.
    fn shutdown(&self, py: Python<'_>, how: i32) -> PyResult<()> {
        let ends = match how {
            0 => Shutdown::Read,
            1 => Shutdown::Write,
            2 => Shutdown::Both,
            _ => return Err(raised(py, &io::Error::from_raw_os_error(EINVAL))),
        };
        if self.inner(py).is_blocking() {
            let socket = self.blocking(py)?;
            let ended = exiting::detach(py, || socket.shutdown(ends));
            return ended.map_err(|error| raised(py, &error));
        }
        let home = self.inner(py).bound.get();
        let socket = match &*self.inner(py).face.borrow() {
            Face::Asynchronous(socket) if home.exists(py) => Some(socket.clone()),
            _ => None,
        };
        match socket.filter(|_| self.is_stream(py)) {
            Some(socket) => shutdown(py, home, socket, ends),
            None => self.regular(py)?.call_method1(py, "shutdown", (how,)).map(drop),
        }
    }

    /// Sends some of `data`: waits in a thread; of a socket for coroutines it sends what the system
    /// takes, or raises BlockingIOError.
    fn _write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            return slf.call_method1("send", (data,)).map(Bound::unbind);
        }
        own.check_here(py)?;
        write(py, &own.asynchronous(py)?, &View::of(data)?)
    }
}

impl PySocket {
    /// Sends with flags.
    fn send_with<'py>(
        slf: &Bound<'py, Self>,
        name: &'static str,
        data: View,
        flags: i32,
        arguments: Bound<'py, PyTuple>,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if !own.is_stream(py) {
            return PySocket::pass(slf, name, Direction::Send, flags, arguments);
        }
        if flags::is_at_once(flags) {
            if own.inner(py).is_blocking() {
                let socket = own.blocking(py)?;
                return number(py, wait(py, || numbered(socket.try_send(data.bytes())))?);
            }
            return PySocket::start(slf, name, move |socket| send_at_once(socket, data));
        }
        PySocket::pass(slf, name, Direction::Send, flags, arguments)
    }
}

fn send(socket: AsyncSocket, data: View) -> impl Future<Output = Outcome> {
    async move { outcome(socket.send(data.bytes()).await, number) }
}

/// Converts the result of a send: None, or after a timeout the bytes that were sent, if any. What
/// stays queued counts as sent: it will be.
pub(super) fn sent(result: io::Result<()>) -> Outcome {
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

/// Converts the result of a send in a thread.
pub(super) fn sent_waiting(py: Python<'_>, result: io::Result<()>) -> Outcome {
    match result {
        Ok(()) => Ok(py.None()),
        Err(error) if timed_out(&error).is_some_and(|done| done.rest_queued) => Ok(py.None()),
        Err(error) => Err(raised(py, &error)),
    }
}

fn sendall(socket: AsyncSocket, data: View) -> impl Future<Output = Outcome> {
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
fn sendall_now(py: Python<'_>, socket: &AsyncSocket, data: &Data) -> Option<Outcome> {
    data.lend(py, |data| {
        if data.is_empty() {
            return Some(Ok(py.None()));
        }
        let queued = data.len() < QUEUED && !socket.is_full();
        queued.then(|| ready(poll_once(socket.send_queued(data))))?
    })
}

/// Converts the result of a verb that queues; `None` if it has to wait.
pub(super) fn ready(polled: Poll<io::Result<()>>) -> Option<Outcome> {
    match polled {
        Poll::Ready(result) => Some(sent(result)),
        Poll::Pending => None,
    }
}

async fn flush(socket: AsyncSocket) -> Outcome {
    outcome(socket.flush().await, none)
}

/// Sends what the system takes now, or raises BlockingIOError.
async fn send_at_once(socket: AsyncSocket, data: View) -> Outcome {
    outcome(at_once(|| socket.send(data.bytes())).await, number)
}

/// Sends what the system takes now, or raises BlockingIOError, without asking it again.
fn write(py: Python<'_>, socket: &AsyncSocket, data: &View) -> Outcome {
    match numbered(socket.try_send(data.bytes())) {
        Ok(count) => number(py, count),
        Err(error) => Err(raised(py, &error)),
    }
}

/// Ends a direction of the connection, behind what is queued; in the background if that has to
/// wait.
fn shutdown(py: Python<'_>, home: Home, socket: AsyncSocket, how: Shutdown) -> PyResult<()> {
    let ending = async move {
        let ended = socket.shutdown(how).await;
        ended.map_err(|error| raised(gil::py(), &error))
    };
    let log = |result: PyResult<()>| {
        if let Err(error) = result {
            hooks::debug(gil::py(), &format!("a shutdown has failed: {error}"));
        }
    };
    if !home.is_here() {
        engine::hand_over(py, home, async move { log(ending.await) });
        return Ok(());
    }
    let mut ending: Pin<Box<dyn Future<Output = PyResult<()>>>> = Box::pin(ending);
    match poll_pinned(ending.as_mut()) {
        Poll::Ready(result) => result,
        Poll::Pending => {
            engine::spawn_at(py, home, async move { log(ending.await) });
            Ok(())
        }
    }
}
