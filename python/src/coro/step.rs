//! Resumes a generator or a coroutine object once, with a value or an exception.
//!
//! Unsafe: PyIter_Send, which returns a result without an exception around it.
#![allow(unsafe_code)]

use pyo3::{
    exceptions::{PyBaseException, PyGeneratorExit, PyRuntimeError, PyStopIteration},
    ffi,
    prelude::*,
};

use crate::{
    call::{self, Given},
    hooks,
    once::interned,
};

/// The result of a step.
pub(crate) enum Step {
    Yielded(Py<PyAny>),
    Returned(Py<PyAny>),
    Failed(Py<PyBaseException>),
}

/// Resumes `generator`.
#[inline]
pub(crate) fn step(py: Python<'_>, generator: &Py<PyAny>, with: Given) -> Step {
    if hooks::is_legacy() {
        return step_inner(py, generator, with);
    }
    resume(py, generator, with)
}

/// Resumes the innermost generator that `generator` drives by `yield from`, and those outside of it
/// as far as they end. So `raise StopIteration(value)` ends one of them alone, as before Python
/// 3.7: resumed by its caller it would raise a RuntimeError there.
#[cold]
fn step_inner(py: Python<'_>, generator: &Py<PyAny>, with: Given) -> Step {
    let mut stack = vec![generator.clone_ref(py)];
    while let Some(inner) = driven_by(py, stack.last()) {
        stack.push(inner);
    }
    let mut next = with;
    loop {
        let Some(top) = stack.pop() else { unreachable!("the outermost one returns") };
        let step = resume(py, &top, next);
        if stack.is_empty() {
            return step;
        }
        // The inner one has ended: what its caller throws into it is raised there again, and ends
        // the `yield from` with the value of a StopIteration.
        next = Err(match step {
            Step::Yielded(value) => return Step::Yielded(value),
            Step::Failed(error) => error,
            Step::Returned(value) => match py.get_type::<PyStopIteration>().call1((value,)) {
                Ok(stop) => PyErr::from_value(stop).into_value(py),
                Err(error) => error.into_value(py),
            },
        });
    }
}

/// Returns the generator that a generator drives by `yield from`.
fn driven_by(py: Python<'_>, outer: Option<&Py<PyAny>>) -> Option<Py<PyAny>> {
    let outer = outer?.bind(py);
    let inner = outer.getattr_opt(interned!(py, "gi_yieldfrom")).ok()??.unbind();
    is_generator(&inner).then_some(inner)
}

#[inline(always)]
fn resume(py: Python<'_>, generator: &Py<PyAny>, with: Given) -> Step {
    match with {
        // Bound, so that their drop need not ask whether this thread has the GIL.
        Ok(value) => send(py, generator, value.into_bound(py).as_unbound()),
        Err(error) => throw(py, generator, &error),
    }
}

#[cfg(Py_3_10)]
#[inline(always)]
fn send(py: Python<'_>, generator: &Py<PyAny>, value: &Py<PyAny>) -> Step {
    let mut result = std::ptr::null_mut();
    // SAFETY: both objects are alive; what is stored in `result` is a new reference, except after
    // an error, when an exception is set.
    unsafe {
        match ffi::PyIter_Send(generator.as_ptr(), value.as_ptr(), &mut result) {
            ffi::PySendResult::PYGEN_NEXT => {
                Step::Yielded(Bound::from_owned_ptr(py, result).unbind())
            }
            ffi::PySendResult::PYGEN_RETURN => {
                Step::Returned(Bound::from_owned_ptr(py, result).unbind())
            }
            ffi::PySendResult::PYGEN_ERROR => failed(py, PyErr::fetch(py)),
        }
    }
}

#[cfg(not(Py_3_10))]
fn send(py: Python<'_>, generator: &Py<PyAny>, value: &Py<PyAny>) -> Step {
    outcome(py, generator.bind(py).call_method1(interned!(py, "send"), (value,)))
}

fn throw(py: Python<'_>, generator: &Py<PyAny>, error: &Py<PyBaseException>) -> Step {
    outcome(py, generator.bind(py).call_method1(interned!(py, "throw"), (error,)))
}

fn outcome(py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> Step {
    match result {
        Ok(value) => Step::Yielded(value.unbind()),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => returned(py, &error),
        Err(error) => failed(py, error),
    }
}

fn returned(py: Python<'_>, stop: &PyErr) -> Step {
    match stop.value(py).getattr(interned!(py, "value")) {
        Ok(value) => Step::Returned(value.unbind()),
        Err(error) => Step::Failed(error.into_value(py)),
    }
}

/// Converts an exception; in old programs `raise StopIteration` is a return.
fn failed(py: Python<'_>, error: PyErr) -> Step {
    if hooks::is_legacy()
        && error.is_instance_of::<PyRuntimeError>(py)
        && let Some(cause) = error.cause(py)
        && cause.is_instance_of::<PyStopIteration>(py)
        && error.value(py).to_string() == "generator raised StopIteration"
    {
        return returned(py, &cause);
    }
    // The traceback belongs to the exception from here on.
    Step::Failed(error.into_value(py))
}

/// Closes `generator`: raises GeneratorExit at its yield, so that its `finally` runs. A yield in
/// there is ignored; any other exception is returned.
pub(crate) fn close(py: Python<'_>, generator: &Py<PyAny>) -> Option<PyErr> {
    let error = generator.bind(py).call_method0(interned!(py, "close")).err()?;
    let yielded = error.is_instance_of::<PyRuntimeError>(py)
        && error.value(py).to_string().ends_with("ignored GeneratorExit");
    (!yielded && !error.is_instance_of::<PyGeneratorExit>(py)).then_some(error)
}

/// Returns whether an object is a generator or a coroutine object, which a `yield` calls.
pub(crate) fn is_callable_by_yield(object: &Py<PyAny>) -> bool {
    // SAFETY: the object is alive.
    let class = unsafe { ffi::Py_TYPE(object.as_ptr()) };
    class == &raw mut ffi::PyGen_Type || class == &raw mut ffi::PyCoro_Type
}

fn is_generator(object: &Py<PyAny>) -> bool {
    // SAFETY: the object is alive.
    unsafe { ffi::Py_TYPE(object.as_ptr()) == &raw mut ffi::PyGen_Type }
}

/// Returns whether an object is the coroutine object of an `async def`.
pub(crate) fn is_async_def(object: &Py<PyAny>) -> bool {
    // SAFETY: the object is alive.
    unsafe { ffi::Py_TYPE(object.as_ptr()) == &raw mut ffi::PyCoro_Type }
}

/// Returns what `generator` awaits or yields from.
fn awaited<'py>(py: Python<'py>, generator: &Py<PyAny>) -> Option<Bound<'py, PyAny>> {
    let name = match is_async_def(generator) {
        true => interned!(py, "cr_await"),
        false => interned!(py, "gi_yieldfrom"),
    };
    let awaited = generator.bind(py).getattr_opt(name).ok()??;
    (!awaited.is_none()).then_some(awaited)
}

/// Returns the generator or coroutine object that `generator` awaits or yields from.
pub(crate) fn inner(py: Python<'_>, generator: &Py<PyAny>) -> Option<Py<PyAny>> {
    let inner = awaited(py, generator)?.unbind();
    is_callable_by_yield(&inner).then_some(inner)
}

/// Returns whether `generator` waits for another kind of object than a call: an asynchronous
/// generator's next value, say.
pub(crate) fn waits_through(py: Python<'_>, generator: &Py<PyAny>) -> bool {
    awaited(py, generator).is_some_and(|awaited| !call::is_call(py, awaited.as_unbound()))
}
