//! What is in the Python object of a call, and how it comes to its value.
//!
//! A generator yields it to the scheduler, which starts it and resumes the generator with its value
//! (`waiting.rs`). `await` and `yield from` enter the object itself: it starts what it does, and
//! gives a value that is there at once without the scheduler; else it yields itself, and is entered
//! again when the value is there. In a task of asyncio's it yields a future of asyncio's in that
//! case, and is entered again when it may go on (`guest/`).
//!
//! Unsafe: objects are reached through pointers of Python's, with the GIL held. What was started is
//! polled and dropped in the scheduler's thread alone.
#![allow(unsafe_code)]

use std::{cell::Cell, ptr, task::Context};

use pyo3::{
    exceptions::{PyBaseException, PyRuntimeError},
    ffi,
    prelude::*,
};

use super::{
    current::{self, Frame},
    origin::Origin,
    outcome::Given,
    place::Place,
};
use crate::{
    engine::{self, Home},
    gil::{self, Gil},
    guest::{self, Wait},
};

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

/// What comes of entering a call.
pub(super) enum Resumed {
    Given(Given),
    /// It is another's, and stays so.
    Refused(Py<PyBaseException>),
    /// It yields itself, to the runner of a coroutine.
    Itself,
    /// It yields this: to a task of asyncio's a future, or None to let the others run first.
    Object(Py<PyAny>),
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
    /// The scheduler that started it.
    pub(super) home: Cell<Home>,
    /// The wait of the task of asyncio's that awaits it.
    pub(super) wait: Cell<Option<Wait>>,
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
        self.home.set(engine::here());
        self.place.start(self.of(), cx)
    }

    /// Returns whether it has nothing that its end must release, but in its place.
    pub(super) fn is_plain(&self) -> bool {
        let wait = self.wait.take();
        let is_plain = wait.is_none() && self.origin.is_none();
        self.wait.set(wait);
        is_plain
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
        drop(self.wait.take());
    }

    /// Lets a task of asyncio's that awaits it go on, if it was not its own doing.
    pub(super) fn give_up_in_task(&self, py: Python<'_>) {
        if let Some(wait) = self.wait.take() {
            wait.end(py);
        }
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

    /// Starts it or goes on, for `await`.
    #[inline]
    pub(super) fn resume(&self, py: Python<'_>) -> Resumed {
        match self.stage.get() {
            Stage::Begun => {
                if let Some(given) = self.place.take_kept() {
                    self.stage.set(Stage::Over);
                    return Resumed::Given(given);
                }
                if self.handed.get() == 0 {
                    // It is another's, or at work further out.
                    return refused(py, self.used(py));
                }
            }
            Stage::New => {}
            Stage::Over => return refused(py, self.used(py)),
        }
        let resumed = current::with_current(|frame| {
            if frame.is_covered(py) {
                return None;
            }
            Some(self.resume_in_frame(py, frame))
        });
        let Some(resumed) = resumed.flatten() else { return self.resume_in_task(py) };
        if matches!(resumed, Resumed::Given(_)) {
            self.stage.set(Stage::Over);
        }
        resumed
    }

    /// Starts it or goes on, for a coroutine of ours.
    #[inline(always)]
    fn resume_in_frame(&self, py: Python<'_>, frame: &Frame) -> Resumed {
        if frame.is_polling() {
            self.stage.set(Stage::Over);
            let text = format!("{} was awaited while another call was at work", self.name);
            return refused(py, PyRuntimeError::new_err(text));
        }
        if frame.has_forked() {
            self.stage.set(Stage::Over);
            return refused(py, current::forked());
        }
        if self.handed.get() == IN_TASK {
            return refused(py, self.used(py));
        }
        self.stage.set(Stage::Begun);
        let is_greedy = frame.is_greedy();
        let given = match self.place.is_unstarted() {
            // Others run first, before it is started: its value could be lost meanwhile.
            true if is_greedy => None,
            true => frame.starting(|| frame.with_context(|cx| self.start(cx))),
            false => frame.starting(|| frame.with_context(|cx| self.advance(cx))),
        };
        match given {
            Some(given) => Resumed::Given(given),
            None => {
                self.handed.set(frame.step());
                Resumed::Itself
            }
        }
    }

    /// Starts it or goes on, for a task of asyncio's.
    fn resume_in_task(&self, py: Python<'_>) -> Resumed {
        let guest = match guest::here(py) {
            Ok(Some(guest)) => guest,
            Ok(None) => {
                self.stage.set(Stage::Over);
                return refused(py, outside(self.name));
            }
            Err(error) => return refused(py, error),
        };
        let guest = guest.get();
        let is_new = self.stage.get() == Stage::New;
        if is_new && guest.is_greedy(py) {
            return Resumed::Object(py.None());
        }
        if !is_new && (self.handed.get() != IN_TASK || !self.home.get().is_here()) {
            return refused(py, self.used(py));
        }
        let wait = match self.wait.take() {
            Some(wait) if !wait.is_woken() => {
                // Another task awaits it.
                self.wait.set(Some(wait));
                return refused(py, self.used(py));
            }
            Some(wait) => wait,
            None => guest.begin(py),
        };
        wait.resumed();
        self.stage.set(Stage::Begun);
        let waker = wait.waker();
        let given = guest.enter(py, || {
            let cx = &mut Context::from_waker(&waker);
            current::for_nobody(|| if is_new { self.start(cx) } else { self.advance(cx) })
        });
        drop(waker);
        let suspended = match given {
            Ok(Some(given)) => {
                self.stage.set(Stage::Over);
                return Resumed::Given(given);
            }
            Ok(None) if wait.is_woken() => Ok(None),
            Ok(None) => guest.suspend(py, &wait),
            Err(error) => Err(error),
        };
        self.wait.set(Some(wait));
        match suspended {
            Ok(object) => {
                self.handed.set(IN_TASK);
                Resumed::Object(object.unwrap_or_else(|| py.None()))
            }
            Err(error) => {
                self.give_up();
                refused(py, error)
            }
        }
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

/// Marks a call that a task of asyncio's awaits: no step of a coroutine has this number.
const IN_TASK: u64 = u64::MAX;

#[cold]
fn refused(py: Python<'_>, error: PyErr) -> Resumed {
    Resumed::Refused(error.into_value(py))
}

/// Returns the error of an await where no coroutine runs.
#[cold]
fn outside(name: &str) -> PyErr {
    let in_a_thread = match name.starts_with("AsyncSocket.") {
        true => "a thread uses AsyncSocket(sock, blocking=True)",
        false => "a thread waits for a coroutine that does so, as by asyncoro.Coro(work).value()",
    };
    PyRuntimeError::new_err(format!(
        "{name}() is for coroutines: `yield` or `await` it in one, or in a task of asyncio; \
         {in_a_thread}"
    ))
}
