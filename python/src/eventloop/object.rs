//! The Python object of a loop, and an iteration of it.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    os::fd::RawFd,
    task::Waker,
};

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyRuntimeError, PyTypeError},
    prelude::*,
    types::{PyDict, PyTuple},
};

use super::{
    epoll::{Epoll, READ},
    handle::{Args, Handle, TimerHandle},
    timers::Timers,
    watch::Watches,
};
use crate::{
    error::raised,
    gil::Gil,
    guest::Guest,
    once::{Once, interned},
};

/// What asyncoro.EventLoop has beside asyncio.SelectorEventLoop, which is its other base.
#[pyclass(frozen, weakref, subclass, module = "asyncoro._engine")]
pub(crate) struct Loop {
    inner: Gil<Inner>,
}

pub(super) struct Inner {
    pub(super) ready: RefCell<VecDeque<Py<PyAny>>>,
    pub(super) timers: Timers,
    pub(super) watches: Watches,
    /// The guest, from the loop's initialization to its end.
    guest: RefCell<Option<Py<Guest>>>,
    /// The descriptor of its scheduler.
    pub(super) own: OnceCell<RawFd>,
    pub(super) is_closed: Cell<bool>,
    pub(super) is_debug: Cell<bool>,
    /// Emptied lists, kept to reuse their memory.
    pub(super) due: Cell<Vec<Py<PyAny>>>,
    pub(super) woken: Cell<Vec<Waker>>,
}

impl Loop {
    pub(super) fn inner<'py>(&'py self, py: Python<'py>) -> &'py Inner {
        self.inner.get(py)
    }

    pub(super) fn watches<'py>(&'py self, py: Python<'py>) -> &'py Watches {
        &self.inner(py).watches
    }

    pub(super) fn is_debug(&self, py: Python<'_>) -> bool {
        self.inner(py).is_debug.get()
    }

    pub(super) fn check_closed(&self, py: Python<'_>) -> PyResult<()> {
        if self.inner(py).is_closed.get() {
            return Err(PyRuntimeError::new_err("Event loop is closed"));
        }
        Ok(())
    }

    /// Puts a callback into the queue.
    pub(super) fn enqueue<'py>(
        slf: &Bound<'py, Loop>,
        callback: Py<PyAny>,
        args: Args,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if slf.get().is_debug(py) {
            Loop::check(slf, &callback, "call_soon")?;
        }
        let handle = Loop::handle(slf, callback, args, context)?;
        slf.get().inner(py).ready.borrow_mut().push_back(handle.clone().unbind());
        Ok(handle)
    }

    /// Makes a handle.
    #[inline]
    pub(super) fn handle<'py>(
        slf: &Bound<'py, Loop>,
        callback: Py<PyAny>,
        args: Args,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if slf.get().is_debug(py) {
            return Loop::made_in_debug(slf, None, callback, &args, context);
        }
        let handle = Handle::new(py, slf.as_any(), callback, args, context)?;
        Ok(Bound::new(py, handle)?.into_any())
    }

    /// Checks a callback and the thread, in debug mode.
    #[cold]
    fn check(slf: &Bound<'_, Loop>, callback: &Py<PyAny>, name: &str) -> PyResult<()> {
        let py = slf.py();
        if name != "call_soon_threadsafe" {
            slf.call_method0(interned!(py, "_check_thread"))?;
        }
        slf.call_method1(interned!(py, "_check_callback"), (callback, name)).map(drop)
    }

    /// Makes a handle of asyncio's, which notes where it was made.
    #[cold]
    fn made_in_debug<'py>(
        slf: &Bound<'py, Loop>,
        when: Option<f64>,
        callback: Py<PyAny>,
        args: &Args,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let events = py.import("asyncio.events")?;
        let args = args.as_tuple(py)?;
        match when {
            None => events.getattr("Handle")?.call1((callback, args, slf, context)),
            Some(when) => {
                let handle =
                    events.getattr("TimerHandle")?.call1((when, callback, args, slf, context))?;
                handle.setattr("_scheduled", true)?;
                Ok(handle)
            }
        }
    }

    /// Arranges for a call at a time.
    fn at<'py>(
        slf: &Bound<'py, Loop>,
        name: &str,
        when: f64,
        callback: Py<PyAny>,
        args: &Bound<'py, PyTuple>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, inner) = (slf.py(), slf.get().inner(slf.py()));
        slf.get().check_closed(py)?;
        let args = Args::of(args);
        if inner.is_debug.get() {
            Loop::check(slf, &callback, name)?;
            let handle = Loop::made_in_debug(slf, Some(when), callback, &args, context)?;
            inner.timers.arm_foreign(when, handle.clone().unbind());
            return Ok(handle);
        }
        let handle = Handle::new(py, slf.as_any(), callback, args, context)?;
        let timer = TimerHandle::make(py, handle, when)?;
        let key = inner.timers.arm(when, timer.clone().into_any().unbind());
        timer.get().set_key(py, key);
        Ok(timer.into_any())
    }
}

impl Inner {
    pub(super) fn guest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Guest>> {
        let guest = self.guest.borrow();
        let guest = guest.as_ref().map(|guest| guest.bind(py).clone());
        guest.ok_or_else(|| PyRuntimeError::new_err("Event loop is closed"))
    }
}

#[pymethods]
impl Loop {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        py: Python<'_>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Loop> {
        let inner = Inner {
            ready: RefCell::default(),
            timers: Timers::new(py)?,
            watches: Watches::new(py, Epoll::new().map_err(|error| raised(py, &error))?),
            guest: RefCell::new(None),
            own: OnceCell::new(),
            is_closed: Cell::new(false),
            is_debug: Cell::new(false),
            due: Cell::default(),
            woken: Cell::default(),
        };
        Ok(Loop { inner: Gil::new(inner) })
    }

    /// Makes the guest, and returns it.
    fn _begin(slf: &Bound<'_, Self>) -> PyResult<Py<Guest>> {
        let (py, inner) = (slf.py(), slf.get().inner(slf.py()));
        let guest = Guest::driven_by(slf.as_any())?;
        let own = guest.get().descriptor(py)?;
        inner.watches.epoll().set(own, false, READ).map_err(|error| raised(py, &error))?;
        let _ = inner.own.set(own);
        inner.guest.replace(Some(guest.clone().unbind()));
        Ok(guest.unbind())
    }

    /// Arranges for a call in the next iteration.
    #[pyo3(signature = (callback, *args, context = None))]
    fn call_soon<'py>(
        slf: &Bound<'py, Self>,
        callback: Py<PyAny>,
        args: &Bound<'py, PyTuple>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.get().check_closed(slf.py())?;
        Loop::enqueue(slf, callback, Args::of(args), context)
    }

    /// Arranges for a call in the next iteration, from any thread.
    #[pyo3(signature = (callback, *args, context = None))]
    fn call_soon_threadsafe<'py>(
        slf: &Bound<'py, Self>,
        callback: Py<PyAny>,
        args: &Bound<'py, PyTuple>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, inner) = (slf.py(), slf.get().inner(slf.py()));
        slf.get().check_closed(py)?;
        if inner.is_debug.get() {
            Loop::check(slf, &callback, "call_soon_threadsafe")?;
        }
        let handle = Loop::handle(slf, callback, Args::of(args), context)?;
        inner.ready.borrow_mut().push_back(handle.clone().unbind());
        inner.guest(py)?.get().ring(py);
        Ok(handle)
    }

    /// Arranges for a call in a number of seconds.
    #[pyo3(signature = (delay, callback, *args, context = None))]
    fn call_later<'py>(
        slf: &Bound<'py, Self>,
        delay: Option<f64>,
        callback: Py<PyAny>,
        args: &Bound<'py, PyTuple>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(delay) = delay else {
            return Err(PyTypeError::new_err("delay must not be None"));
        };
        let when = slf.get().inner(slf.py()).timers.seconds() + delay;
        Loop::at(slf, "call_later", when, callback, args, context)
    }

    /// Arranges for a call at a time of the loop's.
    #[pyo3(signature = (when, callback, *args, context = None))]
    fn call_at<'py>(
        slf: &Bound<'py, Self>,
        when: Option<f64>,
        callback: Py<PyAny>,
        args: &Bound<'py, PyTuple>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(when) = when else {
            return Err(PyTypeError::new_err("when cannot be None"));
        };
        Loop::at(slf, "call_at", when, callback, args, context)
    }

    /// Returns the time: that of time.monotonic().
    fn time(&self, py: Python<'_>) -> f64 {
        self.inner(py).timers.seconds()
    }

    /// Makes a future of the loop's.
    fn create_future<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static FUTURE: Once = Once::new();
        let py = slf.py();
        let kwargs = PyDict::new(py);
        kwargs.set_item(interned!(py, "loop"), slf)?;
        FUTURE.import(py, "asyncio", "Future")?.call((), Some(&kwargs))
    }

    /// Puts a handle into the queue.
    fn _add_callback(slf: &Bound<'_, Self>, handle: Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        if !handle.getattr(interned!(py, "_cancelled"))?.is_truthy()? {
            slf.get().inner(py).ready.borrow_mut().push_back(handle.unbind());
        }
        Ok(())
    }

    /// The same, and wakes the loop: for handlers of signals.
    fn _add_callback_signalsafe(slf: &Bound<'_, Self>, handle: Bound<'_, PyAny>) -> PyResult<()> {
        Loop::_add_callback(slf, handle)?;
        Loop::_write_to_self(slf)
    }

    /// Wakes the loop, from any thread.
    fn _write_to_self(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, inner) = (slf.py(), slf.get().inner(slf.py()));
        if let Ok(guest) = inner.guest(py) {
            guest.get().ring(py);
        }
        Ok(())
    }

    /// Takes a cancelled timer out of the wheel.
    fn _timer_handle_cancelled(&self, handle: &Bound<'_, PyAny>) {
        let py = handle.py();
        let timers = &self.inner(py).timers;
        let key = match handle.cast_exact::<TimerHandle>() {
            Ok(timer) => timer.get().take_key(py),
            Err(_) => timers.take_foreign(handle),
        };
        if let Some(key) = key {
            timers.disarm(key);
        }
    }

    fn _set_debug(&self, py: Python<'_>, enabled: bool) {
        self.inner(py).is_debug.set(enabled);
    }

    /// Ends the guest, before all else of the loop.
    fn _end_guest(&self, py: Python<'_>) -> PyResult<()> {
        let guest = self.inner(py).guest.borrow().as_ref().map(|guest| guest.clone_ref(py));
        if let Some(guest) = guest {
            guest.get().close(py);
        }
        let guest = self.inner(py).guest.take();
        drop(guest);
        Ok(())
    }

    /// Forgets all callbacks, when the loop is closed.
    fn _end(&self, py: Python<'_>) {
        self.end(py);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let inner = self.inner.visited(&visit);
        if let Ok(ready) = inner.ready.try_borrow() {
            ready.iter().try_for_each(|handle| visit.call(handle))?;
        }
        if let Ok(guest) = inner.guest.try_borrow() {
            visit.call(&*guest)?;
        }
        let mut visited = Ok(());
        let mut each = |handle: &Py<PyAny>| {
            visited = visit.call(handle);
            visited.is_ok()
        };
        inner.timers.with_all(&mut each);
        inner.watches.with_handles(&mut each);
        visited
    }

    fn __clear__(&self, py: Python<'_>) {
        self.end(py);
        let guest = self.inner(py).guest.take();
        drop(guest);
    }
}

impl Loop {
    fn end(&self, py: Python<'_>) {
        let inner = self.inner(py);
        inner.is_closed.set(true);
        let ready = inner.ready.take();
        drop(ready);
        let timers = inner.timers.take_all(py);
        drop(timers);
        let handles = inner.watches.clear();
        drop(handles);
    }
}
