//! Converts a socket from one mode to the other.

use std::task::Poll;

use asyncoro::AsyncSocket;
use pyo3::{
    exceptions::{PyBlockingIOError, PyRuntimeError},
    prelude::*,
};

use super::{
    object::{Face, PySocket, poll_once, poll_pinned},
    regular,
    settings::{Settings, of_regular, usual_timeout},
};
use crate::{
    engine::{self, Home},
    error::raised,
    guest::{self, Guest},
    once::interned,
    threads,
};

impl PySocket {
    pub(super) fn set_mode(slf: &Bound<'_, Self>, blocking: bool) -> PyResult<()> {
        let (py, own) = (slf.py(), slf.get());
        let home = own.inner(py).bound.get();
        let is_asynchronous = !own.inner(py).is_blocking();
        if is_asynchronous && blocking && !home.is_here() && home.exists(py) {
            if let Some(guest) = Guest::of(py, home) {
                // Its loop may run in this thread, which has used another one last.
                guest::here(py)?;
                if home.is_here() {
                    return own.change_mode(py, blocking);
                }
                if !guest.get().runs(py)? {
                    // Nobody would answer.
                    return guest.get().visit(py, || own.change_mode(py, blocking))?;
                }
            }
            let slf = slf.clone().unbind();
            return threads::ask(py, home, move |py| slf.get().change_mode(py, blocking));
        }
        own.change_mode(py, blocking)
    }

    fn change_mode(&self, py: Python<'_>, blocking: bool) -> PyResult<()> {
        let inner = self.inner(py);
        if matches!(*inner.face.borrow(), Face::Closed) {
            return Err(crate::error::closed());
        }
        if blocking == inner.is_blocking() {
            return Ok(());
        }
        let before = inner.settings();
        let face = inner.face.replace(Face::Closed);
        let (face, result) = match face {
            Face::Asynchronous(socket) if inner.bound.get().is_here() => become_blocking(socket),
            Face::Asynchronous(socket) if inner.bound.get() != Home::NONE => {
                let text = "the scheduler of this socket has ended";
                (Face::Asynchronous(socket), Err(PyRuntimeError::new_err(text)))
            }
            // Nothing was received or queued yet: a new face is as good as the old one.
            Face::Asynchronous(socket) => match regular::as_blocking(&socket) {
                Ok(blocking) => (Face::Blocking(blocking), Ok(())),
                Err(error) => (Face::Asynchronous(socket), Err(raised(py, &error))),
            },
            Face::Blocking(socket) => match socket.into_async() {
                Ok(socket) => (Face::Asynchronous(socket), Ok(())),
                Err(refused) => (Face::Blocking(refused.socket), Err(raised(py, &refused.error))),
            },
            Face::Closed => (Face::Closed, Ok(())),
        };
        inner.face.replace(face);
        result?;
        // Where no coroutine runs, the first one that uses it is to have it.
        let bound = if blocking || !engine::is_entered() { Home::NONE } else { engine::here() };
        inner.bound.set(bound);
        let (timeout, kept_timeout) = match blocking {
            true => (usual_timeout(py, true), before.timeout),
            false => (before.kept_timeout, before.kept_timeout),
        };
        inner.set(Settings { timeout, kept_timeout, ..before });
        if let Some(regular) = inner.known_regular(py) {
            let timeout = of_regular(timeout, blocking);
            regular.call_method1(py, interned!(py, "settimeout"), (timeout,))?;
        }
        Ok(())
    }
}

fn become_blocking(socket: AsyncSocket) -> (Face, PyResult<()>) {
    // Before the conversion: one that has to wait would lose the socket.
    if poll_once(socket.flush()).is_pending() {
        let text = "what is queued cannot leave now: `yield sock.flush()` first";
        return (Face::Asynchronous(socket), Err(PyBlockingIOError::new_err(text)));
    }
    let mut converting = Box::pin(socket.into_blocking());
    match poll_pinned(converting.as_mut()) {
        Poll::Ready(Ok(blocking)) => (Face::Blocking(blocking), Ok(())),
        Poll::Ready(Err(refused)) => (
            Face::Asynchronous(refused.socket),
            Err(PyRuntimeError::new_err(format!(
                "the socket cannot be converted now: {}",
                refused.error
            ))),
        ),
        Poll::Pending => {
            let text = "the conversion had to wait, and the socket was closed";
            (Face::Closed, Err(PyBlockingIOError::new_err(text)))
        }
    }
}

#[pymethods]
impl PySocket {
    /// Converts it to a blocking socket, for threads, or an asynchronous one, for coroutines.
    #[pyo3(text_signature = "($self, flag, /)")]
    fn setblocking(slf: &Bound<'_, Self>, flag: bool) -> PyResult<()> {
        PySocket::set_mode(slf, flag)
    }

    /// Returns whether it is a blocking one.
    fn getblocking(&self, py: Python<'_>) -> bool {
        self.inner(py).is_blocking()
    }
}
