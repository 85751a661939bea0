//! Finds circles of coroutines that wait for each other's ends, which would wait for ever.
//!
//! Each coroutine knows the one that it waits for without a limit. Whoever begins to wait follows
//! these from there; a circle exists from its last link on, so that nobody else need look.

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::object::Coro;
use crate::{call, gil};

/// The note that the running coroutine waits for another, until it is dropped.
pub(crate) struct Link(Py<Coro>);

impl Link {
    /// Notes that the coroutine that starts a call waits for `other`, without a limit.
    ///
    /// # Errors
    /// RuntimeError if `other` waits for it, or is it.
    pub(crate) fn new(py: Python<'_>, other: &Py<Coro>) -> PyResult<Option<Link>> {
        let Some(own) = call::starter(py) else { return Ok(None) };
        let own = own.into_bound(py).cast_into::<Coro>()?.unbind();
        let mut names = vec![own.get().name(py)];
        let mut next = Some(other.clone_ref(py));
        while let Some(coro) = next {
            names.push(coro.get().name(py));
            if coro.is(&own) {
                let text = names.join(" waits for ");
                return Err(PyRuntimeError::new_err(format!("this would never end: {text}")));
            }
            next = coro.get().awaits(py);
        }
        own.get().state(py).awaits.set(Some(other.clone_ref(py)));
        Ok(Some(Link(own)))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.0.get().state(gil::py()).awaits.take());
    }
}

impl Coro {
    /// Returns the coroutine for whose end it waits.
    fn awaits(&self, py: Python<'_>) -> Option<Py<Coro>> {
        let cell = &self.state(py).awaits;
        let awaits = cell.take()?;
        let again = awaits.clone_ref(py);
        cell.set(Some(awaits));
        Some(again)
    }
}
