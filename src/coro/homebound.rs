//! `Homebound<V>`: a value of one thread, in a container that may be on any.
//!
//! Unsafe: the container is `Send` and `Sync` whatever the value is. What makes that sound:
//! - It remembers the thread on which it was made, and everything that lets code at the value (a
//!   reference, the value itself, its drop) compares that with the present thread first. Elsewhere
//!   they return nothing, and the drop forgets the value.
//! - On another thread the value is at most moved, with the container. A move runs no code of the
//!   value's and touches nothing that it points to, so that is no use of the value. What must not
//!   be moved is pinned in a box by the owner, and then only the pointer to it moves.
//! - A [`ThreadId`] is never given to a second thread of a process. In the child of a fork the one
//!   thread that is left keeps the id of the thread that called fork(2), whose memory it continues
//!   with: what was at home there is at home in the child, and what belonged to any other thread is
//!   nobody's there and is never touched.
//! - A container that went to another thread and came back was handed over by something that orders
//!   the two (as for any `Send` value), so its home thread sees its own writes in their order.
//! - `Sync` gives other threads `&Homebound`, which tells them whether they are at home, and
//!   nothing of the value.
#![allow(unsafe_code)]

use std::{
    any::Any,
    cell::Cell,
    mem,
    pin::Pin,
    thread::{self, ThreadId},
};

/// A value that only the thread on which this was made uses or drops.
pub(crate) struct Homebound<V> {
    home: ThreadId,
    /// Taken out only by what consumes the container.
    value: Option<V>,
}

// SAFETY: the module's documentation has the reasons.
unsafe impl<V> Send for Homebound<V> {}
// SAFETY: as above.
unsafe impl<V> Sync for Homebound<V> {}

impl<V> Homebound<V> {
    /// Binds a value to this thread.
    pub(crate) fn new(value: V) -> Homebound<V> {
        Homebound { home: this_thread(), value: Some(value) }
    }

    /// Tells whether this thread is the one of the value.
    #[inline]
    pub(crate) fn is_home(&self) -> bool {
        self.home == this_thread()
    }

    /// Returns the value; nothing on another thread.
    #[inline]
    pub(crate) fn value(&self) -> Option<&V> {
        self.value.as_ref().filter(|_| self.is_home())
    }

    /// Returns the value, mutably; nothing on another thread.
    #[inline]
    pub(crate) fn value_mut(&mut self) -> Option<&mut V> {
        let is_home = self.is_home();
        self.value.as_mut().filter(|_| is_home)
    }

    /// Takes the value out; nothing on another thread, where it stays.
    pub(crate) fn take(&mut self) -> Option<V> {
        if self.is_home() { self.value.take() } else { None }
    }
}

impl<T: 'static> Homebound<Pin<Box<T>>> {
    /// Moves the value, on any thread, into a container that does not tell its type; nothing if it
    /// was taken.
    pub(crate) fn leave(&mut self) -> Option<Homebound<Pin<Box<dyn Any>>>> {
        let value: Pin<Box<dyn Any>> = self.value.take()?;
        Some(Homebound { home: self.home, value: Some(value) })
    }
}

impl<V> Drop for Homebound<V> {
    fn drop(&mut self) {
        if !self.is_home() {
            mem::forget(self.value.take());
        }
    }
}

thread_local! {
    /// Asking the standard library counts a reference up and down, on each call.
    static THREAD: Cell<Option<ThreadId>> = const { Cell::new(None) };
}

/// Returns the id of this thread.
#[inline]
pub(crate) fn this_thread() -> ThreadId {
    THREAD.get().unwrap_or_else(|| {
        let id = thread::current().id();
        THREAD.set(Some(id));
        id
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{cell::Cell, rc::Rc, thread};

    use super::Homebound;

    #[test]
    fn other_threads_get_nothing_and_drop_nothing() {
        let value = Rc::new(Cell::new(1));
        let mut bound = Homebound::new(Box::pin(Rc::clone(&value)));
        Cell::set(bound.value().expect("this is its thread"), 2);
        let mut bound = thread::spawn(move || {
            assert!(!bound.is_home() && bound.value().is_none());
            assert!(bound.value_mut().is_none() && bound.take().is_none());
            bound
        })
        .join()
        .unwrap();
        let left = bound.leave().expect("it is there");
        assert!(bound.value().is_none() && bound.leave().is_none());
        drop(thread::spawn(move || left).join().unwrap());
        assert_eq!(Rc::strong_count(&value), 1, "dropped at home");
        let bound = Homebound::new(Rc::clone(&value));
        thread::spawn(move || drop(bound)).join().unwrap();
        assert_eq!(Rc::strong_count(&value), 2, "forgotten elsewhere");
    }
}
