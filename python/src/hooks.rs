//! Calls the Python part of the package, which passes its functions when it is imported.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::{exceptions::PyBaseException, prelude::*};

use crate::{exiting, once::Once};

/// The object that has the functions as attributes.
static HOOKS: Once = Once::new();

/// Sets the object whose attributes are called.
#[pyfunction]
pub(crate) fn set_hooks(py: Python<'_>, hooks: Py<PyAny>) {
    HOOKS.set(py, hooks);
}

/// Returns the attribute `name` of that object.
pub(crate) fn hook<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    exiting::guard();
    let hooks = HOOKS.get(py).expect("the package hands them over when it is imported");
    hooks.getattr(name)
}

/// Starts the scheduler's thread and waits until it takes requests.
pub(crate) fn start_scheduler(py: Python<'_>) -> PyResult<()> {
    hook(py, "start_scheduler")?.call0().map(drop)
}

/// Returns whether this thread is a daemon thread.
pub(crate) fn is_daemon_thread(py: Python<'_>) -> bool {
    let asked = hook(py, "is_daemon_thread").and_then(|ask| ask.call0());
    asked.and_then(|answer| answer.is_truthy()).unwrap_or(false)
}

/// Logs a warning.
pub(crate) fn warn(py: Python<'_>, text: &str) {
    call(py, "warn", (text,));
}

/// Logs an error of the package.
pub(crate) fn error(py: Python<'_>, text: &str) {
    call(py, "error", (text,));
}

/// Logs a common event, at the debug level.
pub(crate) fn debug(py: Python<'_>, text: &str) {
    call(py, "debug", (text,));
}

/// Logs an uncaught exception with its traceback.
pub(crate) fn report(py: Python<'_>, name: &str, error: &PyErr) {
    call(py, "report", (name, error.value(py)));
}

/// Ends this process, the child of a fork, in which a coroutine has come to its end.
/// `error` is what it has raised, if it has.
pub(crate) fn leave_child(py: Python<'_>, name: &str, error: Option<Bound<'_, PyBaseException>>) {
    call(py, "leave_child", (name, error));
}

fn call<'py, A>(py: Python<'py>, name: &str, arguments: A)
where
    A: pyo3::call::PyCallArgs<'py>,
{
    let called = hook(py, name).and_then(|hook| hook.call1(arguments));
    if let Err(error) = called {
        error.write_unraisable(py, None);
    }
}

/// Logs that the clean-up of a coroutine took too long, and where `generator` waited in it.
pub(crate) fn cut_off(py: Python<'_>, label: &str, generator: &Py<PyAny>) {
    call(py, "cut_off", (label, generator));
}

/// Whether `raise StopIteration(v)` counts as `return v`, as before Python 3.7.
static LEGACY: AtomicBool = AtomicBool::new(false);

/// Sets whether `raise StopIteration(v)` counts as `return v`.
#[pyfunction]
pub(crate) fn set_legacy(legacy: bool) {
    LEGACY.store(legacy, Ordering::Relaxed);
}

pub(crate) fn is_legacy() -> bool {
    LEGACY.load(Ordering::Relaxed)
}

/// Makes the exception that waiting for a terminated coroutine raises.
pub(crate) fn ended(py: Python<'_>) -> PyErr {
    match hook(py, "terminated").and_then(|make| make.call0()) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// Makes the exception for a message that has no room in a mailbox.
pub(crate) fn full(py: Python<'_>, text: &str) -> PyErr {
    match hook(py, "MailboxFull").and_then(|kind| kind.call1((text,))) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}
