//! An event loop of asyncio's that is a scheduler of ours, `asyncoro.EventLoop`.
//!
//! It is a `SelectorEventLoop` (`asyncoro/_loop.py`), of which this replaces what each iteration
//! uses: the queue of callbacks, timers, readers and writers, and what waits for them. Transports,
//! TLS, subprocesses and all else are the standard library's, on top of that.
//!
//! - `handle.rs`: callbacks, as they are in the queue;
//! - `timers.rs`: callbacks for later, in a timing wheel;
//! - `epoll.rs`: epoll(7), level-triggered, as readers and writers want it;
//! - `watch.rs`: who waits for which descriptor;
//! - `object.rs`: the Python object, and its queue; `iteration.rs`: an iteration;
//! - `descriptors.rs`: the methods for readers and writers;
//! - `entry.rs`: `call_soon` without pyo3's parsing of arguments;
//! - `sockets.rs`: the coroutines `sock_recv` and so on, over regular sockets.
//!
//! The loop has a guest (`guest/`) from its beginning, whose scheduler runs our coroutines and
//! verbs. If nobody has a reader or writer, an iteration waits in a turn of that scheduler; else it
//! waits for both in an epoll instance of its own, which has the scheduler's descriptor as well.

mod descriptors;
mod entry;
mod epoll;
mod handle;
mod iteration;
mod object;
mod sockets;
mod timers;
mod watch;

use pyo3::prelude::*;

/// Adds the classes to the module.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<object::Loop>()?;
    module.add_class::<handle::Handle>()?;
    module.add_class::<handle::TimerHandle>()?;
    entry::install(module.py())
}
