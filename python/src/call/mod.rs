//! Calls of verbs: each is an object of its own, which a coroutine starts when it yields or awaits
//! it.
//!
//! A call that nobody has started has done nothing. It belongs to nobody, may be stored and passed
//! on, and is started once, by whoever awaits it. One that waits belongs to its coroutine: the
//! runner polls it (`runner.rs`), or drops it when the coroutine is to go on without it.
//!
//! - this file: making a call;
//! - `object.rs`: what is in the object, and how it comes to its value;
//! - `slots.rs`: its Python type; `memory.rs`: how objects are made and ended;
//! - `origin.rs`: the warning of one that nobody awaited;
//! - `waiting.rs`: a call that its coroutine waits for;
//! - `place.rs`: where its operation, its future and its result are;
//! - `first.rs`: several calls of which the first one counts;
//! - `current.rs`: the coroutine that runs.

mod current;
pub(crate) mod first;
mod memory;
mod object;
pub(crate) mod origin;
mod place;
mod slots;
mod waiting;

use pyo3::{exceptions::PyBaseException, prelude::*};

pub(crate) use self::{
    current::{Frame, current_coro, forked, is_current, note_fork, py, starter, was_told_of_fork},
    memory::is_call,
    origin::quietly,
    place::{Keeps, Started, Starting},
    slots::make_type,
    waiting::{Received, Waiting},
};
/// The result of a call.
pub(crate) type Outcome = PyResult<Py<PyAny>>;

/// An outcome in two machine words, as it is stored and as a generator is resumed with it.
pub(crate) type Given = Result<Py<PyAny>, Py<PyBaseException>>;

pub(crate) fn given(outcome: Outcome) -> Given {
    outcome.map_err(|error| error.into_value(py()))
}

/// Makes a call of the verb `name` of the object `of`. When it is started, `operation` does it.
#[inline]
pub(crate) fn make<O>(
    py: Python<'_>,
    name: &'static str,
    of: Option<&Bound<'_, PyAny>>,
    operation: O,
) -> PyResult<Py<PyAny>>
where
    O: FnOnce(Starting<'_, '_>) -> Started + 'static,
{
    memory::make(py, name, of, operation)
}
