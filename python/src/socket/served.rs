//! What the package's servers (`asyncoro/_serve.py`) have to do with sockets: a connection as its
//! server sees it, without its handler; the queue of a listener, when a server ends.

use std::net::Shutdown;

use asyncoro::{
    AsyncSocket,
    bindings::{self, Queue},
};
use pyo3::prelude::*;

use super::{
    connections::accepted,
    object::{Face, PySocket},
};
use crate::{
    call::{self, Outcome},
    error::raised,
    gil::{self, Gil},
};

/// A socket that is looked at, and not kept.
#[pyclass(frozen, module = "asyncoro")]
pub(crate) struct Watched(Gil<bindings::Watched>);

#[pymethods]
impl Watched {
    /// Returns whether bytes were received or sent since this was last asked.
    fn take_moved(&self, py: Python<'_>) -> bool {
        self.0.get(py).take_moved()
    }

    /// Returns whether something was received in part, or that nobody has asked for yet.
    fn has_received(&self, py: Python<'_>) -> bool {
        self.0.get(py).has_received()
    }

    /// Ends it for its handler, or with `reading` that direction alone: verbs give the end of the
    /// stream.
    fn end(&self, py: Python<'_>, reading: bool) {
        self.0.get(py).shut_down(if reading { Shutdown::Read } else { Shutdown::Both });
    }
}

#[pymethods]
impl PySocket {
    /// Returns the connection to look at; there is one who looks.
    fn _watched(&self, py: Python<'_>) -> PyResult<Watched> {
        Ok(Watched(Gil::new(bindings::watched(&self.asynchronous(py)?))))
    }

    /// Takes a connection that waits in the queue of the system, without waiting: the connection
    /// and its address; True if its handshake has begun; False if there is none; None if there is
    /// no descriptor for one.
    fn _accept_now(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let socket = self.asynchronous(py)?;
        match bindings::accept_now(&socket).map_err(|error| raised(py, &error))? {
            Queue::Taken(connection, from) => {
                accepted(py, Face::Asynchronous(connection), self, &from)
            }
            Queue::Empty => answer(py, false),
            Queue::Blocked => Ok(py.None()),
            _ => answer(py, true),
        }
    }

    /// Returns the handshakes that have begun; they outlive the close of the listener.
    fn _begun(slf: &Bound<'_, Self>) -> PyResult<Begun> {
        let socket = slf.get().asynchronous(slf.py())?;
        Ok(Begun { listener: slf.clone().unbind(), socket: Gil::new(socket) })
    }

    /// Leaves it non-blocking when it is closed, for other processes that have it.
    fn _leave_nonblocking(&self, py: Python<'_>) -> PyResult<()> {
        bindings::leave_nonblocking(&self.asynchronous(py)?).map_err(|error| raised(py, &error))
    }
}

/// The handshakes of a listener that have begun.
#[pyclass(frozen, module = "asyncoro")]
pub(crate) struct Begun {
    listener: Py<PySocket>,
    socket: Gil<AsyncSocket>,
}

#[pymethods]
impl Begun {
    /// Waits for the next one that is done: the connection and its address; False if there is none.
    fn next(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        call::make(slf.py(), "AsyncSocket.accept", Some(slf.as_any()), |starting| {
            let (py, own) = (gil::py(), starting.of::<Begun>().get());
            let socket = own.socket.get(py).clone();
            starting.poll(next_begun(socket, own.listener.clone_ref(py)))
        })
    }

    /// Ends them.
    fn end(&self, py: Python<'_>) {
        bindings::end_begun(self.socket.get(py));
    }
}

async fn next_begun(socket: AsyncSocket, listener: Py<PySocket>) -> Outcome {
    let begun = bindings::accept_begun(&socket).await;
    let py = gil::py();
    match begun {
        Some((connection, from)) => {
            accepted(py, Face::Asynchronous(connection), listener.get(), &from)
        }
        None => answer(py, false),
    }
}

fn answer(py: Python<'_>, yes: bool) -> PyResult<Py<PyAny>> {
    Ok(yes.into_pyobject(py)?.to_owned().into_any().unbind())
}
