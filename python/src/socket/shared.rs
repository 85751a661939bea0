//! Lists the sockets over each regular socket: closing one of them closes that, and so all.
//!
//! Closing the regular one ends them, too, so that no verb uses a number that is another file's by
//! now: while it is in the list, its class is one that tells (`_sockets.py`, `watch`).
//!
//! A socket that was made from a regular one is in the list until it has ended; a connection that
//! was accepted is not, since nobody else has its regular socket at first.

use std::{cell::RefCell, collections::BTreeMap, ptr};

use asyncoro::AsyncSocket;
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyWeakrefMethods, PyWeakrefReference},
};

use super::{
    object::{Face, PySocket},
    tls::TlsOptions,
};
use crate::{engine::Home, exiting, gil::Gil, hooks};

/// By the address of the regular socket: a socket's address and a weak reference.
type Over = BTreeMap<usize, Vec<(usize, Py<PyWeakrefReference>)>>;

static OVER: Gil<RefCell<Over>> = Gil::new(RefCell::new(BTreeMap::new()));

/// Adds a socket to the list.
pub(super) fn enter(regular: &Bound<'_, PyAny>, socket: &Bound<'_, PySocket>) -> PyResult<()> {
    let py = socket.py();
    let reference = PyWeakrefReference::new(socket.as_any())?.unbind();
    let entry = (ptr::from_ref(socket.get()).addr(), reference);
    OVER.get(py).borrow_mut().entry(regular.as_ptr().addr()).or_default().push(entry);
    hooks::hook(py, "watch")?.call1((regular,))?;
    Ok(())
}

/// Refuses a second socket over `regular` if either speaks TLS: each would take records from the
/// other. Those over a listener do not.
pub(super) fn refuse_second_of_tls(regular: &Bound<'_, PyAny>, tls: &TlsOptions) -> PyResult<()> {
    let py = regular.py();
    let over = others(py, &regular.clone().unbind());
    let is_secure = |other: &Py<PySocket>| {
        let inner = other.get().inner(py);
        inner.secure.get() || inner.is_secure()
    };
    if over.is_empty() || !(tls.is_secure() || over.iter().any(is_secure)) {
        return Ok(());
    }
    let is_listener = over.iter().any(|other| match &*other.get().inner(py).face.borrow() {
        Face::Asynchronous(socket) => socket.options().is_listener().unwrap_or(false),
        Face::Blocking(socket) => socket.options().is_listener().unwrap_or(false),
        Face::Closed => false,
    });
    if is_listener {
        return Ok(());
    }
    Err(PyValueError::new_err(
        "this regular socket has an AsyncSocket already, and with TLS only one can read its \
         records: pass on that one",
    ))
}

/// Removes a socket from the list, before it releases its regular one.
pub(super) fn leave(py: Python<'_>, regular: &Py<PyAny>, socket: &PySocket) {
    let key = regular.as_ptr().addr();
    let (gone, is_last) = {
        let over = &mut *OVER.get(py).borrow_mut();
        let Some(sockets) = over.get_mut(&key) else { return };
        let place =
            sockets.iter().position(|(address, _)| *address == ptr::from_ref(socket).addr());
        let gone = place.map(|place| sockets.swap_remove(place));
        let is_last = sockets.is_empty();
        if is_last {
            over.remove(&key);
        }
        (gone, is_last)
    };
    // A drop may run any code.
    drop(gone);
    if is_last
        && let Err(error) = hooks::hook(py, "unwatch").and_then(|hook| hook.call1((regular,)))
    {
        error.write_unraisable(py, None);
    }
}

/// Returns the other sockets over `regular`.
pub(super) fn others(py: Python<'_>, regular: &Py<PyAny>) -> Vec<Py<PySocket>> {
    let over = OVER.get(py).borrow();
    let sockets = over.get(&regular.as_ptr().addr()).into_iter().flatten();
    sockets
        .filter_map(|(_, reference)| reference.bind(py).upgrade()?.cast_into::<PySocket>().ok())
        .map(Bound::unbind)
        .collect()
}

/// Ends the other sockets over `regular`, which will be closed. Returns the asynchronous faces that
/// belong to schedulers, to be closed before that.
pub(super) fn end_others(py: Python<'_>, regular: &Py<PyAny>) -> Vec<(Home, AsyncSocket)> {
    let mut left = Vec::new();
    for other in others(py, regular) {
        let inner = other.get().inner(py);
        if inner.is_blocking() {
            inner.keep_all();
        }
        let face = inner.face.replace(Face::Closed);
        let its_own = inner.regular.take();
        leave(py, regular, other.get());
        match face {
            Face::Asynchronous(socket) if inner.bound.get() != Home::NONE => {
                left.push((inner.bound.get(), socket));
            }
            // Whoever waits on it is told; nobody else is told of bytes that were not sent.
            Face::Blocking(socket) => drop(exiting::detach(py, || socket.close())),
            face => drop(face),
        }
        drop(its_own);
    }
    left
}
