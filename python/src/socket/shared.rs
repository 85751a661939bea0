//! Lists the sockets over each regular socket: closing one of them closes that, and so all.
//!
//! A socket that was made from a regular one is in the list until it has ended; a connection that
//! was accepted is not, since nobody else has its regular socket at first.

use std::{cell::RefCell, collections::BTreeMap, ptr};

use asyncoro::AsyncSocket;
use pyo3::{
    prelude::*,
    types::{PyWeakrefMethods, PyWeakrefReference},
};

use super::{Face, PySocket};
use crate::{exiting, gil::Gil};

/// By the address of the regular socket: a socket's address and a weak reference.
type Over = BTreeMap<usize, Vec<(usize, Py<PyWeakrefReference>)>>;

static OVER: Gil<RefCell<Over>> = Gil::new(RefCell::new(BTreeMap::new()));

/// Adds a socket to the list.
pub(super) fn enter(regular: &Bound<'_, PyAny>, socket: &Bound<'_, PySocket>) -> PyResult<()> {
    let py = socket.py();
    let reference = PyWeakrefReference::new(socket.as_any())?.unbind();
    let entry = (ptr::from_ref(socket.get()).addr(), reference);
    OVER.get(py).borrow_mut().entry(regular.as_ptr().addr()).or_default().push(entry);
    Ok(())
}

/// Removes a socket from the list, before it releases its regular one.
pub(super) fn leave(py: Python<'_>, regular: &Py<PyAny>, socket: &PySocket) {
    let key = regular.as_ptr().addr();
    let gone = {
        let over = &mut *OVER.get(py).borrow_mut();
        let Some(sockets) = over.get_mut(&key) else { return };
        let place =
            sockets.iter().position(|(address, _)| *address == ptr::from_ref(socket).addr());
        let gone = place.map(|place| sockets.swap_remove(place));
        if sockets.is_empty() {
            over.remove(&key);
        }
        gone
    };
    // A drop may run any code.
    drop(gone);
}

/// Returns the other sockets over `regular`.
fn others(py: Python<'_>, regular: &Py<PyAny>) -> Vec<Py<PySocket>> {
    let over = OVER.get(py).borrow();
    let sockets = over.get(&regular.as_ptr().addr()).into_iter().flatten();
    sockets
        .filter_map(|(_, reference)| reference.bind(py).upgrade()?.cast_into::<PySocket>().ok())
        .map(Bound::unbind)
        .collect()
}

/// Ends the other sockets over `regular`, which will be closed. Returns the asynchronous faces that
/// belong to the scheduler's thread, to be closed before that.
pub(super) fn end_others(py: Python<'_>, regular: &Py<PyAny>) -> Vec<AsyncSocket> {
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
            Face::Asynchronous(socket) if inner.bound.get() => left.push(socket),
            // Whoever waits on it is told; nobody else is told of bytes that were not sent.
            Face::Blocking(socket) => drop(exiting::detach(py, || socket.close())),
            face => drop(face),
        }
        drop(its_own);
    }
    left
}
