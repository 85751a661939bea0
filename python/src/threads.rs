//! Lets threads wait for the scheduler: on a lock of Python's, which releases the GIL and which
//! Ctrl-C interrupts.

use std::{cell::RefCell, rc::Rc, time::Duration};

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use crate::{
    engine::{self, Home},
    exiting, gil, hooks,
    once::Once,
};

/// Makes a lock that is taken.
pub(crate) fn taken_lock(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
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

/// Waits for the lock, at most `limit`; the main thread notices signals.
pub(crate) fn acquire(lock: &Bound<'_, PyAny>, limit: Option<Duration>) -> PyResult<()> {
    let seconds = limit.map(|limit| limit.as_secs_f64());
    hooks::hook(lock.py(), "acquire")?.call1((lock, seconds)).map(drop)
}

/// Calls `question` in the thread of a scheduler, and waits for the answer.
pub(crate) fn ask<T: 'static>(
    py: Python<'_>,
    home: Home,
    question: impl FnOnce(Python<'_>) -> PyResult<T> + 'static,
) -> PyResult<T> {
    let lock = taken_lock(py)?;
    let answer = Rc::new(RefCell::new(None));
    let asked = Asked { answer: Rc::clone(&answer), lock: lock.clone().unbind() };
    engine::hand_over(py, home, async move {
        asked.answer.replace(Some(question(gil::py())));
        drop(asked);
    });
    acquire(&lock, None)?;
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
        release(gil::py(), &self.lock);
    }
}
