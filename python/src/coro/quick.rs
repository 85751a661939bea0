//! Quick entries of the methods of a coroutine that each message takes.

use pyo3::prelude::*;

use super::object::{Coro, code};
use crate::quick::{install, quick};

pub(super) fn install_all(py: Python<'_>) -> PyResult<()> {
    install::<0, Receive>(py)?;
    install::<1, Send>(py)
}

quick!(Receive<0>, Coro, "receive", |slf, []| Coro::receive(slf, None, None));
quick!(Send<1>, Coro, "send", |slf, [message]| {
    let message = message.to_owned().unbind();
    slf.get().send(slf.py(), message).and_then(|sent| code(slf.py(), sent))
});
