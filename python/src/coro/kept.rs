//! Waits of calls for what a coroutine keeps: the value of `resume`, and messages.

use std::{cell::Cell, task::Waker};

use pyo3::prelude::*;

use super::object::{Coro, State};

/// What a coroutine keeps, and calls of its own wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Resume,
    Message,
}

impl Coro {
    /// Notes that a call waits, so that `send` and `resume` know whether to wake anybody.
    pub(crate) fn begin_waiting(&self, py: Python<'_>, what: Wait) {
        let waits = self.state(py).waits_for(what);
        waits.set(waits.get() + 1);
    }

    /// Lets `waker` be woken, if that is another coroutine's.
    pub(crate) fn wait_with(&self, py: Python<'_>, waker: &Waker) {
        let state = self.state(py);
        let own = state.waker.take();
        let is_own = own.as_ref().is_some_and(|own| own.will_wake(waker));
        state.waker.set(own);
        if !is_own {
            state.has_others.set(true);
            self.rarely(py, |rare| {
                if !rare.others.iter().any(|other| other.will_wake(waker)) {
                    rare.others.push(waker.clone());
                }
            });
        }
    }

    pub(crate) fn stop_waiting(&self, py: Python<'_>, what: Wait) {
        let waits = self.state(py).waits_for(what);
        waits.set(waits.get() - 1);
        if what == Wait::Resume && waits.get() == 0 {
            drop(self.state(py).given.take());
        }
    }

    /// Wakes those who wait for what is there now.
    pub(super) fn wake_waiting(&self, py: Python<'_>) {
        self.wake(py);
        if self.state(py).has_others.replace(false) {
            let others = self.rarely(py, |rare| std::mem::take(&mut rare.others));
            others.into_iter().for_each(Waker::wake);
        }
    }
}

impl State {
    pub(super) fn waits_for(&self, what: Wait) -> &Cell<u32> {
        &self.waits[what as usize]
    }
}
