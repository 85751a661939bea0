//! Makes and keeps the regular socket under one of the crate's; one of the two owns the descriptor.
//!
//! Unsafe: the crate's socket borrows the descriptor of the regular one. That one is kept for as
//! long, and `close` and `unwrap` end the crate's first; `close` also ends others over it.
#![allow(unsafe_code)]

use std::{
    os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    rc::Rc,
};

use asyncoro::{AsyncSocket, BlockingSocket};
use pyo3::{prelude::*, types::PyDict};

use super::{Face, Inner, PySocket, settings::Settings, shared, tls::Said};
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
        said: Said,
    ) -> PyResult<Py<PySocket>> {
        exiting::guard();
        let fd: RawFd = sock.call_method0(interned!(py, "fileno"))?.extract()?;
        if fd < 0 {
            return Err(crate::error::closed());
        }
        shared::refuse_second_of_tls(sock, &said)?;
        let fails = |error: std::io::Error| raised(py, &error);
        // SAFETY: `Inner` keeps the regular socket, see above.
        let (face, is_stream) = unsafe {
            let borrowed = AsyncSocket::borrow_raw(fd).map_err(fails)?;
            said.check(py, borrowed.options().is_listener().unwrap_or(false))?;
            let is_stream =
                borrowed.options().r#type().map_err(fails)? == asyncoro::socket2::Type::STREAM;
            let face = match blocking {
                false => Face::Asynchronous(borrowed),
                true => Face::Blocking(BlockingSocket::borrow_raw(fd).map_err(fails)?),
            };
            (face, is_stream)
        };
        sock.call_method1(interned!(py, "setblocking"), (blocking,))?;
        let regular = Some(sock.clone().unbind());
        let inner = Inner::new(face, regular, is_stream, Settings::of_new(py, blocking));
        inner.said.set(said.is_any().then(|| Rc::new(said)));
        let made = PySocket::make(py, inner)?;
        if !is_stream {
            let is_foreign = made.get().is_foreign(py)?;
            made.get().inner(py).is_foreign.set(is_foreign);
        }
        shared::enter(sock, made.bind(py))?;
        Ok(made)
    }

    /// Makes the regular socket of a connection that has none.
    pub(super) fn make_regular(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
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
        made.call_method1(interned!(py, "setblocking"), (inner.is_blocking(),))?;
        Ok(made.unbind())
    }
}

/// Makes the blocking face of a socket that has received and queued nothing yet.
pub(super) fn as_blocking(socket: &AsyncSocket) -> std::io::Result<BlockingSocket> {
    // SAFETY: it was made in `convert`, so that it has a regular socket, which is kept.
    unsafe { BlockingSocket::borrow_raw(socket.as_fd().as_raw_fd()) }
}
