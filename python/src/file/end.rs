//! Ends a file: closes it, or drops it.

use std::{
    fs::File,
    io::{Seek, SeekFrom},
    os::fd::AsFd,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use pyo3::{prelude::*, types::PyTuple};

use super::{object::PyFile, open::Open};
use crate::{
    call,
    engine::{self, Home},
    exiting, gil,
    guest::Guest,
    once::interned,
};

impl PyFile {
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        exiting::guard();
        let inner = self.inner(py);
        if inner.is_closed.replace(true) {
            return Ok(());
        }
        if let Some(open) = inner.open.take() {
            if !inner.closes && open.is_regular {
                leave_position(py, &open);
            }
            open.close();
            release(py, inner.bound.get(), open);
        }
        let socket = inner.socket.take();
        let under = inner.under.take();
        match under.filter(|_| inner.closes) {
            Some(under) => under.call_method0(py, interned!(py, "close")).map(drop),
            None => {
                drop(socket);
                Ok(())
            }
        }
    }
}

/// Sets the descriptor, which stays open, to the position of the file, unless a verb runs.
fn leave_position(py: Python<'_>, open: &Open) {
    let mut position = pin!(open.file.position());
    let cx = &mut Context::from_waker(Waker::noop());
    let polled = Guest::entered(py, || position.as_mut().poll(cx));
    if let (Poll::Ready(Ok(position)), Ok(fd)) = (polled, open.file.as_fd().try_clone_to_owned()) {
        // A folder has none.
        let _ = File::from(fd).seek(SeekFrom::Start(position));
    }
}

/// Drops an open file in the thread of its scheduler; others let go of it when they have ended.
fn release(py: Python<'_>, home: Home, open: Rc<Open>) {
    if home == Home::NONE || !home.exists(py) || home.is_here() {
        drop(open);
    } else {
        engine::hand_over(py, home, async move { drop(open) });
    }
}

impl Drop for PyFile {
    fn drop(&mut self) {
        exiting::guard();
        Python::attach(|py| {
            call::undisturbed(py, || {
                let inner = self.inner(py);
                if let Some(open) = inner.open.take() {
                    release(py, inner.bound.get(), open);
                }
            });
        });
    }
}

#[pymethods]
impl PyFile {
    /// Closes it, and what it was made of unless that is a number; whoever waits on it gets OSError
    /// (EBADF).
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.end(py)
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        call::make(slf.py(), "AsyncFile.__aenter__", Some(slf.as_any()), |starting| {
            let own = starting.of::<PyFile>().clone_ref(gil::py()).into_any();
            starting.done(Ok(own))
        })
    }

    #[pyo3(signature = (*_exception))]
    fn __aexit__(slf: &Bound<'_, Self>, _exception: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        call::make(slf.py(), "AsyncFile.__aexit__", Some(slf.as_any()), |starting| {
            let py = gil::py();
            let ended = starting.of::<PyFile>().get().end(py);
            starting.done(ended.map(|()| py.None()))
        })
    }
}
