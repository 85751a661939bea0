//! A call as its coroutine sees it: received from the generator, polled, given up.

use std::task::Context;

use pyo3::{
    exceptions::{PyBaseException, PyRuntimeError, PyTypeError},
    prelude::*,
};

use super::{
    current::Frame,
    object::{Object, Stage, is_call},
    outcome::Given,
};
use crate::gil;

/// A call that its coroutine waits for.
pub(crate) struct Waiting {
    /// `None` once it was left to another one.
    call: Option<Py<PyAny>>,
    /// Whether `await` entered it, and will fetch the value.
    awaited: bool,
}

/// What the runner does with a call that was yielded to it.
pub(crate) enum Received {
    /// Resumes the generator.
    Done(Given),
    /// Resumes the generator, which starts the call, after the others have run.
    Later(Waiting),
    Waits(Waiting),
}

impl Waiting {
    fn object(&self) -> &Object {
        Object::within(self.call.as_ref().expect("it is taken at the end"))
    }

    /// Receives a call that a generator has yielded, and starts it unless `await` has.
    #[inline]
    pub(crate) fn receive(
        call: Py<PyAny>,
        py: Python<'_>,
        frame: &Frame,
        cx: &mut Context<'_>,
    ) -> Received {
        let object = Object::within(&call);
        if object.handed.get() != 0 || object.stage.get() != Stage::New {
            return Waiting::receive_begun(call, py, frame, cx);
        }
        object.stage.set(Stage::Begun);
        match frame.starting(|| object.start(cx)) {
            Some(given) => {
                object.stage.set(Stage::Over);
                drop(call.into_bound(py));
                Received::Done(given)
            }
            None => Received::Waits(Waiting { call: Some(call), awaited: false }),
        }
    }

    /// Receives a call that `await` has entered, or that was awaited before.
    fn receive_begun(
        call: Py<PyAny>,
        py: Python<'_>,
        frame: &Frame,
        cx: &mut Context<'_>,
    ) -> Received {
        let handed = Object::within(&call).handed.replace(0);
        let waiting = Waiting { call: Some(call), awaited: handed != 0 };
        let object = waiting.object();
        if waiting.awaited {
            // Entered in an earlier step, or by another coroutine, it does not wake this one.
            if handed != frame.step() && object.place.waits() {
                let given = object.advance(cx);
                given.into_iter().for_each(|given| object.place.keep(given));
            }
            if object.place.waits() {
                return Received::Waits(waiting);
            }
            if object.place.is_given() {
                return Received::Done(Ok(py.None()));
            }
            if object.place.is_unstarted() {
                // `await` has put it off.
                object.stage.set(Stage::New);
            }
            return Received::Later(waiting);
        }
        let error = object.used(py).into_value(py);
        waiting.leave();
        Received::Done(Err(error))
    }

    /// Returns whether nobody has started a call, nor put it off.
    pub(crate) fn is_new(call: &Py<PyAny>) -> bool {
        Object::within(call).stage.get() == Stage::New
    }

    /// Gives up a call that was yielded and will not be started.
    pub(crate) fn refuse(call: &Py<PyAny>) {
        let object = Object::within(call);
        if object.stage.get() == Stage::New {
            object.give_up();
        }
    }

    /// Returns whether `await` entered the call, and will fetch its value.
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited
    }

    /// Gives an awaited call up, and lets `await` raise `error`.
    pub(crate) fn fail(self, error: Py<PyBaseException>) {
        let object = self.object();
        object.place.clear(object.of());
        object.stage.set(Stage::Begun);
        object.place.keep(Err(error));
    }

    /// Leaves a call to whoever else waits for it.
    #[cold]
    fn leave(mut self) {
        self.call = None;
    }

    /// Takes a call that nobody has started, to start it by the first poll.
    pub(crate) fn begin(py: Python<'_>, call: Py<PyAny>) -> PyResult<Waiting> {
        if !is_call(py, &call) {
            let kind = call.bind(py).get_type().name()?.to_string();
            return Err(PyTypeError::new_err(format!("the call of a verb is wanted, not {kind}")));
        }
        let object = Object::within(&call);
        if object.stage.get() != Stage::New {
            return Err(object.used(py));
        }
        object.stage.set(Stage::Begun);
        Ok(Waiting { call: Some(call), awaited: false })
    }

    /// Polls the call: returns what to resume the generator with, or `None` while it waits.
    pub(crate) fn poll(&self, py: Python<'_>, cx: &mut Context<'_>) -> Option<Given> {
        let object = self.object();
        if object.stage.get() == Stage::Over {
            // Whoever has it as well has thrown into it, or closed it.
            let text = format!("{} was given up while a coroutine waited for it", object.name);
            let error = PyRuntimeError::new_err(text).into_value(py);
            return Some(if self.awaited { Ok(py.None()) } else { Err(error) });
        }
        let given = object.advance(cx)?;
        if !self.awaited {
            object.stage.set(Stage::Over);
            return Some(given);
        }
        object.place.keep(given);
        Some(Ok(py.None()))
    }
}

/// Gives the call up: nothing more comes of it.
impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(call) = self.call.take() else { return };
        let object = Object::within(&call);
        if object.place.waits() {
            object.give_up();
        }
        // Without a look at whether this thread has the GIL.
        drop(call.into_bound(gil::py()));
    }
}
