//! Lets threads wait for coroutines: on a lock of Python's, which releases the GIL and which Ctrl-C
//! interrupts.

use std::{cell::RefCell, rc::Rc, time::Duration};

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use crate::{coro::Coro, engine, exiting, once::Once};

/// Makes a lock that is taken.
fn taken_lock(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static ALLOCATE: Once = Once::new();
    exiting::guard();
    let lock = ALLOCATE.import(py, "_thread", "allocate_lock")?.call0()?;
    lock.call_method0("acquire")?;
    Ok(lock)
}

/// Wakes the thread that waits on the lock.
pub(crate) fn release(py: Python<'_>, lock: &Py<PyAny>) {
    // It may have been released before, by a wait that was given up.
    let _ = lock.call_method0(py, "release");
}

/// Waits until a coroutine has ended, at most `limit`.
pub(crate) fn wait_for(coro: &Bound<'_, Coro>, limit: Option<Duration>) -> PyResult<()> {
    let py = coro.py();
    if coro.get().has_ended(py) {
        return Ok(());
    }
    if engine::is_here() {
        return Err(PyRuntimeError::new_err(
            "this would block the scheduler, and with it the coroutine that is waited for: \
             `yield coro.finish()` or `await coro`",
        ));
    }
    // Making a lock may run Python's code, and so let another thread run: the coroutine may end
    // meanwhile. From here on nobody else runs until it knows the lock.
    let lock = taken_lock(py)?;
    if coro.get().has_ended(py) {
        return Ok(());
    }
    coro.get().watch(py, |watchers| watchers.threads.push(lock.clone().unbind()));
    // Python's longest timeout is shorter than ours.
    let seconds = limit.map_or(-1.0, |limit| limit.as_secs_f64().min(1e9));
    let acquired = lock.call_method1("acquire", (true, seconds));
    if !coro.get().has_ended(py) {
        let given_up = coro.get().watch(py, |watchers| {
            let place = watchers.threads.iter().position(|other| other.is(&lock));
            place.map(|place| watchers.threads.swap_remove(place))
        });
        drop(given_up);
    }
    acquired.map(drop)
}

/// Calls `question` in the scheduler's thread, and waits for the answer.
pub(crate) fn ask<T: 'static>(
    py: Python<'_>,
    question: impl FnOnce(Python<'_>) -> PyResult<T> + 'static,
) -> PyResult<T> {
    let lock = taken_lock(py)?;
    let answer = Rc::new(RefCell::new(None));
    let asked = Asked { answer: Rc::clone(&answer), lock: lock.clone().unbind() };
    engine::spawn(py, async move {
        asked.answer.replace(Some(question(crate::call::py())));
        drop(asked);
    })?;
    lock.call_method0("acquire")?;
    let answer = answer.take();
    answer.unwrap_or_else(|| Err(PyRuntimeError::new_err("the scheduler has ended")))
}

/// A question on its way to the scheduler, which may end before it answers.
struct Asked<T> {
    answer: Rc<RefCell<Option<PyResult<T>>>>,
    lock: Py<PyAny>,
}

impl<T> Drop for Asked<T> {
    fn drop(&mut self) {
        release(crate::call::py(), &self.lock);
    }
}
