//! The Python object of a file, and how its verbs become calls.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    os::fd::RawFd,
    rc::Rc,
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::open::{Open, WhileOpen, closed};
use crate::{
    call::{self, Outcome},
    engine::{self, Home},
    gil::{self, Gil},
    socket::PySocket,
};

pub(super) type Called = PyResult<Py<PyAny>>;

/// A file, pipe, terminal, device or socket for coroutines: `yield` or `await` its verbs.
///
/// >>> file = await AsyncFile.open('numbers.txt')
/// >>> async for line in file:
/// ...     print(int(line))
#[pyclass(frozen, weakref, subclass, name = "AsyncFile", module = "asyncoro.asyncfile")]
pub(crate) struct PyFile {
    inner: Gil<Inner>,
}

pub(super) struct Inner {
    /// The open file; over a socket from the first verb on. `None`, too, once it is closed.
    pub(super) open: RefCell<Option<Rc<Open>>>,
    /// The object that it was made of, and closes, and holds; of a number there is none.
    pub(super) under: Cell<Option<Py<PyAny>>>,
    /// The socket that it was made of.
    pub(super) socket: RefCell<Option<Py<PySocket>>>,
    /// Whether `close` closes what it was made of.
    pub(super) closes: bool,
    /// The number that it was made of; -1 for none.
    pub(super) number: RawFd,
    pub(super) is_closed: Cell<bool>,
    /// The scheduler that it belongs to.
    pub(super) bound: Cell<Home>,
}

impl PyFile {
    pub(super) fn with(inner: Inner) -> PyFile {
        PyFile { inner: Gil::new(inner) }
    }

    pub(super) fn inner<'py>(&'py self, py: Python<'py>) -> &'py Inner {
        self.inner.get(py)
    }

    /// Makes a call, which keeps the file alive, of what `verb` does with the open file.
    pub(super) fn start<V, F>(slf: &Bound<'_, Self>, name: &'static str, verb: V) -> Called
    where
        V: FnOnce(Rc<Open>) -> F + 'static,
        F: Future<Output = Outcome> + 'static,
    {
        if slf.get().inner(slf.py()).is_closed.get() {
            return Err(closed());
        }
        call::make(slf.py(), name, Some(slf.as_any()), |starting| {
            match starting.of::<PyFile>().get().opened(gil::py()) {
                Ok(open) => starting.poll(WhileOpen::new(open.clone(), verb(open))),
                Err(error) => starting.done(Err(error)),
            }
        })
    }

    /// Returns the open file for a verb of this thread's scheduler.
    fn opened(&self, py: Python<'_>) -> PyResult<Rc<Open>> {
        let inner = self.inner(py);
        if inner.is_closed.get() {
            return Err(closed());
        }
        let bound = inner.bound.get();
        if !bound.is_here() {
            if bound.exists(py) {
                return Err(elsewhere());
            }
            inner.bound.set(engine::here());
        }
        let socket = inner.socket.borrow().as_ref().map(|socket| socket.clone_ref(py));
        let asynchronous = match socket {
            // It tells whether the socket is here, and open.
            Some(socket) => Some(socket.get().asynchronous(py)?),
            None => None,
        };
        if let Some(open) = &*inner.open.borrow() {
            return Ok(open.clone());
        }
        let open = Open::over_socket(asynchronous.ok_or_else(closed)?);
        *inner.open.borrow_mut() = Some(open.clone());
        Ok(open)
    }
}

/// Returns the error of a verb of a file that another thread's scheduler has.
#[cold]
fn elsewhere() -> PyErr {
    PyRuntimeError::new_err(
        "this file belongs to the coroutines of another thread, or of another event loop, which \
         have used it: each uses files of its own",
    )
}

#[pymethods]
impl PyFile {
    /// Returns the number of the descriptor that it was made of; -1 once it is closed.
    fn fileno(&self, py: Python<'_>) -> RawFd {
        let inner = self.inner(py);
        if inner.is_closed.get() { -1 } else { inner.number }
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.inner(py).is_closed.get()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        match self.fileno(py) {
            -1 => "<AsyncFile closed>".to_owned(),
            number => format!("<AsyncFile fd={number}>"),
        }
    }
}
