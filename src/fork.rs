//! Makes the process's shared values safe across fork(2), after which the child has only the thread
//! that forked.
//!
//! A lock that another thread held at the fork is never released in the child. So the child uses
//! none of its parent's locks: each process-wide value ([`Global`]) is made anew in the child at
//! its first use, and the parent's is left untouched. What belongs to one process (a scheduler, a
//! call of the pool) records that process's number ([`generation`]), which a handler increments in
//! each child.
//!
//! Making and finding a [`Global`] takes no lock either: a fork in the middle of it leaves the
//! child a complete value or none.
//!
//! Unsafe: registering handlers with pthread_atfork(3), and a list of leaked nodes behind an atomic
//! pointer. A node is written before it is published and never changed or freed afterwards.
#![allow(unsafe_code)]

use std::{
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering},
};

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Returns the number of forks between the process that first called [`watch`] and this one.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Counts forks from now on.
pub(crate) fn watch() {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    in_each_child(&WATCHED, count);
}

extern "C" fn count() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Registers `handler` to be called in the child of each later fork, in the thread that forked. It
/// may only store to atomics and to thread-locals without a destructor.
///
/// `registered` belongs to this handler. Two threads that call this first at the same time both
/// register it, since waiting for one another would take a lock; so the handler must tolerate being
/// called twice.
pub(crate) fn in_each_child(registered: &AtomicBool, handler: extern "C" fn()) {
    if !registered.load(Ordering::Acquire) {
        // SAFETY: the contract above allows the handler only what the child of a multithreaded
        // process may do, and the callers in this crate keep it.
        unsafe { libc::pthread_atfork(None, None, Some(handler)) };
        registered.store(true, Ordering::Release);
    }
}

/// A value that each process has once, made at its first use.
///
/// Threads that use it first at the same time each make one, and one of these is kept. So making it
/// must have no side effects.
pub(crate) struct Global<T: 'static> {
    newest: AtomicPtr<Node<T>>,
}

struct Node<T> {
    generation: u32,
    value: T,
}

impl<T: Send + Sync + 'static> Global<T> {
    pub(crate) const fn new() -> Global<T> {
        Global { newest: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Returns the value of this process. `make` is given the value of the process it was forked
    /// from, if any, and must touch no lock and no collection in it.
    pub(crate) fn of_this_process(&self, make: impl FnOnce(Option<&'static T>) -> T) -> &'static T {
        // First, so that `generation` is up to date.
        watch();
        self.of_generation(generation(), make)
    }

    /// Like `of_this_process`, for the process with the given number.
    pub(crate) fn of_generation(
        &self,
        generation: u32,
        make: impl FnOnce(Option<&'static T>) -> T,
    ) -> &'static T {
        let newest = self.newest();
        match newest {
            Some(node) if node.generation == generation => &node.value,
            _ => self.publish(newest, generation, make),
        }
    }

    /// Returns the value of this process or of one that it was forked from, if there is one: for
    /// values that a fork does not change.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "TLS has the other users"))]
    pub(crate) fn get(&self) -> Option<&'static T> {
        self.newest().map(|node| &node.value)
    }

    /// Like `get`, but makes the value if there is none.
    pub(crate) fn get_or_make(&self, make: impl FnOnce() -> T) -> &'static T {
        match self.newest() {
            Some(node) => &node.value,
            None => self.publish(None, generation(), |_| make()),
        }
    }

    fn newest(&self) -> Option<&'static Node<T>> {
        // SAFETY: null, or a node that `publish` has leaked and that nobody changes.
        unsafe { self.newest.load(Ordering::Acquire).as_ref() }
    }

    #[cold]
    fn publish(
        &self,
        parent: Option<&'static Node<T>>,
        generation: u32,
        make: impl FnOnce(Option<&'static T>) -> T,
    ) -> &'static T {
        let value = make(parent.map(|node| &node.value));
        let made = Box::into_raw(Box::new(Node { generation, value }));
        let before = parent.map_or(ptr::null_mut(), |node| ptr::from_ref(node).cast_mut());
        let published =
            self.newest.compare_exchange(before, made, Ordering::AcqRel, Ordering::Acquire);
        match published {
            // SAFETY: a leaked box, which from now on nobody changes.
            Ok(_) => unsafe { &(*made).value },
            Err(other) => {
                // SAFETY: the box was made here and never published.
                drop(unsafe { Box::from_raw(made) });
                // SAFETY: only `publish` stores here, and never null.
                unsafe { &(*other).value }
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use super::Global;

    #[test]
    fn each_process_has_its_own_value_and_makes_it_from_its_parents() {
        let global = Global::new();
        assert!(global.get().is_none());
        assert_eq!(*global.of_generation(0, |parent: Option<&u8>| parent.map_or(1, |_| 9)), 1);
        assert_eq!(*global.of_generation(0, |_| unreachable!("there is one")), 1);
        assert_eq!(*global.of_generation(1, |parent| parent.map_or(9, |parent| parent + 1)), 2);
        assert_eq!(*global.get_or_make(|| unreachable!("there is one")), 2);
    }

    #[test]
    fn threads_that_come_first_together_get_the_same_value() {
        for _ in 0..100 {
            let (global, made, start) = (Global::new(), AtomicUsize::new(0), Barrier::new(4));
            thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            *global.get_or_make(|| made.fetch_add(1, Ordering::Relaxed))
                        })
                    })
                    .collect();
                let values: Vec<_> =
                    threads.into_iter().map(|thread| thread.join().unwrap()).collect();
                assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
            });
        }
    }
}
