//! `Queue`: each item goes to one of those who wait for one.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyStopAsyncIteration, PyValueError},
    prelude::*,
    types::PyType,
};

use super::{
    items::{Getters, Got, Items, Joiners, Put, Putters, Shut},
    stand::Stand,
};
use crate::{
    call::{self, Outcome},
    gil::{self, Gil},
    hooks,
};

/// A queue: `yield queue.put(item)` waits for room, `yield queue.get()` for an item. With
/// `async for` it is gone through until it is shut down.
#[pyclass(frozen, weakref, subclass, module = "asyncoro")]
pub(crate) struct Queue {
    items: Gil<Rc<Items>>,
}

impl Queue {
    pub(super) fn of(items: Rc<Items>) -> Queue {
        Queue { items: Gil::new(items) }
    }

    pub(super) fn items<'py>(&'py self, py: Python<'py>) -> &'py Rc<Items> {
        self.items.get(py)
    }

    /// Makes a call that takes an item.
    fn getting(slf: &Bound<'_, Queue>, end: End) -> PyResult<Py<PyAny>> {
        call::make(slf.py(), "Queue.get", Some(slf.as_any()), move |starting| {
            let py = gil::py();
            let items = starting.of::<Queue>().get().items(py);
            match items.get(false) {
                Got::Item(item) => starting.done(Ok(item)),
                Got::Shut(shut) => starting.done(Err(end.error(py, shut))),
                Got::Empty => starting.poll(Getting { stand: Stand::new(items), end }),
            }
        })
    }
}

/// Reads the size of a queue: no limit if it is 0 or less.
pub(super) fn maxsize(given: isize) -> usize {
    match usize::try_from(given) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(maxsize) => maxsize,
    }
}

/// What the end of a queue is to whoever takes items.
#[derive(Clone, Copy)]
enum End {
    /// An error.
    Raised,
    /// The end of an `async for`, unless the queue was shut down since that was too slow.
    OfLoop,
}

impl End {
    fn error(self, py: Python<'_>, shut: Shut) -> PyErr {
        match (self, shut) {
            (End::OfLoop, Shut::Asked) => PyStopAsyncIteration::new_err(()),
            _ => shut_down(py, shut),
        }
    }
}

#[cold]
fn shut_down(py: Python<'_>, shut: Shut) -> PyErr {
    raised(
        py,
        "QueueShutDown",
        match shut {
            Shut::Asked => "the queue was shut down",
            Shut::Slow => {
                "the queue was shut down: it was full when its channel had a message for it, since \
             nobody took what was in it"
            }
        },
    )
}

/// Makes an exception of the package's.
#[cold]
fn raised(py: Python<'_>, name: &str, text: &str) -> PyErr {
    match hooks::hook(py, name).and_then(|kind| kind.call1((text,))) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

struct Getting {
    stand: Stand<Getters>,
    end: End,
}

impl Future for Getting {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let own = &mut *self;
        while own.stand.is_told(cx, || ()) {
            match own.stand.core.get(true) {
                Got::Item(item) => return Poll::Ready(Ok(item)),
                Got::Shut(shut) => return Poll::Ready(Err(own.end.error(gil::py(), shut))),
                // Somebody has emptied it: in line again.
                Got::Empty => {}
            }
        }
        Poll::Pending
    }
}

/// Waits for room, and puts an item in: gives None, or the status that `deliver` wants.
pub(super) struct Putting {
    stand: Stand<Putters>,
    item: Option<Py<PyAny>>,
}

impl Putting {
    pub(super) fn new(items: &Rc<Items>, item: Option<Py<PyAny>>) -> Putting {
        Putting { stand: Stand::new(items), item }
    }

    /// Returns whether the item was put in, or the queue shut down; `None` while it waits.
    pub(super) fn poll_put(&mut self, cx: &Context<'_>) -> Option<Result<(), Shut>> {
        while self.stand.is_told(cx, || ()) {
            match self.stand.core.put(&mut self.item, true) {
                Put::Done => return Some(Ok(())),
                Put::Shut(shut) => return Some(Err(shut)),
                Put::Full => {}
            }
        }
        None
    }
}

impl Future for Putting {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let py = gil::py();
        match self.poll_put(cx) {
            Some(Ok(())) => Poll::Ready(Ok(py.None())),
            Some(Err(shut)) => Poll::Ready(Err(shut_down(py, shut))),
            None => Poll::Pending,
        }
    }
}

struct Joining(Stand<Joiners>);

impl Future for Joining {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match self.0.is_told(cx, || ()) {
            true => Poll::Ready(Ok(gil::py().None())),
            false => Poll::Pending,
        }
    }
}

#[pymethods]
impl Queue {
    #[new]
    #[pyo3(signature = (maxsize = 0))]
    fn new(maxsize: isize) -> Queue {
        Queue::of(Items::new(self::maxsize(maxsize)))
    }

    /// How many items it has room for; 0 if there is no limit.
    #[getter]
    fn maxsize(&self, py: Python<'_>) -> usize {
        match self.items(py).counts().maxsize {
            usize::MAX => 0,
            maxsize => maxsize,
        }
    }

    /// Returns how many items are in it.
    fn qsize(&self, py: Python<'_>) -> usize {
        self.items(py).counts().size
    }

    /// Returns whether no item is in it.
    fn empty(&self, py: Python<'_>) -> bool {
        self.items(py).counts().size == 0
    }

    /// Returns whether there is no room in it.
    fn full(&self, py: Python<'_>) -> bool {
        let counts = self.items(py).counts();
        counts.size >= counts.maxsize
    }

    /// Puts an item in, and waits for room. QueueShutDown if it was shut down.
    #[pyo3(signature = (item))]
    pub(super) fn put(slf: &Bound<'_, Self>, item: Py<PyAny>) -> PyResult<Py<PyAny>> {
        call::make(slf.py(), "Queue.put", Some(slf.as_any()), move |starting| {
            let py = gil::py();
            let items = starting.of::<Queue>().get().items(py);
            let mut item = Some(item);
            match items.put(&mut item, false) {
                Put::Done => starting.done(Ok(py.None())),
                Put::Shut(shut) => starting.done(Err(shut_down(py, shut))),
                Put::Full => starting.poll(Putting::new(items, item)),
            }
        })
    }

    /// Puts an item in: QueueFull if there is no room, QueueShutDown if it was shut down. Any
    /// thread may.
    #[pyo3(signature = (item))]
    pub(super) fn put_nowait(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<()> {
        match self.items(py).put(&mut Some(item), false) {
            Put::Done => Ok(()),
            Put::Full => Err(raised(py, "QueueFull", "there is no room in the queue")),
            Put::Shut(shut) => Err(shut_down(py, shut)),
        }
    }

    /// Takes the first item, and waits for one. QueueShutDown once it was shut down and is empty.
    fn get(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Queue::getting(slf, End::Raised)
    }

    /// Takes the first item: QueueEmpty if there is none, QueueShutDown if none will come. Any
    /// thread may.
    fn get_nowait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.items(py).get(false) {
            Got::Item(item) => Ok(item),
            Got::Empty => Err(raised(py, "QueueEmpty", "the queue is empty")),
            Got::Shut(shut) => Err(shut_down(py, shut)),
        }
    }

    /// Notes that an item that was taken is done; ValueError if all are.
    fn task_done(&self, py: Python<'_>) -> PyResult<()> {
        match self.items(py).task_done() {
            true => Ok(()),
            false => Err(PyValueError::new_err("task_done() was called more often than put()")),
        }
    }

    /// Waits until all items that were put in are done.
    fn join(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        call::make(slf.py(), "Queue.join", Some(slf.as_any()), |starting| {
            let py = gil::py();
            let items = starting.of::<Queue>().get().items(py);
            match items.is_done() {
                true => starting.done(Ok(py.None())),
                false => starting.poll(Joining(Stand::new(items))),
            }
        })
    }

    /// Lets nothing more come in; with `immediate` what is in it is dropped, and counts as done.
    #[pyo3(signature = (immediate = false))]
    fn shutdown(&self, py: Python<'_>, immediate: bool) {
        let left = self.items(py).shut(Shut::Asked, immediate);
        drop(left);
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Takes the first item; StopAsyncIteration once it was shut down and is empty.
    fn __anext__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Queue::getting(slf, End::OfLoop)
    }

    /// Returns what it is doing: (size, maxsize, getting, putting, unfinished, lost, is_shut).
    fn statistics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let counts = self.items(py).counts();
        let told = (
            counts.size,
            if counts.maxsize == usize::MAX { 0 } else { counts.maxsize },
            counts.getting,
            counts.putting,
            counts.unfinished,
            counts.lost,
            counts.is_shut,
        );
        Ok(hooks::hook(py, "QueueStatistics")?.call1(told)?.unbind())
    }

    #[classmethod]
    #[pyo3(text_signature = "($cls, item, /)")]
    fn __class_getitem__(cls: &Bound<'_, PyType>, _item: &Bound<'_, PyAny>) -> Py<PyType> {
        cls.clone().unbind()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let counts = self.items(py).counts();
        let shut = if counts.is_shut { ", shut down" } else { "" };
        match counts.maxsize {
            usize::MAX => format!("<Queue: {} items{shut}>", counts.size),
            maxsize => format!("<Queue: {} of {maxsize} items{shut}>", counts.size),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.items.visited(&visit).visit(|item| visit.call(item))
    }

    fn __clear__(&self, py: Python<'_>) {
        let left = self.items(py).clear();
        drop(left);
    }
}
