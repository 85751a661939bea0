//! Signals of the process as something to wait for: the crate's `signal`.
//!
//! Unsafe: setting what a signal does in C.
#![allow(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    ffi::c_int,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    ffi,
    prelude::*,
};

use crate::{
    call::{self, Outcome},
    error::raised,
    gil::{self, Gil, py},
};

/// A signal that a coroutine may wait for: `yield` or `await` it, or go through it by `async for`.
///
/// >>> await asyncoro.signals.ctrl_c()
#[pyclass(frozen, name = "Signal", module = "asyncoro.signals")]
pub(crate) struct PySignal {
    kind: &'static str,
    state: Gil<State>,
}

struct State {
    signal: RefCell<asyncoro::signal::Signal>,
    is_awaited: Cell<bool>,
}

/// Makes one; it counts from now on.
#[pyfunction]
pub(crate) fn signal(kind: &str) -> PyResult<PySignal> {
    let (kind, signal) = match kind {
        "ctrl_c" => ("ctrl_c", asyncoro::signal::ctrl_c()),
        "terminate" => ("terminate", asyncoro::signal::terminate()),
        "shutdown" => ("shutdown", asyncoro::signal::shutdown()),
        _ => return Err(PyValueError::new_err("no such signal")),
    };
    let state = State { signal: RefCell::new(signal), is_awaited: Cell::new(false) };
    Ok(PySignal { kind, state: Gil::new(state) })
}

/// Ignores a signal from now on, until a handler is set.
#[pyfunction]
pub(crate) fn ignore_signal(number: c_int) {
    const IGNORED: usize = 1; // SIG_IGN
    // SAFETY: SIG_IGN is that number in the place of a function, which is never called.
    unsafe {
        let ignored = std::mem::transmute::<usize, unsafe extern "C" fn(c_int)>(IGNORED);
        ffi::PyOS_setsig(number, ignored);
    }
}

/// Runs the handlers of signals that have come, in the main thread.
#[pyfunction]
pub(crate) fn check_signals(py: Python<'_>) -> PyResult<()> {
    py.check_signals()
}

#[pymethods]
impl PySignal {
    /// Waits for the next one.
    pub(crate) fn wait(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let own = slf.clone_ref(py).into_bound(py).into_any();
        call::make(py, "Signal.wait", Some(&own), |starting| {
            let signal = starting.of::<PySignal>();
            if signal.get().state.get(gil::py()).is_awaited.replace(true) {
                let text = "another coroutine waits for this signal: make one for each";
                return starting.done(Err(PyRuntimeError::new_err(text)));
            }
            starting.poll(Waiting(signal.clone_ref(gil::py())))
        })
    }

    fn __await__(slf: Py<Self>, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        PySignal::wait(slf, py)?.into_bound(py).call_method0("__await__")
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        PySignal::wait(slf, py)
    }

    fn __repr__(&self) -> String {
        format!("<asyncoro.signals.{}: yield or await it>", self.kind)
    }
}

/// The wait of a coroutine for a signal.
struct Waiting(Py<PySignal>);

impl Future for Waiting {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let py = py();
        let signal = &mut *self.0.get().state.get(py).signal.borrow_mut();
        Pin::new(signal).poll(cx).map(|came| match came {
            Ok(()) => Ok(py.None()),
            Err(error) => Err(raised(py, &error)),
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.get().state.get(py()).is_awaited.set(false);
    }
}

/// Returns the call that waits, for a signal that was yielded.
pub(crate) fn as_call(py: Python<'_>, yielded: &Py<PyAny>) -> Option<Py<PyAny>> {
    let signal = yielded.bind(py).cast_exact::<PySignal>().ok()?;
    PySignal::wait(signal.clone().unbind(), py).ok()
}
