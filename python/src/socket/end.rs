//! Ends a socket: closes it, drops it, or gives the regular one back.

use std::{future::Future, pin::Pin, task::Poll};

use asyncoro::AsyncSocket;
use pyo3::{
    exceptions::{PyConnectionError, PyRuntimeError},
    prelude::*,
    types::PyTuple,
};

use super::{
    object::{Face, PySocket, poll_pinned},
    shared::{self, others},
};
use crate::{
    call,
    engine::{self, Home},
    error::raised,
    exiting, gil, hooks,
    once::interned,
};

impl PySocket {
    /// Ends the face; closes the regular socket with it if `closes`, else returns that.
    pub(super) fn end(&self, py: Python<'_>, closes: bool) -> PyResult<Option<Py<PyAny>>> {
        exiting::guard();
        let inner = self.inner(py);
        if inner.is_blocking() {
            inner.keep_all();
        }
        let face = inner.face.replace(Face::Closed);
        let regular = inner.regular.take();
        if let Some(regular) = &regular {
            shared::leave(py, regular, self);
        }
        let mut others = match &regular {
            Some(regular) if closes => shared::end_others(py, regular),
            _ => Vec::new(),
        };
        let given = if closes { None } else { regular.as_ref().map(|it| it.clone_ref(py)) };
        let kept = if closes { regular } else { None };
        let mut result = Ok(());
        let own = match face {
            Face::Closed => None,
            Face::Blocking(socket) => {
                let ended = if closes {
                    exiting::detach(py, || socket.close())
                } else {
                    exiting::detach(py, || socket.flush())
                };
                result = ended.map_err(|error| raised(py, &error));
                drop(socket);
                None
            }
            Face::Asynchronous(socket) if inner.bound.get() == Home::NONE => {
                drop(socket);
                None
            }
            Face::Asynchronous(socket) => Some((inner.bound.get(), socket)),
        };
        match own.or_else(|| others.pop()) {
            Some((home, socket)) => {
                let (near, far): (Vec<_>, Vec<_>) =
                    others.into_iter().partition(|(other, _)| *other == home);
                for (home, socket) in far {
                    end_asynchronous(py, home, socket, Vec::new(), None, None)?;
                }
                let near = near.into_iter().map(|(_, socket)| socket).collect();
                end_asynchronous(py, home, socket, near, kept, given.as_ref())?;
            }
            None => close_regular(py, kept)?,
        }
        result?;
        Ok(given)
    }

    /// Gives the regular socket back, which stays open.
    pub(super) fn give_back(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.regular(py)?;
        if self.has_received(py) {
            return Err(PyRuntimeError::new_err(
                "bytes were received that nobody has taken, and the regular socket would not have \
                 them: recv() them first",
            ));
        }
        Ok(self.end(py, false)?.expect("it was made just now"))
    }
}

/// Logs the error of a close that nobody waits for; if the peer has gone, at the debug level.
#[cold]
fn tell_of_failed_close(py: Python<'_>, error: &PyErr) {
    let text = format!("closing a socket: {error}");
    // Before CPython 3.12 the error itself knows only the class that it was made with.
    match error.value(py).is_instance_of::<PyConnectionError>() {
        true => hooks::debug(py, &text),
        false => hooks::warn(py, &text),
    }
}

fn close_regular(py: Python<'_>, regular: Option<Py<PyAny>>) -> PyResult<()> {
    match regular {
        Some(regular) => regular.call_method0(py, interned!(py, "close")).map(drop),
        None => Ok(()),
    }
}

/// A face of the scheduler's that ends, and what ends after it, in this order.
struct Ending {
    socket: Option<AsyncSocket>,
    /// Others over the same regular socket.
    others: Vec<AsyncSocket>,
    /// The regular socket, to be closed.
    kept: Option<Py<PyAny>>,
    /// The regular socket, which was given back, to be held until then.
    _held: Option<Py<PyAny>>,
}

impl Ending {
    async fn run(mut self) -> PyResult<()> {
        let closed = match &self.socket {
            Some(socket) => socket.close().await,
            None => Ok(()),
        };
        self.socket = None;
        while let Some(other) = self.others.pop() {
            // Whoever waits on it is told; nobody waits for its close.
            drop(other.close().await);
        }
        let py = gil::py();
        let regular_closed = close_regular(py, self.kept.take());
        drop(self);
        closed.map_err(|error| raised(py, &error))?;
        regular_closed
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.socket.is_none() && self.others.is_empty() && self.kept.is_none() {
            return;
        }
        // The scheduler has ended before it could close them: it flushes what is dropped now.
        self.socket = None;
        self.others.clear();
        if let Err(error) = close_regular(gil::py(), self.kept.take()) {
            tell_of_failed_close(gil::py(), &error);
        }
    }
}

/// Closes a face of the scheduler's, after a flush, then `others` over the same regular socket, and
/// then that. In the scheduler's thread most of it is done on return; `given` is kept meanwhile.
fn end_asynchronous(
    py: Python<'_>,
    home: Home,
    socket: AsyncSocket,
    others: Vec<AsyncSocket>,
    kept: Option<Py<PyAny>>,
    given: Option<&Py<PyAny>>,
) -> PyResult<()> {
    let held = given.map(|given| given.clone_ref(py));
    if !home.exists(py) {
        // Its scheduler has ended, and with it everybody who waited.
        drop((socket, others));
        return close_regular(py, kept);
    }
    let ending = Ending { socket: Some(socket), others, kept, _held: held };
    let log = |result: PyResult<()>| {
        if let Err(error) = result {
            tell_of_failed_close(gil::py(), &error);
        }
    };
    let closing = ending.run();
    if !home.is_here() {
        engine::hand_over(py, home, async move { log(closing.await) });
        return Ok(());
    }
    let mut closing: Pin<Box<dyn Future<Output = PyResult<()>>>> = Box::pin(closing);
    match poll_pinned(closing.as_mut()) {
        Poll::Ready(result) => result,
        Poll::Pending => {
            engine::spawn_at(py, home, async move { log(closing.await) });
            Ok(())
        }
    }
}

impl Drop for PySocket {
    fn drop(&mut self) {
        exiting::guard();
        Python::attach(|py| call::undisturbed(py, || self.release(py)));
    }
}

impl PySocket {
    fn release(&self, py: Python<'_>) {
        let inner = self.inner(py);
        if let Some(regular) = inner.known_regular(py) {
            shared::leave(py, &regular, self);
        }
        match inner.face.replace(Face::Closed) {
            // Queued bytes are still sent, and only then the regular socket is released.
            Face::Asynchronous(socket) if inner.bound.get() != Home::NONE => {
                let regular = inner.regular.take();
                // Whoever wants to know whether all was sent closes it.
                let _ = drop_asynchronous(py, inner.bound.get(), socket, regular);
            }
            // The regular socket is dropped last.
            face => drop(face),
        }
    }
}

/// Drops a face of the scheduler's: what is queued is sent, and the regular socket, which others
/// may use, is released and not closed.
fn drop_asynchronous(
    py: Python<'_>,
    home: Home,
    socket: AsyncSocket,
    regular: Option<Py<PyAny>>,
) -> PyResult<()> {
    if home.is_here() && regular.is_none() {
        drop(socket);
        return Ok(());
    }
    end_asynchronous(py, home, socket, Vec::new(), None, regular.as_ref())
}

/// Closes the sockets over `regular`, and that with them; returns whether there were any.
#[pyfunction]
pub(crate) fn close_over(py: Python<'_>, regular: Py<PyAny>) -> PyResult<bool> {
    match others(py, &regular).first() {
        Some(first) => first.get().end(py, true).map(|_| true),
        None => Ok(false),
    }
}

/// Ends the sockets over `regular`, whose descriptor will be another's.
#[pyfunction]
pub(crate) fn release_over(py: Python<'_>, regular: Py<PyAny>) -> PyResult<()> {
    for over in others(py, &regular) {
        over.get().give_back(py)?;
    }
    Ok(())
}

#[pymethods]
impl PySocket {
    /// Closes it: what is queued is sent first; whoever waits on it gets OSError (EBADF). While
    /// there is a file of it (`makefile`), it is closed with that.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.inner(py).files.get() > 0 {
            self.inner(py).closes_with_files.set(true);
            return Ok(());
        }
        self.end(py, true).map(drop)
    }

    /// Notes that a file of it was made.
    fn _file_opened(&self, py: Python<'_>) {
        let files = &self.inner(py).files;
        files.set(files.get() + 1);
    }

    /// Notes that a file of it was closed.
    fn _file_closed(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.inner(py);
        inner.files.set(inner.files.get() - 1);
        if inner.files.get() == 0 && inner.closes_with_files.get() {
            return self.end(py, true).map(drop);
        }
        Ok(())
    }

    /// Gives the regular socket back; this one is closed. RuntimeError while bytes were received
    /// that nobody has taken.
    fn unwrap(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.give_back(py)
    }

    /// Gives the descriptor's number away, as `unwrap` does the socket; this one is closed.
    fn detach(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.give_back(py)?.call_method0(py, "detach")
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }
}
