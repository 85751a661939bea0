//! Calls that the regular socket makes: with flags that only the system knows, with addresses that
//! the crate has not, with ancillary data.

use std::io;

use asyncoro::AsyncSocket;
use pyo3::{
    exceptions::{PyBlockingIOError, PyTimeoutError},
    prelude::*,
    types::{PyBytes, PyTuple},
};

use super::{
    calls::{Called, verb_of},
    convert::wait,
    flags,
    object::PySocket,
    regular::Direction,
};
use crate::{
    call::Outcome,
    error::raised,
    gil::{self, py},
    view::View,
};

impl PySocket {
    /// Makes a call of a method of the regular socket, which may wait; `name` is of the form
    /// `AsyncSocket.recv`.
    pub(super) fn pass<'py>(
        slf: &Bound<'py, Self>,
        name: &'static str,
        direction: Direction,
        flags: i32,
        arguments: Bound<'py, PyTuple>,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let passed =
            Passed { verb: verb_of(name), arguments: arguments.unbind(), direction, flags };
        if own.inner(py).is_blocking() {
            return passed.call_waiting(py, own);
        }
        PySocket::call(slf, name, move |own, socket, starting| {
            starting.poll(run(socket, own.clone_ref(gil::py()), passed))
        })
    }

    /// Sends all of `data` by the regular socket, behind what is queued.
    pub(super) fn pass_all(slf: &Bound<'_, Self>, data: View, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            let data = PyBytes::new(py, data.bytes());
            let regular = own.regular_for(py, Direction::Send, flags)?;
            return regular.call_method1(py, "sendall", (data, flags));
        }
        PySocket::call(slf, "AsyncSocket.sendall", move |own, socket, starting| {
            let own = own.clone_ref(gil::py());
            starting.poll(run_all(socket, own, data, flags))
        })
    }
}

/// A call of the regular socket's.
pub(super) struct Passed {
    pub(super) verb: &'static str,
    pub(super) arguments: Py<PyTuple>,
    pub(super) direction: Direction,
    /// Those among the arguments.
    pub(super) flags: i32,
}

impl Passed {
    /// Makes the call once, in a coroutine; `None` if it would have to wait.
    pub(super) fn attempt(&self, own: &Py<PySocket>) -> Option<Outcome> {
        // Each time: TLS may have begun, or another coroutine may have read ahead.
        let result = self.call(py(), own.get());
        let waits = !flags::has_dont_wait(self.flags) && would_wait(&result);
        (!waits).then_some(result)
    }

    /// Makes the call in a thread.
    pub(super) fn call_waiting(&self, py: Python<'_>, own: &PySocket) -> Outcome {
        self.wait(py, own)?;
        self.call(py, own)
    }

    /// Waits in a thread until the call need not: by the crate's socket, which a close by another
    /// thread ends, and which knows the timeout.
    pub(super) fn wait(&self, py: Python<'_>, own: &PySocket) -> PyResult<()> {
        own.check_bypass(py, self.direction, self.flags)?;
        // Nothing of the kind comes to a listener, nor leaves it.
        if !flags::waits_as_usual(self.flags) || own.is_listening(py) {
            return Ok(());
        }
        let socket = own.blocking(py)?;
        wait(py, || match self.direction {
            Direction::Receive => socket.readable(),
            Direction::Send => socket.writable(),
        })
    }

    /// Makes the call now; in a thread it may wait.
    pub(super) fn call(&self, py: Python<'_>, own: &PySocket) -> Outcome {
        let regular = own.regular_for(py, self.direction, self.flags)?;
        regular.call_method1(py, self.verb, self.arguments.bind(py))
    }
}

/// Returns whether a call of the regular socket's would have to wait.
fn would_wait(result: &Outcome) -> bool {
    let py = py();
    result.as_ref().err().is_some_and(|error| {
        error.is_instance_of::<PyBlockingIOError>(py) && !error.is_instance_of::<PyTimeoutError>(py)
    })
}

/// Repeats the regular socket's call until it need not wait. A send comes behind what is queued.
pub(super) async fn run(socket: AsyncSocket, own: Py<PySocket>, passed: Passed) -> Outcome {
    let fails = |error: io::Error| raised(py(), &error);
    loop {
        if passed.direction == Direction::Send {
            socket.flush().await.map_err(fails)?;
        }
        if let Some(result) = passed.attempt(&own) {
            return result;
        }
        passed.direction.ready(&socket).await.map_err(fails)?;
    }
}

/// Sends all of `data` by the regular socket, with flags, behind what is queued.
async fn run_all(socket: AsyncSocket, own: Py<PySocket>, data: View, flags: i32) -> Outcome {
    let mut sent = 0;
    while sent < data.len() {
        let rest = PyBytes::new(py(), &data.bytes()[sent..]);
        let arguments = (rest, flags).into_pyobject(py())?.unbind();
        // One that would not wait may wait here: all is to be sent.
        let passed = Passed { verb: "send", arguments, direction: Direction::Send, flags: 0 };
        let count = run(socket.clone(), own.clone_ref(py()), passed).await?;
        sent += count.extract::<usize>(py())?;
    }
    Ok(py().None())
}
