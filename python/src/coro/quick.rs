//! The methods of a coroutine that come with every message, entered quickly.

use pyo3::prelude::*;

use super::{Coro, verbs::code};
use crate::quick::{install, quick};

/// Gives the type the short ways into its methods.
pub(super) fn install_all(py: Python<'_>) -> PyResult<()> {
    install::<0, Receive>(py)?;
    install::<1, Send>(py)
}

quick!(Receive<0>, Coro, "receive", |slf, []| Coro::receive(slf, None, None));
quick!(Send<1>, Coro, "send", |slf, [message]| {
    let message = message.to_owned().unbind();
    code(slf.py(), slf.get().send(slf.py(), message))
});
