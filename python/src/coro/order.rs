//! What others want a coroutine to do, until it obeys.

use std::{collections::VecDeque, task::Waker};

use pyo3::{prelude::*, types::PyString};

use super::step;
use crate::{call, gil};

/// An order to a coroutine.
pub(crate) enum Order {
    Terminate,
    Throw(PyErr),
}

/// A generator that is to take over, and its name. It is closed if it does not.
pub(super) struct Swap {
    pub(super) generator: Option<Py<PyAny>>,
    pub(super) name: Py<PyString>,
}

/// May run any code.
impl Drop for Swap {
    fn drop(&mut self) {
        if let Some(generator) = self.generator.take() {
            let py = gil::py();
            // Not started, it has nothing to say.
            drop(call::quietly(py, || step::close(py, &generator)));
        }
    }
}

#[derive(Default)]
pub(super) struct Rare {
    pub(super) orders: VecDeque<Order>,
    /// A generator that is to take over.
    pub(super) swap: Option<Swap>,
    /// The one that was offered to the running generator.
    pub(super) offered: Option<Swap>,
    /// Other coroutines that wait for what this one keeps.
    pub(super) others: Vec<Waker>,
}
