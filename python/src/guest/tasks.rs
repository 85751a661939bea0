//! The loop and the task of asyncio's that run in this thread.

use pyo3::{exceptions::PyBaseException, prelude::*};

use super::object::Guest;
use crate::{
    hooks,
    once::{Once, interned},
};

/// Returns the loop of asyncio's that runs in this thread.
pub(crate) fn running_loop(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    static GET: Once = Once::new();
    if GET.get(py).is_none() && !is_imported(py) {
        return None;
    }
    // What asyncio itself calls, also where a test has replaced that in asyncio.events.
    let get = GET
        .import(py, "_asyncio", "_get_running_loop")
        .or_else(|_| GET.import(py, "asyncio.events", "_get_running_loop"));
    let running = get.ok()?.call0().ok()?;
    (!running.is_none()).then_some(running)
}

/// Returns whether asyncio was imported: if not, no loop runs, and there is no need to.
fn is_imported(py: Python<'_>) -> bool {
    let modules = py.import("sys").and_then(|sys| sys.getattr("modules"));
    modules.and_then(|modules| modules.contains("asyncio")).unwrap_or(false)
}

/// Returns the task that runs in the loop of this thread.
pub(crate) fn current_task<'py>(
    py: Python<'py>,
    running: &Bound<'py, PyAny>,
) -> Option<Bound<'py, PyAny>> {
    static CURRENT: Once = Once::new();
    let current = CURRENT.import(py, "asyncio", "current_task").ok()?;
    let task = current.call1((running,)).ok()?;
    (!task.is_none()).then_some(task)
}

/// Returns the guest of the loop that runs in this thread, made if it has none; `None` if no loop
/// runs.
pub(crate) fn here(py: Python<'_>) -> PyResult<Option<Bound<'_, Guest>>> {
    let Some(running) = running_loop(py) else { return Ok(None) };
    if let Some(guest) = Guest::last_here(py, &running) {
        return Ok(Some(guest));
    }
    let guest = match running.getattr_opt(interned!(py, "_asyncoro_guest"))? {
        Some(guest) => guest.cast_into::<Guest>()?,
        None => {
            let guest = hooks::hook(py, "attach")?.call1((&running,))?;
            guest.cast_into::<Guest>()?
        }
    };
    Guest::stays(&guest)?;
    Ok(Some(guest))
}

/// Returns whether an object that was yielded is a future of asyncio's, or a task, which wants to
/// be waited for.
pub(crate) fn is_asyncio_future(py: Python<'_>, object: &Py<PyAny>) -> bool {
    let blocking = object.bind(py).getattr_opt(interned!(py, "_asyncio_future_blocking"));
    match blocking {
        Ok(blocking) => blocking.is_some_and(|flag| flag.is_truthy().unwrap_or(false)),
        Err(_) => false,
    }
}

/// Returns whether an exception is the one that cancels tasks.
pub(crate) fn is_cancelled(py: Python<'_>, error: &Py<PyBaseException>) -> bool {
    static CANCELLED: Once = Once::new();
    let kind = CANCELLED.import(py, "asyncio", "CancelledError");
    kind.and_then(|kind| error.bind(py).is_instance(kind)).unwrap_or(false)
}
