//! Makes and keeps the regular socket under one of the crate's; one of the two owns the descriptor.
//!
//! Unsafe: the crate's socket borrows the descriptor of the regular one. That one is kept for as
//! long, and `close` and `unwrap` end the crate's first; `close` also ends others over it.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    rc::Rc,
};

use asyncoro::{AsyncSocket, BlockingSocket};
use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyDict};

use super::{
    convert::wait,
    flags,
    object::{Face, Inner, PySocket},
    settings::{Settings, of_regular},
    shared,
    tls::TlsOptions,
};
use crate::{
    error::raised,
    exiting,
    once::{Once, interned},
};

impl PySocket {
    /// Makes one over a regular socket.
    pub(super) fn convert(
        py: Python<'_>,
        sock: &Bound<'_, PyAny>,
        blocking: bool,
        tls: TlsOptions,
    ) -> PyResult<Py<PySocket>> {
        exiting::guard();
        let fd: RawFd = sock.call_method0(interned!(py, "fileno"))?.extract()?;
        if fd < 0 {
            return Err(crate::error::closed());
        }
        shared::refuse_second_of_tls(sock, &tls)?;
        let fails = |error: std::io::Error| raised(py, &error);
        // SAFETY: `Inner` keeps the regular socket, see above.
        let (face, is_stream) = unsafe {
            let borrowed = AsyncSocket::borrow_raw(fd).map_err(fails)?;
            tls.check(py, borrowed.options().is_listener().unwrap_or(false))?;
            let is_stream =
                borrowed.options().r#type().map_err(fails)? == asyncoro::socket2::Type::STREAM;
            let face = match blocking {
                false => Face::Asynchronous(borrowed),
                true => Face::Blocking(BlockingSocket::borrow_raw(fd).map_err(fails)?),
            };
            (face, is_stream)
        };
        let settings = Settings::of_new(py, blocking);
        let timeout = of_regular(settings.timeout, blocking);
        sock.call_method1(interned!(py, "settimeout"), (timeout,))?;
        let inner = Inner::new(face, Some(sock.clone().unbind()), is_stream, settings);
        inner.tls.set(tls.is_any().then(|| Rc::new(tls)));
        let made = PySocket::make(py, inner)?;
        if !is_stream {
            let is_foreign = made.get().is_foreign(py)?;
            made.get().inner(py).is_foreign.set(is_foreign);
        }
        shared::enter(sock, made.bind(py))?;
        Ok(made)
    }

    /// Returns the regular socket, made if need be, after one attempt to flush the queue.
    pub(super) fn regular(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.flush_once(py)?;
        let inner = self.inner(py);
        if let Some(regular) = inner.known_regular(py) {
            return Ok(regular);
        }
        let regular = self.make_regular(py)?;
        inner.regular.set(Some(regular.clone_ref(py)));
        Ok(regular)
    }

    /// Returns the regular socket for a call that receives or sends: a blocking socket's behind its
    /// queue. An error if it would bypass TLS, or bytes that were read ahead.
    pub(super) fn regular_for(
        &self,
        py: Python<'_>,
        direction: Direction,
        flags: i32,
    ) -> PyResult<Py<PyAny>> {
        self.check_bypass(py, direction, flags)?;
        if direction == Direction::Send && self.inner(py).is_blocking() {
            self.flush_waiting(py)?;
        }
        self.regular(py)
    }

    /// Refuses a call of the regular socket's that would bypass TLS, or bytes that were read ahead.
    pub(super) fn check_bypass(
        &self,
        py: Python<'_>,
        direction: Direction,
        flags: i32,
    ) -> PyResult<()> {
        match direction {
            Direction::Receive => {
                flags::refuse_to_receive(flags, self.speaks_tls(py), self.has_received(py))
            }
            Direction::Send if self.speaks_tls(py) => {
                Err(flags::not_with_tls("sending in this way"))
            }
            Direction::Send => Ok(()),
        }
    }

    /// Flushes a blocking socket, in a thread.
    pub(super) fn flush_waiting(&self, py: Python<'_>) -> PyResult<()> {
        let socket = self.blocking(py)?;
        wait(py, || socket.flush())
    }

    /// Makes the regular socket of a connection that has none.
    fn make_regular(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        static SOCKET: Once = Once::new();
        exiting::guard();
        let class = SOCKET.import(py, "socket", "socket")?;
        let inner = self.inner(py);
        // SAFETY: the new regular socket is kept, see above.
        let owner = unsafe {
            match &*inner.face.borrow() {
                Face::Asynchronous(socket) => socket.disown(),
                Face::Blocking(socket) => socket.disown(),
                Face::Closed => None,
            }
        };
        let Some(owner) = owner else { return Err(crate::error::closed()) };
        let fd = owner.into_raw_fd();
        let arguments = PyDict::new(py);
        arguments.set_item("fileno", fd)?;
        let made = class.call((), Some(&arguments)).inspect_err(|_| {
            // SAFETY: nobody has taken it.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        })?;
        let timeout = of_regular(inner.settings().timeout, inner.is_blocking());
        made.call_method1(interned!(py, "settimeout"), (timeout,))?;
        Ok(made.unbind())
    }
}

/// What a call of the regular socket's waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Receive,
    Send,
}

impl Direction {
    /// Waits until the socket is ready; before a send, until what is queued has left.
    pub(super) async fn ready(self, socket: &AsyncSocket) -> io::Result<()> {
        match self {
            Direction::Receive => socket.readable().await,
            Direction::Send => socket.writable().await,
        }
    }
}

#[pymethods]
impl PySocket {
    /// Returns the regular socket, which stays in use, after one attempt to flush the queue.
    fn _regular(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.regular(py)
    }

    /// Raises an error if somebody else who used the connection would bypass it: bytes that were
    /// read ahead, TLS.
    fn _check_bypass(&self, py: Python<'_>, what: &str) -> PyResult<()> {
        if self.speaks_tls(py) {
            return Err(flags::not_with_tls(what));
        }
        if self.has_received(py) {
            return Err(PyRuntimeError::new_err(format!(
                "bytes were received that nobody has taken, and {what} would not have them: recv() \
                 them first"
            )));
        }
        Ok(())
    }
}

/// Makes the blocking face of a socket that has received and queued nothing yet.
pub(super) fn as_blocking(socket: &AsyncSocket) -> std::io::Result<BlockingSocket> {
    // SAFETY: it was made in `convert`, so that it has a regular socket, which is kept.
    unsafe { BlockingSocket::borrow_raw(socket.as_fd().as_raw_fd()) }
}
