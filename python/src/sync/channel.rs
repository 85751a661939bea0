//! `Channel`: each message to each subscriber, a coroutine, a queue, or another channel.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    mem,
    rc::{Rc, Weak},
};

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::PyValueError,
    prelude::*,
    types::{PyString, PyType},
};

use super::{
    fork::Ours,
    items::{Items, Shut},
    line::Line,
    queue::{Queue, maxsize},
    stand::Kind,
};
use crate::{
    call,
    coro::{Coro, Tie, code},
    gil::{self, Gil},
    hooks,
};

/// Sends each message to each subscriber: coroutines, which receive it as any other message,
/// queues, and other channels.
///
/// `transform(name, message)` gives what is sent in place of a message; None drops it.
#[pyclass(frozen, weakref, subclass, module = "asyncoro")]
pub(crate) struct Channel {
    pub(super) core: Gil<Rc<Core>>,
}

pub(super) struct Core(RefCell<State>);

struct State {
    name: Py<PyString>,
    transform: Option<Py<PyAny>>,
    members: Ours<Members>,
    arrivals: Ours<Line>,
    is_closed: bool,
}

/// The subscribers, in the order in which they came.
#[derive(Default)]
pub(super) struct Members {
    by_number: BTreeMap<u64, Subscriber>,
    numbers: HashMap<usize, u64>,
    next: u64,
}

pub(super) enum Subscriber {
    Coro(Py<Coro>),
    Channel(Py<Channel>),
    /// A queue, which leaves when nobody else has it.
    Queue(Weak<Items>, Slow),
}

/// What is done with a queue that is full.
#[derive(Clone, Copy)]
pub(super) enum Slow {
    /// It is shut down.
    Disconnect,
    /// It loses its oldest message.
    Drop,
}

impl Subscriber {
    /// Returns what it is known by.
    fn address(&self) -> usize {
        match self {
            Subscriber::Coro(coro) => coro.as_ptr().addr(),
            Subscriber::Channel(channel) => channel.as_ptr().addr(),
            Subscriber::Queue(items, _) => items.as_ptr().addr(),
        }
    }
}

impl Members {
    /// Returns them with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Subscriber)> {
        self.by_number.iter().map(|(number, subscriber)| (*number, subscriber))
    }

    fn add(&mut self, subscriber: Subscriber) {
        self.next += 1;
        self.numbers.insert(subscriber.address(), self.next);
        self.by_number.insert(self.next, subscriber);
    }

    fn has(&self, address: usize) -> bool {
        self.numbers.contains_key(&address)
    }

    /// Takes one out; it is for the caller to drop.
    fn remove(&mut self, address: usize) -> Option<Subscriber> {
        let number = self.numbers.remove(&address)?;
        self.by_number.remove(&number)
    }

    /// Returns those that are no coroutines.
    fn without_coroutines(&self, py: Python<'_>) -> Members {
        let mut members = Members::default();
        for subscriber in self.by_number.values() {
            match subscriber {
                Subscriber::Coro(_) => {}
                Subscriber::Channel(channel) => {
                    members.add(Subscriber::Channel(channel.clone_ref(py)));
                }
                Subscriber::Queue(items, slow) => {
                    members.add(Subscriber::Queue(items.clone(), *slow));
                }
            }
        }
        members
    }
}

impl Core {
    /// Calls `f` with the subscribers; it may run no foreign code.
    pub(super) fn members<R>(&self, f: impl FnOnce(&mut Members) -> R) -> R {
        let state = &mut *self.0.borrow_mut();
        f(state.members.get_or(|old| old.without_coroutines(gil::py())))
    }

    pub(super) fn count(&self) -> usize {
        self.members(|members| members.by_number.len())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.borrow().is_closed
    }

    /// Returns its name, for texts.
    pub(super) fn label(&self, py: Python<'_>) -> String {
        format!("Channel {}", self.0.borrow().name.bind(py))
    }

    /// Returns its name and its transform, if it has one.
    pub(super) fn transform(&self, py: Python<'_>) -> Option<(Py<PyString>, Py<PyAny>)> {
        let state = self.0.borrow();
        let transform = state.transform.as_ref()?;
        Some((state.name.clone_ref(py), transform.clone_ref(py)))
    }

    /// Removes subscribers that have gone, by their numbers.
    pub(super) fn forget(&self, gone: Vec<u64>) {
        let left: Vec<_> = self.members(|members| {
            let taken = gone.iter().filter_map(|number| members.by_number.remove(number));
            let left: Vec<_> = taken.collect();
            for subscriber in &left {
                members.numbers.remove(&subscriber.address());
            }
            left
        });
        drop(left);
    }

    fn add(self: &Rc<Self>, py: Python<'_>, subscriber: Subscriber) -> i32 {
        if self.is_closed() {
            return -1;
        }
        let coro = match &subscriber {
            Subscriber::Coro(coro) if coro.get().has_ended(py) => return -1,
            Subscriber::Coro(coro) => Some(coro.clone_ref(py)),
            Subscriber::Channel(_) | Subscriber::Queue(..) => None,
        };
        let surplus = self.members(|members| {
            if members.has(subscriber.address()) {
                return Some(subscriber);
            }
            members.add(subscriber);
            None
        });
        if surplus.is_some() {
            return 0;
        }
        if let Some(coro) = coro {
            let tie: Weak<Core> = Rc::downgrade(self);
            coro.get().tie(py, |ties| ties.add(tie));
        }
        self.tell_of_arrival();
        0
    }

    fn remove(self: &Rc<Self>, py: Python<'_>, address: usize) -> i32 {
        let Some(subscriber) = self.members(|members| members.remove(address)) else { return -1 };
        self.untie(py, &subscriber);
        0
    }

    fn untie(self: &Rc<Self>, py: Python<'_>, subscriber: &Subscriber) {
        if let Subscriber::Coro(coro) = subscriber
            && !coro.get().has_ended(py)
        {
            coro.get().tie(py, |ties| ties.remove(self));
        }
    }

    /// Wakes all who wait for subscribers.
    fn tell_of_arrival(&self) {
        let waiting = Arrivals::line(self, |line| line.waiting());
        for _ in 0..waiting {
            let Some((_, waker, ())) = Arrivals::line(self, Line::tell_first) else { return };
            waker.wake();
        }
    }

    fn close(self: &Rc<Self>, py: Python<'_>) {
        self.0.borrow_mut().is_closed = true;
        let members = self.members(mem::take);
        for subscriber in members.by_number.values() {
            self.untie(py, subscriber);
            if let Subscriber::Queue(items, _) = subscriber
                && let Some(items) = items.upgrade()
            {
                items.shut(Shut::Asked, false);
            }
        }
        drop(members);
        self.tell_of_arrival();
    }
}

/// Drops the channels that have subscribed one after the other: each may be the last reference to
/// another one, in a chain as long as memory allows.
impl Drop for Core {
    fn drop(&mut self) {
        static FALLING: Gil<RefCell<Vec<Py<Channel>>>> = Gil::new(RefCell::new(Vec::new()));
        static FALLS: Gil<Cell<bool>> = Gil::new(Cell::new(false));
        let py = gil::py();
        let members = self.members(mem::take);
        let channels = members.by_number.into_values().filter_map(|subscriber| match subscriber {
            Subscriber::Channel(channel) => Some(channel),
            Subscriber::Coro(_) | Subscriber::Queue(..) => None,
        });
        let channels: Vec<_> = channels.collect();
        FALLING.get(py).borrow_mut().extend(channels);
        if FALLS.get(py).replace(true) {
            return;
        }
        let next = || FALLING.get(py).borrow_mut().pop();
        while let Some(channel) = next() {
            drop(channel);
        }
        FALLS.get(py).set(false);
    }
}

/// A subscriber that ends is dropped at once.
impl Tie for Core {
    fn coro_ended(self: Rc<Self>, _: Python<'_>, key: usize, _: bool) -> Option<&'static str> {
        let is_it = |subscriber: &Subscriber| match subscriber {
            Subscriber::Coro(coro) => coro.get().key() == key,
            Subscriber::Channel(_) | Subscriber::Queue(..) => false,
        };
        let gone = self.members(|members| {
            let found = members.by_number.iter().find(|(_, subscriber)| is_it(subscriber));
            found.map(|(number, _)| *number)
        });
        self.forget(gone.into_iter().collect());
        None
    }
}

/// The line of those who wait for subscribers.
pub(super) struct Arrivals;

impl Kind for Arrivals {
    type Core = Core;
    type Left = ();

    fn line<R>(core: &Core, f: impl FnOnce(&mut Line) -> R) -> R {
        f(core.0.borrow_mut().arrivals.get())
    }

    /// All were told, and each looks by itself.
    fn pass_on(_core: &Rc<Core>, _place: usize) {}
}

impl Channel {
    fn core<'py>(&'py self, py: Python<'py>) -> &'py Rc<Core> {
        self.core.get(py)
    }

    /// Sets the transform if it is one: else warns, and returns `false`.
    fn set(&self, transform: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (py, core) = (transform.py(), self.core(transform.py()));
        if !transform.is_none() && !is_transform(transform)? {
            let label = core.label(py);
            let text = "its transform is ignored, which does not take a name and a message";
            hooks::warn(py, &format!("{label}: {text}: {transform}"));
            return Ok(false);
        }
        let transform = Some(transform.clone().unbind()).filter(|given| !given.is_none(py));
        let old = mem::replace(&mut core.0.borrow_mut().transform, transform);
        drop(old);
        Ok(true)
    }
}

fn is_transform(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    hooks::hook(object.py(), "is_transform")?.call1((object,))?.is_truthy()
}

/// Reads a subscriber; `None` if it is none.
fn subscriber(given: &Bound<'_, PyAny>) -> Option<Subscriber> {
    if let Ok(coro) = given.cast::<Coro>() {
        return Some(Subscriber::Coro(coro.clone().unbind()));
    }
    if let Ok(channel) = given.cast::<Channel>() {
        return Some(Subscriber::Channel(channel.clone().unbind()));
    }
    let queue = given.cast::<Queue>().ok()?;
    let items = Rc::downgrade(queue.get().items(given.py()));
    Some(Subscriber::Queue(items, Slow::Disconnect))
}

#[pymethods]
impl Channel {
    #[new]
    #[pyo3(signature = (name, transform = None))]
    fn new(name: Bound<'_, PyString>, transform: Option<&Bound<'_, PyAny>>) -> PyResult<Channel> {
        let state = State {
            name: name.clone().unbind(),
            transform: None,
            members: Ours::default(),
            arrivals: Ours::default(),
            is_closed: false,
        };
        let channel = Channel { core: Gil::new(Rc::new(Core(RefCell::new(state)))) };
        if let Some(transform) = transform {
            channel.set(transform)?;
        }
        Ok(channel)
    }

    /// Its name.
    #[getter]
    fn name(&self, py: Python<'_>) -> Py<PyString> {
        self.core(py).0.borrow().name.clone_ref(py)
    }

    /// Sets the transform, or with None removes it: 0, or -1 if it does not take a name and a
    /// message.
    fn set_transform(&self, transform: &Bound<'_, PyAny>) -> PyResult<i32> {
        Ok(if self.set(transform)? { 0 } else { -1 })
    }

    /// Adds a coroutine, a channel or a queue: `yield` or `await` gives 0, or -1 if it is none of
    /// these or has ended, or if the channel is closed.
    #[pyo3(signature = (subscriber, timeout = None))]
    fn subscribe(
        slf: &Bound<'_, Self>,
        subscriber: Py<PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = timeout;
        call::make(slf.py(), "Channel.subscribe", Some(slf.as_any()), move |starting| {
            let py = gil::py();
            let core = starting.of::<Channel>().get().core(py);
            let Some(subscriber) = self::subscriber(subscriber.bind(py)) else {
                hooks::warn(py, &format!("{}: what subscribes is no coroutine", core.label(py)));
                return starting.done(code(py, -1));
            };
            let added = core.add(py, subscriber);
            starting.done(code(py, added))
        })
    }

    /// Removes a subscriber: `yield` or `await` gives 0, or -1 if it was none.
    #[pyo3(signature = (subscriber, timeout = None))]
    fn unsubscribe(
        slf: &Bound<'_, Self>,
        subscriber: Py<PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = timeout;
        call::make(slf.py(), "Channel.unsubscribe", Some(slf.as_any()), move |starting| {
            let py = gil::py();
            let core = starting.of::<Channel>().get().core(py);
            let removed = match self::subscriber(subscriber.bind(py)) {
                Some(subscriber) => core.remove(py, subscriber.address()),
                None => -1,
            };
            starting.done(code(py, removed))
        })
    }

    /// Makes a queue that gets each message from now on, to be gone through by `async for`, until
    /// the channel is closed. A full one (`maxsize` messages; 0: no limit) is shut down, or with
    /// `slow="drop"` loses its oldest message. One that nobody has any more gets none.
    #[pyo3(signature = (maxsize = 0, slow = "disconnect"))]
    fn subscription(&self, py: Python<'_>, maxsize: isize, slow: &str) -> PyResult<Queue> {
        let slow = match slow {
            "disconnect" => Slow::Disconnect,
            "drop" => Slow::Drop,
            _ => return Err(PyValueError::new_err("slow is \"disconnect\" or \"drop\"")),
        };
        let items = Items::new(self::maxsize(maxsize));
        if self.core(py).add(py, Subscriber::Queue(Rc::downgrade(&items), slow)) != 0 {
            items.shut(Shut::Asked, false);
        }
        Ok(Queue::of(items))
    }

    /// Removes all subscribers, and takes no more: queues are shut down.
    fn close(&self, py: Python<'_>) {
        self.core(py).close(py);
    }

    /// Returns what it is doing: (subscribers, delivering, is_closed).
    fn statistics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let core = self.core(py);
        let waiting = Arrivals::line(core, |line| line.waiting());
        let told = (core.count(), waiting, core.is_closed());
        Ok(hooks::hook(py, "ChannelStatistics")?.call1(told)?.unbind())
    }

    #[classmethod]
    #[pyo3(text_signature = "($cls, item, /)")]
    fn __class_getitem__(cls: &Bound<'_, PyType>, _item: &Bound<'_, PyAny>) -> Py<PyType> {
        cls.clone().unbind()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let core = self.core(py);
        let closed = if core.is_closed() { ", closed" } else { "" };
        format!("<{}: {} subscribers{closed}>", core.label(py), core.count())
    }

    fn __str__(&self, py: Python<'_>) -> String {
        self.core(py).0.borrow().name.bind(py).to_string()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(state) = self.core.visited(&visit).0.try_borrow() else { return Ok(()) };
        visit.call(&state.transform)?;
        state.members.peek().by_number.values().try_for_each(|subscriber| match subscriber {
            Subscriber::Coro(coro) => visit.call(coro),
            Subscriber::Channel(channel) => visit.call(channel),
            Subscriber::Queue(..) => Ok(()),
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        let core = self.core(py);
        let members = core.members(mem::take);
        let transform = core.0.borrow_mut().transform.take();
        drop((members, transform));
    }
}
