//! Stores what one call does: its operation until it is started, then its future, then its result.
//! What fits is stored in place, and allocates nothing.
//!
//! Unsafe: an operation and a future are written where they stay, and used there by their own
//! functions. A place is part of a Python object, which never moves, and which clears it.
#![allow(unsafe_code)]

use std::{
    cell::{Cell, UnsafeCell},
    future::Future,
    mem::{MaybeUninit, align_of, size_of},
    pin::Pin,
    ptr,
    task::{Context, Poll},
};

use pyo3::{PyClass, prelude::*};

use super::outcome::{Given, Outcome, given};
use crate::gil::py;

/// The most bytes that are stored in place; longer operations and futures are boxed. Those of
/// frequent verbs fit, and every call takes up this many bytes.
const ROOM: usize = 128;

type Room = MaybeUninit<[u64; ROOM / 8]>;

const _: () = assert!(size_of::<Given>() <= ROOM && align_of::<Given>() <= align_of::<Room>());

const fn fits<T>() -> bool {
    size_of::<T>() <= ROOM && align_of::<T>() <= align_of::<Room>()
}

/// The functions of an operation in a place.
struct OperationTable {
    start: unsafe fn(&Place, Option<&Py<PyAny>>, &mut Context<'_>) -> Option<Given>,
    drop: unsafe fn(*mut Room),
}

/// The functions of a future in a place.
struct FutureTable {
    poll: unsafe fn(*mut Room, &mut Context<'_>) -> Poll<Outcome>,
    drop: unsafe fn(*mut Room),
}

/// The functions of a wait for what the object of the call keeps, such as a message.
struct KeptTable {
    poll: fn(&Py<PyAny>, &mut Context<'_>) -> Option<Py<PyAny>>,
    stop: fn(&Py<PyAny>),
}

/// A wait for what the object of a call keeps.
pub(crate) trait Keeps: 'static {
    type Object: PyClass;

    /// Takes it; `None` if it is not there, and then it wakes the waker once it is.
    fn take(object: &Py<Self::Object>, cx: &mut Context<'_>) -> Option<Py<PyAny>>;

    /// Begins the wait, after the first `None`.
    fn begin(object: &Py<Self::Object>);

    /// Ends a wait that has begun.
    fn stop(object: &Py<Self::Object>);
}

struct KeptOf<K>(K);

impl<K: Keeps> KeptOf<K> {
    const TABLE: KeptTable = KeptTable {
        poll: |object, cx| K::take(as_of(object), cx),
        stop: |object| K::stop(as_of(object)),
    };
}

/// Takes an object for one of the class `T`.
fn as_of<T: PyClass>(object: &Py<PyAny>) -> &Py<T> {
    debug_assert!(object.bind(py()).is_instance_of::<T>(), "the call was made with it");
    // SAFETY: it is of this class, since the call was made by its method; a `Py` of it is laid out
    // as one of any object.
    unsafe { &*ptr::from_ref(object).cast::<Py<T>>() }
}

/// What a place holds.
#[derive(Clone, Copy)]
enum Holds {
    Nothing,
    /// Something that is being started, polled or dropped.
    Busy,
    Operation(&'static OperationTable),
    /// Nothing: what the object of the call keeps is waited for.
    Kept(&'static KeptTable),
    Future(&'static FutureTable),
    Given,
}

/// Storage for one call.
pub(super) struct Place {
    room: UnsafeCell<Room>,
    holds: Cell<Holds>,
}

/// Where an operation that is started puts its future, if it does not end at once.
pub(crate) struct Starting<'a, 'cx> {
    place: &'a Place,
    of: Option<&'a Py<PyAny>>,
    cx: &'a mut Context<'cx>,
}

/// An operation that was started: its result, or `None` if its future waits.
pub(crate) struct Started(Option<Given>);

impl<'a> Starting<'a, '_> {
    /// Returns the object whose verb it is, of the class `T`.
    pub(crate) fn of<T: PyClass>(&self) -> &'a Py<T> {
        as_of(self.of.expect("the call was made with it"))
    }

    /// Waits for what the object keeps.
    pub(crate) fn wait<K: Keeps>(self) -> Started {
        let object = self.of::<K::Object>();
        let kept = K::take(object, self.cx);
        if kept.is_none() {
            K::begin(object);
            self.place.holds.set(Holds::Kept(const { &KeptOf::<K>::TABLE }));
        }
        Started(kept.map(Ok))
    }

    /// Polls the future that does the operation, and stores it if it has to wait.
    pub(crate) fn poll<F>(self, future: F) -> Started
    where
        F: Future<Output = Outcome> + 'static,
    {
        if const { fits::<F>() } {
            self.place.put(future, self.cx)
        } else {
            self.place.put(Box::pin(future), self.cx)
        }
    }

    /// Ends the operation at once.
    pub(crate) fn done(self, outcome: Outcome) -> Started {
        Started(Some(given(outcome)))
    }
}

struct OperationOf<O>(O);

impl<O> OperationOf<O>
where
    O: FnOnce(Starting<'_, '_>) -> Started + 'static,
{
    const TABLE: OperationTable = OperationTable {
        start: |place, of, cx| {
            // SAFETY: a table is used only with an operation of its type, which is taken once.
            let operation = unsafe { place.room.get().cast::<O>().read() };
            operation(Starting { place, of, cx }).0
        },
        // SAFETY: as above; it is dropped once.
        drop: |room| unsafe { room.cast::<O>().drop_in_place() },
    };
}

struct FutureOf<F>(F);

impl<F: Future<Output = Outcome> + 'static> FutureOf<F> {
    const TABLE: FutureTable = FutureTable {
        // SAFETY: a table is used only with a future of its type, which is pinned.
        poll: |room, cx| unsafe { Pin::new_unchecked(&mut *room.cast::<F>()).poll(cx) },
        // SAFETY: as above; it is dropped once.
        drop: |room| unsafe { room.cast::<F>().drop_in_place() },
    };
}

impl Place {
    /// Makes an empty one.
    pub(super) fn new() -> Place {
        Place { room: UnsafeCell::new(Room::uninit()), holds: Cell::new(Holds::Nothing) }
    }

    /// Stores an operation in the empty place.
    #[inline]
    pub(super) fn store<O>(&self, operation: O)
    where
        O: FnOnce(Starting<'_, '_>) -> Started + 'static,
    {
        if const { fits::<O>() } {
            self.hold(operation);
        } else {
            let boxed = Box::new(operation);
            self.hold(move |starting: Starting<'_, '_>| (*boxed)(starting));
        }
    }

    #[inline]
    fn hold<O>(&self, operation: O)
    where
        O: FnOnce(Starting<'_, '_>) -> Started + 'static,
    {
        assert!(const { fits::<O>() } && matches!(self.holds.get(), Holds::Nothing));
        // SAFETY: nothing is there, and it fits.
        unsafe { self.room.get().cast::<O>().write(operation) };
        self.holds.set(Holds::Operation(const { &OperationOf::<O>::TABLE }));
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self.holds.get(), Holds::Nothing)
    }

    /// Returns whether its operation was not started.
    pub(super) fn is_unstarted(&self) -> bool {
        matches!(self.holds.get(), Holds::Operation(_))
    }

    /// Returns whether it holds a result.
    pub(super) fn is_given(&self) -> bool {
        matches!(self.holds.get(), Holds::Given)
    }

    /// Returns whether it was started and waits.
    pub(super) fn waits(&self) -> bool {
        matches!(self.holds.get(), Holds::Future(_) | Holds::Kept(_))
    }

    /// Starts the operation: `None` if it waits.
    #[inline]
    pub(super) fn start(&self, of: Option<&Py<PyAny>>, cx: &mut Context<'_>) -> Option<Given> {
        let Holds::Operation(table) = self.holds.get() else { unreachable!("it was started") };
        // Busy while it runs: what it calls must not start, poll or drop it.
        self.holds.set(Holds::Busy);
        // SAFETY: the table is the operation's, which is taken once.
        let started = unsafe { (table.start)(self, of, cx) };
        if started.is_some() {
            self.holds.set(Holds::Nothing);
        }
        started
    }

    /// Starts the operation, or polls its future, or takes its result: `None` while it waits.
    pub(super) fn advance(&self, of: Option<&Py<PyAny>>, cx: &mut Context<'_>) -> Option<Given> {
        match self.holds.get() {
            Holds::Operation(_) => self.start(of, cx),
            Holds::Future(table) => self.poll(table, cx),
            Holds::Kept(table) => {
                let of = of.expect("it keeps something");
                let kept = (table.poll)(of, cx)?;
                self.holds.set(Holds::Nothing);
                (table.stop)(of);
                Some(Ok(kept))
            }
            Holds::Given => self.take_kept(),
            Holds::Busy | Holds::Nothing => None,
        }
    }

    /// Stores a future and polls it.
    fn put<F>(&self, future: F, cx: &mut Context<'_>) -> Started
    where
        F: Future<Output = Outcome> + 'static,
    {
        assert!(
            const { fits::<F>() } && matches!(self.holds.get(), Holds::Busy),
            "the operation was taken, and it fits"
        );
        // SAFETY: nothing is there, and it fits. A place does not move.
        unsafe { self.room.get().cast::<F>().write(future) };
        Started(self.poll(const { &FutureOf::<F>::TABLE }, cx))
    }

    fn poll(&self, table: &'static FutureTable, cx: &mut Context<'_>) -> Option<Given> {
        self.holds.set(Holds::Busy);
        // SAFETY: the table is the future's, which is pinned.
        match unsafe { (table.poll)(self.room.get(), cx) } {
            Poll::Ready(outcome) => {
                // SAFETY: as above, and nobody else has the table any more.
                unsafe { (table.drop)(self.room.get()) };
                // This may run any code, which must find the place busy.
                let given = given(outcome);
                self.holds.set(Holds::Nothing);
                Some(given)
            }
            Poll::Pending => {
                self.holds.set(Holds::Future(table));
                None
            }
        }
    }

    /// Stores a result in the empty place.
    pub(super) fn keep(&self, given: Given) {
        assert!(matches!(self.holds.get(), Holds::Nothing), "there is room for one");
        // SAFETY: nothing is there, and it fits, which is asserted above.
        unsafe { self.room.get().cast::<Given>().write(given) };
        self.holds.set(Holds::Given);
    }

    /// Takes the result; an operation or a future stays.
    pub(super) fn take_kept(&self) -> Option<Given> {
        match self.holds.get() {
            Holds::Given => {
                self.holds.set(Holds::Nothing);
                // SAFETY: it is there, and is taken once.
                Some(unsafe { self.room.get().cast::<Given>().read() })
            }
            _ => None,
        }
    }

    /// Drops what is there, unless that is at work.
    pub(super) fn clear(&self, of: Option<&Py<PyAny>>) {
        let drop_it = match self.holds.get() {
            Holds::Nothing | Holds::Busy => return,
            Holds::Given => return drop(self.take_kept()),
            Holds::Kept(table) => {
                self.holds.set(Holds::Nothing);
                return (table.stop)(of.expect("it keeps something"));
            }
            Holds::Operation(table) => table.drop,
            Holds::Future(table) => table.drop,
        };
        self.holds.set(Holds::Busy);
        // SAFETY: the function is that of what is there, and is called once.
        unsafe { drop_it(self.room.get()) };
        self.holds.set(Holds::Nothing);
    }
}
