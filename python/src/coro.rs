//! `Coro`: a coroutine as Python has it, and what others do to it.
//!
//! Its state is touched with the GIL held, by any thread. What it runs is elsewhere, in the engine
//! (`runner.rs`), which looks at its orders when it is resumed; so giving one is leaving it here
//! and waking the coroutine.
//!
//! Unsafe: what the collector may look at.
#![allow(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    mem,
    task::Waker,
};

use pyo3::{
    exceptions::{PyBaseException, PyException, PyRuntimeError, PyStopIteration, PyTypeError},
    intern,
    prelude::*,
    types::{PyDict, PyString, PyTuple, PyType},
};

use crate::{
    call, engine, gc,
    gil::Gil,
    hooks, registry,
    runner::Runner,
    target, threads,
    waits::{Ending, Receiving, Suspended, limit},
};

/// How a coroutine has ended.
pub(crate) enum End {
    Value(Py<PyAny>),
    Failed(Py<PyBaseException>),
    Terminated,
}

/// What others have asked of it.
pub(crate) enum Order {
    Terminate,
    Throw(PyErr),
}

/// What it waits for by its own calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Nothing,
    Resume,
    Message,
}

/// Those who wait for its end.
#[derive(Default)]
pub(crate) struct Watchers {
    pub(crate) coroutines: Vec<Waker>,
    pub(crate) threads: Vec<Py<PyAny>>,
    pub(crate) monitors: Vec<Py<Coro>>,
    pub(crate) callbacks: Vec<Py<PyAny>>,
}

type Swap = (Py<PyAny>, Py<PyString>);

#[derive(Default)]
struct Rare {
    orders: VecDeque<Order>,
    /// A generator that is to take over.
    swap: Option<Swap>,
    /// The one that was offered to the running generator.
    offered: Option<Swap>,
}

pub(crate) struct State {
    name: RefCell<Py<PyString>>,
    pub(crate) waker: RefCell<Option<Waker>>,
    pub(crate) mail: RefCell<VecDeque<Py<PyAny>>>,
    pub(crate) wait: Cell<Wait>,
    /// What `resume` has given.
    pub(crate) given: RefCell<Option<Py<PyAny>>>,
    has_orders: Cell<bool>,
    /// What few coroutines ever have.
    rare: RefCell<Option<Box<Rare>>>,
    swappable: Cell<bool>,
    end: RefCell<Option<End>>,
    pub(crate) watchers: RefCell<Option<Box<Watchers>>>,
    daemon: Cell<bool>,
    /// Its place in the registry.
    place: Cell<usize>,
    /// Whether somebody has been told of its exception.
    observed: Cell<bool>,
}

/// A coroutine: a generator function, or an `async def` one, that the scheduler runs.
///
/// >>> def hello(name, coro=None):
/// ...     yield coro.sleep(0.1)
/// ...     return 'hello ' + name
/// >>> asyncoro.Coro(hello, 'you').value()
/// 'hello you'
///
/// A parameter with a default that is named `coro` or `task` gets the coroutine itself.
#[pyclass(frozen, weakref, subclass, module = "asyncoro")]
pub(crate) struct Coro {
    state: Gil<State>,
}

impl Coro {
    pub(crate) fn state<'py>(&'py self, py: Python<'py>) -> &'py State {
        self.state.get(py)
    }

    pub(crate) fn wake(&self, py: Python<'_>) {
        // Out of the cell: a waker may run what comes back here.
        let waker = self.state(py).waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn has_ended(&self, py: Python<'_>) -> bool {
        self.state(py).end.borrow().is_some()
    }

    #[inline]
    pub(crate) fn has_orders(&self, py: Python<'_>) -> bool {
        self.state(py).has_orders.get()
    }

    /// The next order; an offered swap counts as one while `may_swap`.
    pub(crate) fn take_order(&self, py: Python<'_>, may_swap: bool) -> Option<Order> {
        let state = self.state(py);
        let order = self.rarely(py, |rare| rare.orders.pop_front());
        if order.is_some() {
            return order;
        }
        let waits_for_swap = self.rarely(py, |rare| rare.swap.is_some());
        state.has_orders.set(waits_for_swap && state.swappable.get());
        if !(waits_for_swap && may_swap && state.swappable.get()) {
            return None;
        }
        state.has_orders.set(false);
        let swap = self.rarely(py, |rare| rare.swap.take());
        let error = swap.as_ref().map(|(generator, _)| swap_exception(py, generator));
        let old = self.rarely(py, |rare| mem::replace(&mut rare.offered, swap));
        drop(old);
        error.map(Order::Throw)
    }

    /// The generator that takes over, if `error` is what the running one was offered it with.
    pub(crate) fn swapped_for(&self, py: Python<'_>, error: &PyErr) -> Option<Py<PyAny>> {
        let state = self.state(py);
        state.rare.borrow().as_ref()?.offered.as_ref()?;
        let kind = hooks::hook(py, "HotSwapException").ok()?;
        if !error.value(py).is_instance(&kind).unwrap_or(false) {
            return None;
        }
        let (generator, name) = self.rarely(py, |rare| rare.offered.take())?;
        state.name.replace(name);
        Some(generator)
    }

    /// Gives a message that was there; it is kept if nobody can be given it.
    fn give(&self, py: Python<'_>, message: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let kept = message.clone_ref(py);
        call::done(py, "receive", Ok(message)).inspect_err(|_| {
            self.state(py).mail.borrow_mut().push_front(kept);
        })
    }

    /// Works on what few coroutines have; nothing foreign may run in `f`.
    fn rarely<R>(&self, py: Python<'_>, f: impl FnOnce(&mut Rare) -> R) -> R {
        f(self.state(py).rare.borrow_mut().get_or_insert_default())
    }

    fn order(&self, py: Python<'_>, order: Order) -> i32 {
        if self.has_ended(py) {
            return -1;
        }
        let state = self.state(py);
        self.rarely(py, |rare| rare.orders.push_back(order));
        state.has_orders.set(true);
        self.wake(py);
        0
    }

    /// Has an exception raised where it waits.
    pub(crate) fn throw_into(&self, py: Python<'_>, error: Bound<'_, PyAny>) {
        self.order(py, Order::Throw(PyErr::from_value(error)));
    }

    /// Takes an exception back that was not raised yet.
    pub(crate) fn withdraw(&self, py: Python<'_>, error: &Py<PyAny>) {
        let is_it = |order: &Order| match order {
            Order::Throw(other) => other.value(py).as_ptr() == error.as_ptr(),
            Order::Terminate => false,
        };
        let taken = self.rarely(py, |rare| {
            let place = rare.orders.iter().position(is_it);
            place.and_then(|place| rare.orders.remove(place))
        });
        drop(taken);
    }

    pub(crate) fn name(&self, py: Python<'_>) -> String {
        self.state(py).name.borrow().bind(py).to_string()
    }

    /// Its name and number, for people.
    pub(crate) fn label(&self, py: Python<'_>) -> String {
        format!("{}/{}", self.name(py), std::ptr::from_ref(self).addr())
    }

    pub(crate) fn report(&self, py: Python<'_>, error: &PyErr) {
        hooks::report(py, &self.label(py), error);
    }

    /// It has ended: everybody who waits for that is told.
    pub(crate) fn end(own: &Py<Coro>, py: Python<'_>, end: End) {
        let coro = own.get();
        let state = coro.state(py);
        let unobserved = match &end {
            End::Failed(error) if !state.observed.get() => Some(again(py, error)),
            _ => None,
        };
        // Together, before anything of Python's runs and with it another thread may: whoever comes
        // from now on sees the end, and whoever came before is told.
        state.end.replace(Some(end));
        let watchers = state.watchers.take();
        // What it has ended with may hold it in turn: a value, or a traceback's frames.
        gc::track(own);
        state.waker.take();
        drop((state.mail.take(), state.rare.take(), state.given.take()));
        if let Some(error) = unobserved {
            coro.report(py, &error);
        }
        registry::leave(py, state.place.get(), state.daemon.get());
        if let Some(watchers) = watchers {
            tell(own, py, *watchers);
        }
    }

    /// What `value()` and `finish()` give once it has ended.
    pub(crate) fn outcome(own: &Py<Coro>, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        match &*own.get().state(py).end.borrow() {
            None => None,
            Some(End::Value(value)) => Some(Ok(value.clone_ref(py))),
            Some(End::Terminated) => Some(Ok(py.None())),
            Some(End::Failed(error)) => Some(failure(own, py, error)),
        }
    }

    /// The same, but what it has raised is raised again.
    pub(crate) fn raised(own: &Py<Coro>, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        match &*own.get().state(py).end.borrow() {
            Some(End::Failed(error)) => Some(Err(again(py, error))),
            None => None,
            Some(End::Value(value)) => Some(Ok(value.clone_ref(py))),
            Some(End::Terminated) => Some(Err(hooks::ended(py))),
        }
    }

    /// From now on its exception is somebody's who waits for it: nobody else is told.
    pub(crate) fn observe(&self, py: Python<'_>) {
        self.state(py).observed.set(true);
    }

    pub(crate) fn watch(&self, py: Python<'_>, add: impl FnOnce(&mut Watchers)) {
        add(self.state(py).watchers.borrow_mut().get_or_insert_default());
    }

    fn is_current(&self, py: Python<'_>) -> bool {
        call::with_current(|frame| std::ptr::eq(frame.coro.bind(py).get(), self)).unwrap_or(false)
    }

    fn make(py: Python<'_>, name: Py<PyString>) -> PyResult<Py<Coro>> {
        let state = State {
            name: RefCell::new(name),
            waker: RefCell::new(None),
            mail: RefCell::default(),
            wait: Cell::new(Wait::Nothing),
            given: RefCell::new(None),
            has_orders: Cell::new(false),
            rare: RefCell::new(None),
            swappable: Cell::new(false),
            end: RefCell::new(None),
            watchers: RefCell::new(None),
            daemon: Cell::new(false),
            place: Cell::new(0),
            observed: Cell::new(false),
        };
        let coro = Py::new(py, Coro { state: Gil::new(state) })?;
        gc::untrack(&coro);
        Ok(coro)
    }
}

fn swap_exception(py: Python<'_>, generator: &Py<PyAny>) -> PyErr {
    match hooks::hook(py, "HotSwapException").and_then(|kind| kind.call1((generator,))) {
        Ok(value) => PyErr::from_value(value),
        Err(error) => error,
    }
}

/// The exception that a coroutine has ended with, to be raised once more.
fn again(py: Python<'_>, error: &Py<PyBaseException>) -> PyErr {
    PyErr::from_value(error.bind(py).clone().into_any())
}

/// A failure as a value: a MonitorStatus.
fn failure(own: &Py<Coro>, py: Python<'_>, error: &Py<PyBaseException>) -> PyResult<Py<PyAny>> {
    let made = hooks::hook(py, "failure")?.call1((own, error))?;
    Ok(made.unbind())
}

fn tell(own: &Py<Coro>, py: Python<'_>, watchers: Watchers) {
    watchers.coroutines.into_iter().for_each(Waker::wake);
    for thread in watchers.threads {
        threads::release(py, &thread);
    }
    for monitor in watchers.monitors {
        match status(own, py) {
            Ok(status) => drop(monitor.get().send(py, status)),
            Err(error) => own.get().report(py, &error),
        }
    }
    for callback in watchers.callbacks {
        if let Err(error) = callback.call1(py, (own,)) {
            own.get().report(py, &error);
        }
    }
}

/// What a monitor is told.
fn status(own: &Py<Coro>, py: Python<'_>) -> PyResult<Py<PyAny>> {
    let state = own.get().state(py);
    if let Some(End::Failed(error)) = &*state.end.borrow() {
        return failure(own, py, error);
    }
    let value = match &*state.end.borrow() {
        Some(End::Value(value)) => value.clone_ref(py),
        _ => py.None(),
    };
    let kind = hooks::hook(py, "MonitorStatus")?;
    Ok(kind.call1((own, py.get_type::<PyStopIteration>(), value))?.unbind())
}

#[pymethods]
impl Coro {
    #[new]
    #[pyo3(signature = (*args, **kwargs))]
    fn new(
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<Coro>> {
        let coro = Coro::make(py, intern!(py, "coroutine").clone().unbind())?;
        let (generator, name) = target::call(py, &coro, args, kwargs)?;
        coro.get().state(py).name.replace(name);
        coro.get().state(py).place.set(registry::enter(py, &coro));
        let runner = Runner::new(coro.clone_ref(py), generator);
        if let Err(error) = engine::spawn(py, runner) {
            registry::leave(py, coro.get().state(py).place.get(), false);
            return Err(error);
        }
        Ok(coro)
    }

    /// Its name: that of the function, unless it was swapped.
    #[getter(name)]
    fn get_name(&self, py: Python<'_>) -> Py<PyString> {
        self.state(py).name.borrow().clone_ref(py)
    }

    /// Waits `timeout` seconds (None: for ever) or until `resume`, whose value it gives; else
    /// `alarm_value`. Only a coroutine itself can.
    #[pyo3(signature = (timeout = None, alarm_value = None))]
    fn sleep(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        alarm_value: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let refused = |why: &str| {
            hooks::warn(py, &format!("{}: {why}", slf.get().label(py)));
            call::done(py, "sleep", Ok((-1i32).into_pyobject(py)?.into_any().unbind()))
        };
        if !slf.get().is_current(py) {
            hooks::warn(py, &format!("{}: sleep is for the coroutine itself", slf.get().label(py)));
            return Ok((-1i32).into_pyobject(py)?.into_any().unbind());
        }
        let Ok(timeout) = limit(timeout) else { return refused("sleep takes seconds") };
        let alarm = alarm_value.unwrap_or_else(|| py.None());
        call::start(py, "sleep", Suspended::new(slf.clone().unbind(), timeout, alarm))
    }

    /// As `sleep`.
    #[pyo3(signature = (timeout = None, alarm_value = None))]
    fn suspend(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        alarm_value: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Coro::sleep(slf, timeout, alarm_value)
    }

    /// Ends its sleep, whose value becomes `update`: 0. One that does not sleep is left alone: 0.
    /// One that has ended: -1.
    #[pyo3(signature = (update = None))]
    fn resume(&self, py: Python<'_>, update: Option<Py<PyAny>>) -> i32 {
        if self.has_ended(py) {
            return -1;
        }
        let state = self.state(py);
        if state.wait.get() == Wait::Resume && state.given.borrow().is_none() {
            state.given.replace(Some(update.unwrap_or_else(|| py.None())));
            self.wake(py);
        } else {
            hooks::warn(py, &format!("ignoring resume of {}: it does not sleep", self.label(py)));
        }
        0
    }

    /// As `resume`.
    #[pyo3(signature = (update = None))]
    fn wakeup(&self, py: Python<'_>, update: Option<Py<PyAny>>) -> i32 {
        self.resume(py, update)
    }

    /// Leaves a message for it: 0, or -1 if it has ended.
    fn send(&self, py: Python<'_>, message: Py<PyAny>) -> i32 {
        if self.has_ended(py) {
            return -1;
        }
        let state = self.state(py);
        state.mail.borrow_mut().push_back(message);
        if state.wait.get() == Wait::Message {
            self.wake(py);
        }
        0
    }

    /// Leaves a message for it; to be yielded or awaited: 1, or -1 if it has ended.
    #[pyo3(signature = (message, timeout = None))]
    fn deliver(
        &self,
        py: Python<'_>,
        message: Py<PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        limit(timeout)?;
        let sent = self.send(py, message);
        let value = if sent == 0 { 1i32 } else { -1 };
        call::done(py, "deliver", Ok(value.into_pyobject(py)?.into_any().unbind()))
    }

    /// The earliest message; waits `timeout` seconds for one (None: for ever, 0: not at all), then
    /// gives `alarm_value`.
    #[pyo3(signature = (timeout = None, alarm_value = None))]
    fn receive(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        alarm_value: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let timeout = limit(timeout)?;
        if call::is_inside() && !slf.get().is_current(py) {
            return Err(PyRuntimeError::new_err("receive is for the coroutine itself"));
        }
        let message = slf.get().state(py).mail.borrow_mut().pop_front();
        if let Some(message) = message {
            return slf.get().give(py, message);
        }
        let alarm = alarm_value.unwrap_or_else(|| py.None());
        call::start(py, "receive", Receiving::new(slf.clone().unbind(), timeout, alarm))
    }

    /// As `receive`.
    #[pyo3(signature = (timeout = None, alarm_value = None))]
    fn recv(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        alarm_value: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Coro::receive(slf, timeout, alarm_value)
    }

    /// Raises an exception where it waits: 0; -1 if it has ended or nothing was given.
    #[pyo3(signature = (*args))]
    fn throw(&self, py: Python<'_>, args: &Bound<'_, PyTuple>) -> PyResult<i32> {
        if args.is_empty() {
            hooks::warn(py, "throw needs an exception");
            return Ok(-1);
        }
        Ok(self.order(py, Order::Throw(exception(args)?)))
    }

    /// Ends it: GeneratorExit where it waits, so that its `finally` runs. 0; -1 if it has ended.
    fn terminate(&self, py: Python<'_>) -> i32 {
        self.order(py, Order::Terminate)
    }

    /// Its value, for threads: waits at most `timeout` seconds, then None.
    #[pyo3(signature = (timeout = None))]
    fn value(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let py = slf.py();
        threads::wait_for(slf, limit(timeout)?)?;
        Coro::outcome(slf.as_unbound(), py).transpose()
    }

    /// Its value, for threads; what it has raised is raised, and TimeoutError after `timeout`
    /// seconds.
    #[pyo3(signature = (timeout = None))]
    fn result(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let timeout = limit(timeout)?;
        slf.get().observe(py);
        threads::wait_for(slf, timeout)?;
        Coro::raised(slf.as_unbound(), py).unwrap_or_else(|| {
            let text = format!("{} has not ended", slf.get().label(py));
            Err(pyo3::exceptions::PyTimeoutError::new_err(text))
        })
    }

    /// Its value, for coroutines, to be yielded or awaited; None after `timeout` seconds.
    #[pyo3(signature = (timeout = None))]
    fn finish(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let ending = Ending::new(slf.clone().unbind(), limit(timeout)?, false);
        call::start(slf.py(), "finish", ending)
    }

    /// As `finish`.
    #[pyo3(signature = (timeout = None))]
    fn __call__(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        Coro::finish(slf, timeout)
    }

    /// `await coro`: its value; what it has raised is raised.
    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        slf.get().observe(py);
        let call = call::start(py, "await", Ending::new(slf.clone().unbind(), None, true))?;
        call.bind(py).call_method0("__await__")
    }

    /// Calls `callback(coro)` in the scheduler's thread when it has ended, or now if it has.
    fn _when_ended(slf: &Bound<'_, Self>, callback: Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        slf.get().observe(py);
        if slf.get().has_ended(py) {
            return callback.call1(py, (slf,)).map(drop);
        }
        slf.get().watch(py, |watchers| watchers.callbacks.push(callback));
        Ok(())
    }

    /// What it has ended with: (value, None) or (None, exception); None before that.
    fn _outcome(slf: &Bound<'_, Self>) -> Option<(Py<PyAny>, Option<Py<PyAny>>)> {
        let py = slf.py();
        match Coro::raised(slf.as_unbound(), py)? {
            Ok(value) => Some((value, None)),
            Err(error) => Some((py.None(), Some(error.into_value(py).into_any()))),
        }
    }

    /// Whether the process may end without it. Only a coroutine itself can say: 0, else -1.
    #[pyo3(signature = (flag = true))]
    fn set_daemon(&self, py: Python<'_>, flag: bool) -> i32 {
        if !self.is_current(py) {
            hooks::warn(py, "set_daemon is for the coroutine itself");
            return -1;
        }
        if self.state(py).daemon.replace(flag) != flag {
            registry::count(py, flag);
        }
        0
    }

    /// Has this coroutine told of the end of `observe`, by a MonitorStatus as a message; to be
    /// yielded or awaited: 0, or -1 if that one has ended.
    fn monitor(slf: &Bound<'_, Self>, observe: &Bound<'_, Coro>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let ended = observe.get().has_ended(py);
        if !ended {
            let own = slf.clone().unbind();
            observe.get().watch(py, |watchers| watchers.monitors.push(own));
            observe.get().observe(py);
        }
        let value = if ended { -1i32 } else { 0 };
        call::done(py, "monitor", Ok(value.into_pyobject(py)?.into_any().unbind()))
    }

    /// Has `monitor` told of the end of this one: 0, or -1 if it has ended.
    fn notify(&self, py: Python<'_>, monitor: Py<Coro>) -> i32 {
        if self.has_ended(py) {
            return -1;
        }
        self.watch(py, |watchers| watchers.monitors.push(monitor));
        self.observe(py);
        0
    }

    /// Whether it has not ended.
    fn is_alive(&self, py: Python<'_>) -> bool {
        !self.has_ended(py)
    }

    /// Whether a new generator may take over. Only a coroutine itself can say: 0, else -1.
    #[pyo3(signature = (flag = true))]
    fn hot_swappable(&self, py: Python<'_>, flag: bool) -> i32 {
        if !self.is_current(py) {
            hooks::warn(py, "hot_swappable is for the coroutine itself");
            return -1;
        }
        let state = self.state(py);
        state.swappable.set(flag);
        if flag && self.rarely(py, |rare| rare.swap.is_some()) {
            state.has_orders.set(true);
            self.wake(py);
        }
        0
    }

    /// Asks it to let `function(*args, **kwargs)` take over: HotSwapException where it waits, which
    /// it raises again to agree. 0; -1 if that is no generator function, or it has ended.
    #[pyo3(signature = (*args, **kwargs))]
    fn hot_swap(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<i32> {
        let py = slf.py();
        if slf.get().has_ended(py) {
            return Ok(-1);
        }
        let Ok(swap) = target::call(py, slf.as_unbound(), args, kwargs) else { return Ok(-1) };
        let state = slf.get().state(py);
        let old = slf.get().rarely(py, |rare| rare.swap.replace(swap));
        drop(old);
        if state.swappable.get() {
            state.has_orders.set(true);
            slf.get().wake(py);
        }
        Ok(0)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<Coro {}>", self.label(py))
    }

    fn __str__(&self, py: Python<'_>) -> String {
        self.label(py)
    }

    #[classmethod]
    fn __class_getitem__(cls: &Bound<'_, PyType>, _item: &Bound<'_, PyAny>) -> Py<PyType> {
        cls.clone().unbind()
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        // SAFETY: Python's collector runs with the GIL held.
        let state = unsafe { self.state.peek() };
        if let Ok(mail) = state.mail.try_borrow() {
            mail.iter().try_for_each(|message| visit.call(message))?;
        }
        if let Ok(end) = state.end.try_borrow() {
            match &*end {
                Some(End::Value(value)) => visit.call(value)?,
                Some(End::Failed(error)) => visit.call(error)?,
                Some(End::Terminated) | None => {}
            }
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        let state = self.state(py);
        drop(state.mail.take());
        // Whoever asks now is part of the garbage.
        let end = state.end.try_borrow_mut().ok().and_then(|mut end| end.replace(End::Terminated));
        drop(end);
    }
}

/// The exception that `throw` was given: one, or its type and what it is made of.
fn exception(args: &Bound<'_, PyTuple>) -> PyResult<PyErr> {
    let first = args.get_item(0)?;
    if let Ok(tuple) = first.cast::<PyTuple>()
        && !tuple.is_empty()
    {
        return exception(tuple);
    }
    let Ok(kind) = first.cast::<PyType>() else {
        let is_exception = first.is_instance_of::<PyBaseException>();
        return match is_exception {
            true => Ok(PyErr::from_value(first)),
            false => Err(PyTypeError::new_err("throw takes exceptions")),
        };
    };
    let value = args.get_item(1).ok().filter(|value| !value.is_none());
    match value {
        None => Ok(PyErr::from_value(kind.call0()?)),
        Some(value) if value.is_instance(kind)? => Ok(PyErr::from_value(value)),
        Some(value) => Ok(PyErr::from_value(kind.call1((value,))?)),
    }
}

/// The error for what is no generator function.
pub(crate) fn no_generator(text: &str) -> PyErr {
    PyException::new_err(format!("{text} is not a generator!"))
}
