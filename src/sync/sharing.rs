//! Who may share a lock or a channel: the coroutines of one thread ([`Local`]) or all threads
//! ([`Threads`]).
//!
//! Each type of [`sync`](super) is written once, over [`Sharing`], and has two names: that in
//! `sync` for threads, and that in [`sync::local`](super::local). Nobody else implements the
//! trait.

use std::{
    cell::{Cell, OnceCell, RefCell},
    marker::PhantomData,
    ops::Deref,
    rc::Rc,
    sync::OnceLock,
};

use crate::{
    fork,
    primitives::{Arc, AtomicUsize, Mutex, Ordering, lock},
};

/// Shared by the coroutines of one thread: no atomics, and neither `Send` nor `Sync`.
#[derive(Clone, Copy, Debug)]
pub enum Local {}

/// Shared by any threads and schedulers.
#[derive(Clone, Copy, Debug)]
pub enum Threads {}

/// What [`Local`] and [`Threads`] differ in.
pub trait Sharing: Sealed + Sized + 'static {
    /// Holds the state that is behind a lock for a few instructions.
    #[doc(hidden)]
    type Cell<V>: StateCell<V>;
    /// `Rc` or `Arc`.
    #[doc(hidden)]
    type Pointer<V>: Pointer<V>;
    /// A place that is written once.
    #[doc(hidden)]
    type Once<V>: OnceSlot<V>;
    /// A number that may be outdated.
    #[doc(hidden)]
    type Hint: Hint;
}

impl Sharing for Local {
    type Cell<V> = LocalCell<V>;
    type Pointer<V> = Rc<V>;
    type Once<V> = OnceCell<V>;
    type Hint = Cell<usize>;
}

impl Sharing for Threads {
    type Cell<V> = SharedCell<V>;
    type Pointer<V> = Arc<V>;
    type Once<V> = OnceLock<V>;
    type Hint = AtomicUsize;
}

/// Nobody outside can name it.
#[doc(hidden)]
pub trait Sealed {}

impl Sealed for Local {}
impl Sealed for Threads {}

/// A state behind a lock that is held for a few instructions, and never while foreign code runs.
#[doc(hidden)]
pub trait StateCell<V> {
    fn new(state: V) -> Self;
    /// Calls `act` with the lock held.
    fn with<R>(&self, act: impl FnOnce(&mut V) -> R) -> R;
    /// Does the same in a drop. In a forked child the lock may be held by a thread that exists only
    /// in the parent; then it does nothing.
    fn with_at_end<R: Default>(&self, act: impl FnOnce(&mut V) -> R) -> R;
}

/// The state of what one thread shares.
#[doc(hidden)]
pub struct LocalCell<V> {
    state: RefCell<V>,
    /// Makes it, and all that contains it, neither `Send` nor `Sync`.
    _local: PhantomData<*const ()>,
}

impl<V> StateCell<V> for LocalCell<V> {
    #[inline]
    fn new(state: V) -> Self {
        Self { state: RefCell::new(state), _local: PhantomData }
    }

    #[inline]
    fn with<R>(&self, act: impl FnOnce(&mut V) -> R) -> R {
        act(&mut self.state.borrow_mut())
    }

    #[inline]
    fn with_at_end<R: Default>(&self, act: impl FnOnce(&mut V) -> R) -> R {
        self.with(act)
    }
}

/// The state of what threads share.
#[doc(hidden)]
pub struct SharedCell<V> {
    state: Mutex<V>,
    /// The number of the process that made it.
    process: u32,
}

impl<V> StateCell<V> for SharedCell<V> {
    fn new(state: V) -> Self {
        fork::watch();
        Self { state: Mutex::new(state), process: fork::generation() }
    }

    #[inline]
    fn with<R>(&self, act: impl FnOnce(&mut V) -> R) -> R {
        act(&mut lock(&self.state))
    }

    #[inline]
    fn with_at_end<R: Default>(&self, act: impl FnOnce(&mut V) -> R) -> R {
        if self.process != fork::generation() && self.state.try_lock().is_err() {
            return R::default();
        }
        self.with(act)
    }
}

/// A counted pointer.
#[doc(hidden)]
pub trait Pointer<V>: Deref<Target = V> + Clone + Unpin {
    fn new(value: V) -> Self;
    /// Lends the value if there is no other pointer to it.
    fn only(&mut self) -> Option<&mut V>;
    /// Takes the value out if there is no other pointer to it.
    fn unwrapped(self) -> Result<V, Self>;
}

impl<V> Pointer<V> for Rc<V> {
    #[inline]
    fn new(value: V) -> Self {
        Rc::new(value)
    }

    #[inline]
    fn only(&mut self) -> Option<&mut V> {
        Rc::get_mut(self)
    }

    #[inline]
    fn unwrapped(self) -> Result<V, Self> {
        Rc::try_unwrap(self)
    }
}

impl<V> Pointer<V> for Arc<V> {
    #[inline]
    fn new(value: V) -> Self {
        Arc::new(value)
    }

    #[inline]
    fn only(&mut self) -> Option<&mut V> {
        Arc::get_mut(self)
    }

    #[inline]
    fn unwrapped(self) -> Result<V, Self> {
        Arc::try_unwrap(self)
    }
}

/// A place that is written once.
#[doc(hidden)]
pub trait OnceSlot<V> {
    fn new() -> Self;
    fn get(&self) -> Option<&V>;
    fn get_mut(&mut self) -> Option<&mut V>;
    fn set(&self, value: V) -> Result<(), V>;
    fn into_inner(self) -> Option<V>;
}

impl<V> OnceSlot<V> for OnceCell<V> {
    fn new() -> Self {
        OnceCell::new()
    }

    fn get(&self) -> Option<&V> {
        self.get()
    }

    fn get_mut(&mut self) -> Option<&mut V> {
        self.get_mut()
    }

    fn set(&self, value: V) -> Result<(), V> {
        self.set(value)
    }

    fn into_inner(self) -> Option<V> {
        self.into_inner()
    }
}

impl<V> OnceSlot<V> for OnceLock<V> {
    fn new() -> Self {
        OnceLock::new()
    }

    fn get(&self) -> Option<&V> {
        self.get()
    }

    fn get_mut(&mut self) -> Option<&mut V> {
        self.get_mut()
    }

    fn set(&self, value: V) -> Result<(), V> {
        self.set(value)
    }

    fn into_inner(self) -> Option<V> {
        self.into_inner()
    }
}

/// A number that nothing depends on.
#[doc(hidden)]
pub trait Hint {
    fn new(number: usize) -> Self;
    fn load(&self) -> usize;
    fn store(&self, number: usize);
}

impl Hint for Cell<usize> {
    fn new(number: usize) -> Self {
        Cell::new(number)
    }

    #[inline]
    fn load(&self) -> usize {
        self.get()
    }

    #[inline]
    fn store(&self, number: usize) {
        self.set(number);
    }
}

impl Hint for AtomicUsize {
    fn new(number: usize) -> Self {
        AtomicUsize::new(number)
    }

    #[inline]
    fn load(&self) -> usize {
        self.load(Ordering::Relaxed)
    }

    #[inline]
    fn store(&self, number: usize) {
        self.store(number, Ordering::Relaxed);
    }
}
