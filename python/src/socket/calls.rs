//! How a verb becomes a call.

use std::future::Future;

use asyncoro::AsyncSocket;
use pyo3::prelude::*;

use super::object::PySocket;
use crate::{
    call::{self, Started, Starting},
    gil,
};

pub(super) type Called = PyResult<Py<PyAny>>;

/// Returns the method of a name as `AsyncSocket.recv`.
pub(super) fn verb_of(name: &'static str) -> &'static str {
    name.rsplit('.').next().expect("a name has a last part")
}

impl PySocket {
    /// Makes a call, which keeps the socket alive.
    pub(super) fn own_call<O>(slf: &Bound<'_, Self>, name: &'static str, operation: O) -> Called
    where
        O: FnOnce(&Py<PySocket>, Starting<'_, '_>) -> Started + 'static,
    {
        if slf.get().inner(slf.py()).is_closed() {
            return Err(crate::error::closed());
        }
        call::make(slf.py(), name, Some(slf.as_any()), |starting| {
            operation(starting.of::<PySocket>(), starting)
        })
    }

    /// Makes a call of the asynchronous face.
    pub(super) fn call<O>(slf: &Bound<'_, Self>, name: &'static str, operation: O) -> Called
    where
        O: FnOnce(&Py<PySocket>, AsyncSocket, Starting<'_, '_>) -> Started + 'static,
    {
        PySocket::own_call(slf, name, |own, starting| {
            let socket = match own.get().bound_asynchronous(gil::py()) {
                Some(socket) => socket,
                None => match own.get().asynchronous(gil::py()) {
                    Ok(socket) => socket,
                    Err(error) => return starting.done(Err(error)),
                },
            };
            operation(own, socket, starting)
        })
    }

    /// Makes a call that is a future of the asynchronous face.
    pub(super) fn start<V, F>(slf: &Bound<'_, Self>, name: &'static str, verb: V) -> Called
    where
        V: FnOnce(AsyncSocket) -> F + 'static,
        F: Future<Output = call::Outcome> + 'static,
    {
        PySocket::call(slf, name, |_, socket, starting| starting.poll(verb(socket)))
    }
}
