//! Callbacks, as they are in the queue.
//!
//! Unsafe: the entries of CPython that enter a context, and that call an object.
#![allow(unsafe_code)]

use std::{cell::Cell, ptr};

use asyncoro::time::TimerKey;
use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyKeyboardInterrupt, PySystemExit},
    ffi,
    prelude::*,
    pyclass::CompareOp,
    types::{PyDict, PyTuple},
};

use crate::{gil::Gil, once::interned};

/// The arguments of a callback.
pub(super) enum Args {
    None,
    One(Py<PyAny>),
    More(Py<PyTuple>),
}

impl Args {
    pub(super) fn of(args: &Bound<'_, PyTuple>) -> Args {
        match args.len() {
            0 => Args::None,
            1 => match args.get_item(0) {
                Ok(argument) => Args::One(argument.unbind()),
                Err(_) => Args::More(args.clone().unbind()),
            },
            _ => Args::More(args.clone().unbind()),
        }
    }

    fn clone_ref(&self, py: Python<'_>) -> Args {
        match self {
            Args::None => Args::None,
            Args::One(argument) => Args::One(argument.clone_ref(py)),
            Args::More(args) => Args::More(args.clone_ref(py)),
        }
    }

    pub(super) fn as_tuple<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        match self {
            Args::None => Ok(PyTuple::empty(py)),
            Args::One(argument) => PyTuple::new(py, [argument]),
            Args::More(args) => Ok(args.bind(py).clone()),
        }
    }
}

/// What is called.
pub(super) struct Callback {
    callback: Py<PyAny>,
    args: Args,
}

/// A callback in a loop of ours: what `call_soon` returns, as asyncio.Handle.
#[pyclass(frozen, weakref, subclass, module = "asyncoro._engine")]
pub(crate) struct Handle {
    inner: Gil<Inner>,
}

struct Inner {
    /// `None` once it was cancelled.
    callback: Cell<Option<Callback>>,
    context: Py<PyAny>,
    cancelled: Cell<bool>,
    running: Py<PyAny>,
}

/// A callback for later: what `call_later` and `call_at` return, as asyncio.TimerHandle.
#[pyclass(frozen, extends = Handle, module = "asyncoro._engine")]
pub(crate) struct TimerHandle {
    when: f64,
    key: Gil<Cell<Option<TimerKey>>>,
}

impl Inner {
    /// Returns what is called, so that code of Python's may run meanwhile: it may show the handle,
    /// cancel it, or let another thread run.
    fn callback(&self, py: Python<'_>) -> Option<Callback> {
        let kept = self.callback.take()?;
        let copy =
            Callback { callback: kept.callback.clone_ref(py), args: kept.args.clone_ref(py) };
        self.callback.set(Some(kept));
        Some(copy)
    }
}

impl Handle {
    /// Makes one; without a context, with a copy of the current one.
    pub(super) fn new(
        py: Python<'_>,
        running: &Bound<'_, PyAny>,
        callback: Py<PyAny>,
        args: Args,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Handle> {
        let context = match context {
            Some(context) => context,
            None => copied(py)?,
        };
        let inner = Inner {
            callback: Cell::new(Some(Callback { callback, args })),
            context,
            cancelled: Cell::new(false),
            running: running.clone().unbind(),
        };
        Ok(Handle { inner: Gil::new(inner) })
    }

    pub(super) fn is_cancelled(&self, py: Python<'_>) -> bool {
        self.inner.get(py).cancelled.get()
    }

    /// Calls it, in its context. Of what that raises, only SystemExit and KeyboardInterrupt come
    /// out; the rest is for the loop's exception handler.
    pub(super) fn run(slf: &Bound<'_, Handle>) -> PyResult<()> {
        let (py, inner) = (slf.py(), slf.get().inner.get(slf.py()));
        if inner.cancelled.get() {
            return Ok(());
        }
        let Some(Callback { callback, args }) = inner.callback(py) else { return Ok(()) };
        let called = in_context(py, &inner.context, || call(py, &callback, &args));
        let Err(error) = called else { return Ok(()) };
        let is_fatal = error.is_instance_of::<PySystemExit>(py)
            || error.is_instance_of::<PyKeyboardInterrupt>(py);
        if is_fatal { Err(error) } else { Handle::report(slf, error) }
    }

    /// Hands an exception to the loop's handler.
    #[cold]
    fn report(slf: &Bound<'_, Handle>, error: PyErr) -> PyResult<()> {
        let (py, inner) = (slf.py(), slf.get().inner.get(slf.py()));
        let text = format!("Exception in callback {}", Handle::shown(slf)?);
        let told = PyDict::new(py);
        told.set_item("message", text)?;
        told.set_item("exception", error.into_value(py))?;
        told.set_item("handle", slf)?;
        inner.running.call_method1(py, interned!(py, "call_exception_handler"), (told,)).map(drop)
    }

    /// Returns the text of what is called, as asyncio shows it.
    fn shown(slf: &Bound<'_, Handle>) -> PyResult<String> {
        let (py, inner) = (slf.py(), slf.get().inner.get(slf.py()));
        let Some(kept) = inner.callback(py) else { return Ok("None".into()) };
        let args = kept.args.as_tuple(py)?;
        let helper = py.import("asyncio.format_helpers")?;
        helper.call_method1("_format_callback_source", (&kept.callback, args))?.extract()
    }
}

/// Returns whether a handle, of ours or of asyncio's, was cancelled.
pub(super) fn is_cancelled(handle: &Bound<'_, PyAny>) -> bool {
    let py = handle.py();
    match handle.cast::<Handle>() {
        Ok(handle) => handle.get().is_cancelled(py),
        Err(_) => handle
            .getattr(interned!(py, "_cancelled"))
            .and_then(|cancelled| cancelled.is_truthy())
            .unwrap_or(false),
    }
}

/// Copies the current context.
fn copied(py: Python<'_>) -> PyResult<Py<PyAny>> {
    // SAFETY: it returns a new reference, or null with an exception.
    let copy = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? };
    Ok(copy.unbind())
}

/// Calls `f` in a context of Python's.
#[inline]
fn in_context<R>(
    py: Python<'_>,
    context: &Py<PyAny>,
    f: impl FnOnce() -> PyResult<R>,
) -> PyResult<R> {
    // SAFETY: both take any object, and fail if it is no context, or one that is entered.
    unsafe {
        if ffi::PyContext_Enter(context.as_ptr()) < 0 {
            return Err(PyErr::fetch(py));
        }
        let result = f();
        if ffi::PyContext_Exit(context.as_ptr()) < 0 && result.is_ok() {
            return Err(PyErr::fetch(py));
        }
        result
    }
}

#[inline]
fn call(py: Python<'_>, callback: &Py<PyAny>, args: &Args) -> PyResult<()> {
    let called = match args {
        // SAFETY: the arguments are that many live objects; the result is a new reference, or null
        // with an exception. One place in front is free, as the flag says.
        Args::None => unsafe {
            let called =
                ffi::PyObject_Vectorcall(callback.as_ptr(), ptr::null(), 0, ptr::null_mut());
            Bound::from_owned_ptr_or_err(py, called)
        },
        // SAFETY: as above.
        Args::One(argument) => unsafe {
            let row = [ptr::null_mut(), argument.as_ptr()];
            let flags = 1 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
            let called = ffi::PyObject_Vectorcall(
                callback.as_ptr(),
                row.as_ptr().add(1),
                flags,
                ptr::null_mut(),
            );
            Bound::from_owned_ptr_or_err(py, called)
        },
        Args::More(args) => callback.bind(py).call1(args),
    };
    called.map(drop)
}

#[pymethods]
impl Handle {
    /// Lets it not be called.
    fn cancel(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, inner) = (slf.py(), slf.get().inner.get(slf.py()));
        if inner.cancelled.replace(true) {
            return Ok(());
        }
        if slf.is_instance_of::<TimerHandle>() {
            let name = interned!(py, "_timer_handle_cancelled");
            inner.running.call_method1(py, name, (slf,))?;
        }
        let callback = inner.callback.take();
        drop(callback);
        Ok(())
    }

    /// Returns whether it was cancelled.
    fn cancelled(&self, py: Python<'_>) -> bool {
        self.is_cancelled(py)
    }

    /// Returns the context that it is called in.
    fn get_context(&self, py: Python<'_>) -> Py<PyAny> {
        self.inner.get(py).context.clone_ref(py)
    }

    /// Calls it.
    #[pyo3(name = "_run")]
    fn run_now(slf: &Bound<'_, Self>) -> PyResult<()> {
        Handle::run(slf)
    }

    #[getter]
    fn _cancelled(&self, py: Python<'_>) -> bool {
        self.is_cancelled(py)
    }

    #[getter]
    fn _callback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.inner.get(py).callback(py).map(|kept| kept.callback)
    }

    #[getter]
    fn _args<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.inner.get(py).callback(py).map(|kept| kept.args.as_tuple(py)).transpose()
    }

    #[getter]
    fn _source_traceback(&self, py: Python<'_>) -> Py<PyAny> {
        py.None()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let timer = slf.cast::<TimerHandle>().ok().map(|timer| timer.get().when);
        let name = if timer.is_some() { "TimerHandle" } else { "Handle" };
        let when = timer.map_or_else(String::new, |when| format!(" when={when}"));
        let state = match slf.get().is_cancelled(py) {
            true => " cancelled".to_string(),
            false => format!(" {}", Handle::shown(slf)?),
        };
        Ok(format!("<{name}{when}{state}>"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let inner = self.inner.visited(&visit);
        visit.call(&inner.context)?;
        visit.call(&inner.running)?;
        let Some(kept) = inner.callback.take() else { return Ok(()) };
        let mut visited = visit.call(&kept.callback);
        if visited.is_ok() {
            visited = match &kept.args {
                Args::None => Ok(()),
                Args::One(argument) => visit.call(argument),
                Args::More(args) => visit.call(args),
            };
        }
        inner.callback.set(Some(kept));
        visited
    }

    fn __clear__(&self, py: Python<'_>) {
        let callback = self.inner.get(py).callback.take();
        drop(callback);
    }
}

impl TimerHandle {
    /// Makes one that is in no wheel yet.
    pub(super) fn make<'py>(
        py: Python<'py>,
        handle: Handle,
        when: f64,
    ) -> PyResult<Bound<'py, TimerHandle>> {
        let timer = TimerHandle { when, key: Gil::new(Cell::new(None)) };
        Bound::new(py, PyClassInitializer::from(handle).add_subclass(timer))
    }

    /// Notes its place in the wheel; `None` once it has left it.
    pub(super) fn set_key(&self, py: Python<'_>, key: Option<TimerKey>) {
        self.key.get(py).set(key);
    }

    pub(super) fn when_is(&self) -> f64 {
        self.when
    }

    /// Returns its place in the wheel, which it leaves.
    pub(super) fn take_key(&self, py: Python<'_>) -> Option<TimerKey> {
        self.key.get(py).take()
    }
}

#[pymethods]
impl TimerHandle {
    /// Returns when it is called, in the time of the loop.
    fn when(&self) -> f64 {
        self.when
    }

    #[getter]
    fn _when(&self) -> f64 {
        self.when
    }

    /// Orders timers by when they are called.
    fn __richcmp__(
        slf: &Bound<'_, Self>,
        other: &Bound<'_, PyAny>,
        op: CompareOp,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let is = slf.is(other);
        let result = match (op, other.cast::<TimerHandle>()) {
            (CompareOp::Eq, _) => is,
            (CompareOp::Ne, _) => !is,
            (_, Ok(other)) => op.matches(slf.get().when.total_cmp(&other.get().when)),
            (_, Err(_)) => return Ok(py.NotImplemented()),
        };
        Ok(result.into_pyobject(py)?.to_owned().into_any().unbind())
    }

    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        slf.as_ptr() as isize >> 4
    }

    #[getter]
    fn _scheduled(&self, py: Python<'_>) -> bool {
        self.key.get(py).get().is_some()
    }
}
