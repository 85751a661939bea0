//! What is in the Python object of a call, and how it comes to its value.
//!
//! A generator yields it to the scheduler, which starts it and resumes the generator with its value
//! (`waiting.rs`). `await` and `yield from` enter the object itself: it starts what it does, and
//! gives a value that is there at once without the scheduler; else it yields itself, and is entered
//! again when the value is there.
//!
//! Unsafe: objects are reached through pointers of Python's, with the GIL held. What was started is
//! polled and dropped in the scheduler's thread alone.
#![allow(unsafe_code)]

use std::{cell::Cell, ptr, task::Context};

use pyo3::{exceptions::PyRuntimeError, ffi, prelude::*};

use super::{current, origin::Origin, outcome::Given, place::Place};
use crate::gil::{self, Gil};

/// The type; null until [`set_type`].
static TYPE: Gil<Cell<*mut ffi::PyTypeObject>> = Gil::new(Cell::new(ptr::null_mut()));

/// Sets the type, which lives for ever.
pub(super) fn set_type(class: Bound<'_, PyAny>) {
    TYPE.get(class.py()).set(class.into_ptr().cast());
}

/// Returns the type.
#[inline]
pub(super) fn class(py: Python<'_>) -> *mut ffi::PyTypeObject {
    TYPE.get(py).get()
}

/// Returns whether an object is a call.
#[inline]
pub(crate) fn is_call(py: Python<'_>, object: &Py<PyAny>) -> bool {
    // SAFETY: the object is alive.
    unsafe { ffi::Py_TYPE(object.as_ptr()) == class(py) }
}

/// How far a call has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    New,
    /// It was started. It waits, or its value waits to be given.
    Begun,
    /// Its value was given, or it was given up.
    Over,
}

#[repr(C)]
pub(super) struct Object {
    pub(super) head: ffi::PyObject,
    /// The verb, as `AsyncSocket.recv`.
    pub(super) name: &'static str,
    /// The object whose verb it is, with a reference to it; null if there is none.
    pub(super) of: *mut ffi::PyObject,
    pub(super) stage: Cell<Stage>,
    /// The step of a coroutine in which it has yielded itself, if the runner has not received it
    /// yet; else 0.
    pub(super) handed: Cell<u64>,
    /// Where it was made, if that is noted.
    pub(super) origin: Option<Box<Origin>>,
    pub(super) place: Place,
}

impl Object {
    /// Returns what is in a call.
    #[inline]
    pub(super) fn within(call: &Py<PyAny>) -> &Object {
        debug_assert!(is_call(gil::py(), call), "the caller has checked it");
        // SAFETY: it is an object of the type, which is alive for as long as it is borrowed.
        unsafe { &*call.as_ptr().cast::<Object>() }
    }

    pub(super) fn advance(&self, cx: &mut Context<'_>) -> Option<Given> {
        self.place.advance(self.of(), cx)
    }

    /// Starts one that was not started.
    #[inline]
    pub(super) fn start(&self, cx: &mut Context<'_>) -> Option<Given> {
        self.place.start(self.of(), cx)
    }

    pub(super) fn of(&self) -> Option<&Py<PyAny>> {
        let of = ptr::from_ref(&self.of);
        // SAFETY: the pointer is a reference of the call's own; a `Py` is such a pointer.
        (!self.of.is_null()).then(|| unsafe { &*of.cast::<Py<PyAny>>() })
    }

    pub(super) fn give_up(&self) {
        self.stage.set(Stage::Over);
        self.handed.set(0);
        self.place.clear(self.of());
    }

    /// Returns the error of starting it once more.
    #[cold]
    pub(super) fn used(&self, _: Python<'_>) -> PyErr {
        let name = self.name;
        PyRuntimeError::new_err(match self.stage.get() {
            Stage::Begun => format!("this call of {name} is awaited already: each is awaited once"),
            _ => format!(
                "this call of {name} was awaited before: each is awaited once, so call it again"
            ),
        })
    }

    /// Starts it or goes on, for `await`: the result, or `None` if it has to yield itself.
    #[inline]
    pub(super) fn resume(&self, py: Python<'_>) -> Option<Given> {
        match self.stage.get() {
            Stage::Begun => {
                if let Some(given) = self.place.take_kept() {
                    self.stage.set(Stage::Over);
                    return Some(given);
                }
                if self.handed.get() == 0 {
                    // It is another's, or at work further out.
                    return Some(Err(self.used(py).into_value(py)));
                }
            }
            Stage::New => {}
            Stage::Over => return Some(Err(self.used(py).into_value(py))),
        }
        let resumed = current::with_current(|frame| {
            if frame.is_polling() {
                let text = format!("{} was awaited while another call was at work", self.name);
                return Some(Err(PyRuntimeError::new_err(text).into_value(py)));
            }
            if frame.has_forked() {
                return Some(Err(current::forked().into_value(py)));
            }
            self.stage.set(Stage::Begun);
            let is_greedy = frame.is_greedy();
            let given = match self.place.is_unstarted() {
                // Others run first, before it is started: its value could be lost meanwhile.
                true if is_greedy => None,
                true => frame.starting(|| frame.with_context(|cx| self.start(cx))),
                false => frame.starting(|| frame.with_context(|cx| self.advance(cx))),
            };
            if given.is_none() {
                self.handed.set(frame.step());
            }
            given
        });
        let given = resumed.unwrap_or_else(|| Some(Err(outside(self.name).into_value(py))));
        if given.is_some() {
            self.stage.set(Stage::Over);
        }
        given
    }

    /// Shows it; the object is shown by Python.
    pub(super) fn shown(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let state = match self.stage.get() {
            Stage::New => "not started",
            Stage::Begun => "waits",
            Stage::Over => "over",
        };
        let of = match self.of() {
            Some(of) => format!(" of {}", of.bind(py).repr()?),
            None => String::new(),
        };
        let text = format!("<call {}(){of}: {state}>", self.name);
        Ok(text.into_pyobject(py)?.into_any().unbind())
    }
}

/// Returns the error of an await where no coroutine runs.
#[cold]
fn outside(name: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "{name}() of an asynchronous socket or coroutine is for coroutines: `yield` or `await` it \
         in one, or use AsyncSocket(sock, blocking=True) in a thread"
    ))
}
