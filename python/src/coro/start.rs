//! Starts a coroutine: calls its function, and hands what that gives to the scheduler.

use pyo3::{
    exceptions::PyRuntimeError,
    prelude::*,
    types::{PyDict, PyTuple},
};

use super::{
    context::Context,
    driver::Driver,
    end::End,
    gc, mail,
    object::{Coro, NOWHERE},
    registry,
    runner::Runner,
    target,
};
use crate::{
    arguments::Arguments,
    engine::{self, Home},
    exiting, guest, holding, hooks,
};

impl Coro {
    /// Calls the function that it runs, and passes it to the scheduler.
    pub(super) fn begin(slf: &Bound<'_, Coro>, arguments: Arguments<'_, '_>) -> PyResult<()> {
        let (py, state) = (slf.py(), slf.get().state(slf.py()));
        exiting::guard();
        let capacity = mail::capacity_in(&arguments)?;
        let (generator, name) = target::called(slf, arguments)?;
        let daemon = holding::starts_as_daemon(py);
        if state.place.get() != NOWHERE {
            return Err(PyRuntimeError::new_err("this coroutine was made already"));
        }
        let context = Context::copy(py)?;
        gc::untrack(slf.as_unbound());
        state.name.replace(name);
        state.end.replace(None);
        state.daemon.set(daemon);
        if let Some(capacity) = capacity {
            slf.get().set_capacity(py, capacity);
        }
        let guest = if engine::in_scheduler() { None } else { guest::here(py)? };
        let home = guest.as_ref().map_or(Home::NONE, |guest| guest.get().home(py));
        state.home.set(home);
        state.place.set(registry::enter(py, slf.as_unbound(), daemon, home));
        let runner = Runner::new(py, slf.clone().unbind(), generator, context);
        let started = match guest {
            Some(guest) => Driver::start(py, &guest, slf.as_unbound(), runner.in_task()),
            None => engine::spawn(py, runner),
        };
        started.inspect_err(|_| {
            registry::leave(py, state.place.get(), state.daemon.get(), home);
            state.end.replace(Some(End::Terminated));
            gc::track(slf.as_unbound());
        })
    }
}

#[pymethods]
impl Coro {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        py: Python<'_>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> Coro {
        Coro::bare(py)
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __init__(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        Arguments::within(args, kwargs, |arguments| Coro::begin(slf, arguments))
    }

    /// Sets whether the process may end without it: 0, or -1 unless the coroutine itself calls.
    #[pyo3(signature = (flag = true))]
    fn set_daemon(&self, py: Python<'_>, flag: bool) -> i32 {
        if !self.is_current() {
            hooks::warn(py, "set_daemon is for the coroutine itself");
            return -1;
        }
        let is_guest = self.home(py) != Home::NONE;
        if self.state(py).daemon.replace(flag) != flag && !is_guest {
            match flag {
                true => holding::end(py),
                false => holding::begin(py),
            }
        }
        0
    }
}
