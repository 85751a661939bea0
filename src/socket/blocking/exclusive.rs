//! The state of one direction of a blocking socket, for one thread at a time.
//!
//! The counterpart of `asynchronous/lock.rs` for threads: first come, first served. A thread waits
//! for the lock until its deadline at most, which a `Mutex` of the standard library cannot do. The
//! state is moved out while it is used; the mutex is held only for the move.

use std::{
    collections::VecDeque,
    io,
    ops::{Deref, DerefMut},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use crate::driver::Driver;

/// The state of a direction, and the queue of threads that wait for it.
pub(super) struct Exclusive<S> {
    state: Mutex<LockState<S>>,
    passed: Condvar,
}

struct LockState<S> {
    /// `None` while a thread uses it.
    side: Option<S>,
    /// The thread that has the lock and lends it to code that it calls; no other may take it.
    reserved: Option<ThreadId>,
    last: u64,
    line: VecDeque<u64>,
}

impl<S> LockState<S> {
    /// Tells whether a new thread may take the lock without waiting.
    fn is_free(&self) -> bool {
        match self.reserved {
            None => self.line.is_empty(),
            Some(thread) => thread == thread::current().id(),
        }
    }
}

/// The lock, held; the drop passes it on.
pub(super) struct Taken<'a, S> {
    lock: &'a Exclusive<S>,
    side: Option<S>,
}

/// The lock, lent to other code on the same thread; the drop passes it on.
pub(super) struct Reserved<'a, S> {
    lock: &'a Exclusive<S>,
    /// The reservation of the code that has called this code.
    before: Option<ThreadId>,
}

impl<S> Exclusive<S> {
    pub(super) fn new(side: S) -> Exclusive<S> {
        let state = LockState { side: Some(side), reserved: None, last: 0, line: VecDeque::new() };
        Exclusive { state: Mutex::new(state), passed: Condvar::new() }
    }

    /// Takes the lock if no thread has it or waits for it, or if this thread has reserved it.
    pub(super) fn try_take(&self) -> Option<Taken<'_, S>> {
        let mut state = self.state();
        let side = if state.is_free() { state.side.take() } else { None };
        drop(state);
        side.map(|side| Taken { lock: self, side: Some(side) })
    }

    /// Waits for the lock; `None` at the deadline. Calls `ask.1` after each wake and at least every
    /// `ask.0`; an error from it ends the wait.
    pub(super) fn take(
        &self,
        deadline: Option<Instant>,
        ask: Option<(Duration, &dyn Fn() -> io::Result<()>)>,
    ) -> io::Result<Option<Taken<'_, S>>> {
        let mut state = self.state();
        state.last += 1;
        let ticket = state.last;
        state.line.push_back(ticket);
        loop {
            if state.line.front() == Some(&ticket)
                && state.reserved.is_none()
                && let Some(side) = state.side.take()
            {
                state.line.pop_front();
                return Ok(Some(Taken { lock: self, side: Some(side) }));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Driver::now()));
            let slice = ask.map(|(slice, _)| slice);
            state = match left.into_iter().chain(slice).min() {
                None => self.passed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => {
                    self.leave(state, ticket);
                    return Ok(None);
                }
                Some(left) => {
                    let woken = self.passed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            if let Some((_, check)) = ask {
                drop(state);
                let goes_on = check();
                state = self.state();
                if let Err(error) = goes_on {
                    self.leave(state, ticket);
                    return Err(error);
                }
            }
        }
    }

    fn leave(&self, mut state: MutexGuard<'_, LockState<S>>, ticket: u64) {
        state.line.retain(|waiting| *waiting != ticket);
        // This thread may have been the next.
        self.passed.notify_all();
    }

    /// Returns the state; no thread may use it any more.
    pub(super) fn into_inner(self) -> S {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.side.expect("who holds it borrows it, so nobody does")
    }

    fn state(&self) -> MutexGuard<'_, LockState<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a, S> Taken<'a, S> {
    /// Lends the lock to this thread alone; the others continue to wait.
    pub(super) fn reserve(mut self) -> Reserved<'a, S> {
        let mut state = self.lock.state();
        state.side = self.side.take();
        let before = state.reserved.replace(thread::current().id());
        drop(state);
        Reserved { lock: self.lock, before }
    }
}

impl<'a, S> Reserved<'a, S> {
    /// Takes the lent lock back.
    pub(super) fn resume(self) -> Taken<'a, S> {
        let side = self.lock.state().side.take();
        let side = side.expect("this thread alone takes it, and has given it back");
        Taken { lock: self.lock, side: Some(side) }
    }
}

impl<S> Drop for Reserved<'_, S> {
    fn drop(&mut self) {
        let mut state = self.lock.state();
        state.reserved = self.before;
        let waiting = !state.line.is_empty();
        drop(state);
        if waiting {
            self.lock.passed.notify_all();
        }
    }
}

impl<S> Drop for Taken<'_, S> {
    fn drop(&mut self) {
        // The lock was released already.
        if self.side.is_none() {
            return;
        }
        let mut state = self.lock.state();
        state.side = self.side.take();
        let waiting = !state.line.is_empty();
        drop(state);
        if waiting {
            self.lock.passed.notify_all();
        }
    }
}

impl<S> Deref for Taken<'_, S> {
    type Target = S;

    fn deref(&self) -> &S {
        self.side.as_ref().expect("it is taken until the drop")
    }
}

impl<S> DerefMut for Taken<'_, S> {
    fn deref_mut(&mut self) -> &mut S {
        self.side.as_mut().expect("it is taken until the drop")
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    #[test]
    fn whoever_gives_up_waiting_lets_the_next_have_the_lock() {
        let lock = Exclusive::new(0);
        let taken = lock.try_take().unwrap();
        assert!(lock.try_take().is_none());
        let soon = || Some(Driver::now() + Duration::from_millis(5));
        assert!(lock.take(soon(), None).unwrap().is_none());
        thread::scope(|scope| {
            let patient = scope.spawn(|| *lock.take(None, None).unwrap().unwrap() += 1);
            assert!(lock.take(soon(), None).unwrap().is_none());
            drop(taken);
            patient.join().unwrap();
        });
        assert_eq!(*lock.take(soon(), None).unwrap().unwrap(), 1);
        assert_eq!(lock.into_inner(), 1);
    }

    #[test]
    fn a_reserved_lock_is_for_its_thread_alone_and_the_line_waits_on() {
        let lock = Exclusive::new(Vec::new());
        let reserved = lock.try_take().unwrap().reserve();
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(lock.try_take().is_none());
                lock.take(None, None).unwrap().unwrap().push(3);
            });
            while lock.state().line.is_empty() {
                thread::yield_now();
            }
            let inner = lock.try_take().unwrap().reserve();
            lock.try_take().unwrap().push(1);
            drop(inner.resume());
            let mut taken = reserved.resume();
            taken.push(2);
        });
        assert_eq!(lock.into_inner(), [1, 2, 3]);
    }

    #[test]
    fn locks_are_taken_in_the_order_of_asking() {
        let lock = Exclusive::new(Vec::new());
        let first = lock.try_take().unwrap();
        thread::scope(|scope| {
            for number in 0..8 {
                let lock = &lock;
                scope.spawn(move || lock.take(None, None).unwrap().unwrap().push(number));
                while lock.state().line.len() <= number {
                    thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(lock.into_inner(), [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
