//! Orders of others, which a coroutine obeys when it is resumed: to raise an exception, to end, to
//! let a new generator take over.

use std::mem;

use pyo3::{
    exceptions::PyBaseException,
    prelude::*,
    types::{PyDict, PyTuple},
};

use super::{
    object::Coro,
    order::{Order, Swap},
    target,
};
use crate::{arguments::Arguments, error::thrown, hooks};

impl Coro {
    #[inline]
    pub(crate) fn has_orders(&self, py: Python<'_>) -> bool {
        self.state(py).has_orders.get()
    }

    /// Returns whether it has an order that it would obey now; a waiting swap counts as one if
    /// `may_swap`.
    pub(super) fn has_order_to_obey(&self, py: Python<'_>, may_swap: bool) -> bool {
        let may_swap = may_swap && self.state(py).swappable.get();
        self.has_orders(py)
            && self.rarely(py, |rare| !rare.orders.is_empty() || may_swap && rare.swap.is_some())
    }

    /// Takes the next order; a waiting swap counts as one if `may_swap`.
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
        let generator = swap.as_ref().and_then(|swap| swap.generator.as_ref());
        let error = generator.map(|generator| swap_exception(py, generator));
        let old = self.rarely(py, |rare| mem::replace(&mut rare.offered, swap));
        drop(old);
        error.map(Order::Throw)
    }

    /// Returns the generator that takes over, if one was offered and `error` agrees to that.
    pub(crate) fn swapped_for(
        &self,
        py: Python<'_>,
        error: &Py<PyBaseException>,
    ) -> Option<Py<PyAny>> {
        let state = self.state(py);
        let rare = state.rare.take();
        let is_offered = rare.as_ref().is_some_and(|rare| rare.offered.is_some());
        state.rare.set(rare);
        if !is_offered {
            return None;
        }
        let kind = hooks::hook(py, "HotSwapException").ok()?;
        if !error.bind(py).is_instance(&kind).unwrap_or(false) {
            return None;
        }
        let mut swap = self.rarely(py, |rare| rare.offered.take())?;
        state.name.replace(swap.name.clone_ref(py));
        swap.generator.take()
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

    /// Orders it to end.
    pub(crate) fn end_soon(&self, py: Python<'_>) {
        self.order(py, Order::Terminate);
    }

    /// Gives an order, to it or to the task that it stands for.
    fn give(slf: &Bound<'_, Coro>, order: Order) -> PyResult<i32> {
        match slf.get().state(slf.py()).stands.get() {
            true => Coro::order_task(slf, &order),
            false => Ok(slf.get().order(slf.py(), order)),
        }
    }

    /// Lets asyncio cancel the task that it stands for; an exception cannot be raised in that.
    #[cold]
    fn order_task(slf: &Bound<'_, Coro>, order: &Order) -> PyResult<i32> {
        let py = slf.py();
        if slf.get().has_ended(py) {
            return Ok(-1);
        }
        if matches!(order, Order::Throw(_)) {
            let label = slf.get().label(py);
            hooks::warn(
                py,
                &format!("{label} is a task of asyncio's, which can only be cancelled"),
            );
            return Ok(-1);
        }
        let cancelled = hooks::hook(py, "cancel_task")?.call1((slf,))?.is_truthy()?;
        Ok(if cancelled { 0 } else { -1 })
    }

    /// Raises an exception where it waits.
    pub(crate) fn throw_into(&self, py: Python<'_>, error: Bound<'_, PyAny>) {
        self.order(py, Order::Throw(PyErr::from_value(error)));
    }

    /// Takes back an exception that was not raised yet.
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
}

fn swap_exception(py: Python<'_>, generator: &Py<PyAny>) -> PyErr {
    match hooks::hook(py, "HotSwapException").and_then(|kind| kind.call1((generator,))) {
        Ok(value) => PyErr::from_value(value),
        Err(error) => error,
    }
}

#[pymethods]
impl Coro {
    /// Raises an exception where it waits: 0, or -1 if it has ended or none was given.
    #[pyo3(signature = (*args))]
    fn throw(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>) -> PyResult<i32> {
        let py = slf.py();
        if args.is_empty() {
            hooks::warn(py, "throw needs an exception");
            return Ok(-1);
        }
        Coro::give(slf, Order::Throw(exception(args)?))
    }

    /// Raises GeneratorExit where it waits, which ends it: 0, or -1 if it has ended.
    fn terminate(slf: &Bound<'_, Self>) -> PyResult<i32> {
        Coro::give(slf, Order::Terminate)
    }

    /// Sets whether a new generator may take over: 0, or -1 unless the coroutine itself calls.
    #[pyo3(signature = (flag = true))]
    fn hot_swappable(&self, py: Python<'_>, flag: bool) -> i32 {
        if !self.is_current() {
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

    /// Asks it to let `function(*args, **kwargs)` take over: raises HotSwapException where it
    /// waits, which it raises again to agree. 0, or -1 if that is no generator function, or it
    /// has ended.
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
        let called = Arguments::within(args, kwargs, |arguments| target::called(slf, arguments));
        let Ok((generator, name)) = called else { return Ok(-1) };
        let swap = Swap { generator: Some(generator), name };
        // The call may have run any code.
        if slf.get().has_ended(py) {
            return Ok(-1);
        }
        let state = slf.get().state(py);
        let old = slf.get().rarely(py, |rare| rare.swap.replace(swap));
        drop(old);
        if state.swappable.get() {
            state.has_orders.set(true);
            slf.get().wake(py);
        }
        Ok(0)
    }
}

/// Makes the exception of `throw` from its arguments: one, or its type and its value, or a tuple of
/// them.
fn exception(args: &Bound<'_, PyTuple>) -> PyResult<PyErr> {
    let first = args.get_item(0)?;
    if let Ok(tuple) = first.cast::<PyTuple>()
        && !tuple.is_empty()
    {
        return exception(tuple);
    }
    let error = thrown(&first, args.get_item(1).ok().as_ref())?;
    Ok(PyErr::from_value(error.into_bound(args.py()).into_any()))
}
