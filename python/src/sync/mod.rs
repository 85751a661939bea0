//! Locks, events, semaphores, queues and channels of coroutines.
//!
//! Their state is touched by any thread that holds the GIL, so what does not wait works in all of
//! them. What waits is a call (`call/`), whose future stands in a line (`line.rs`, `stand.rs`). It
//! is told when its turn has come, and takes that when it is resumed; one that is dropped instead
//! passes it on. No state is borrowed while foreign code may run, that is while an object of
//! Python's may be dropped or called; wakers are woken then, too.
//!
//! - `lock.rs`: `Lock` and `RLock`, over `hold.rs`: who has one, and their end;
//! - `notices.rs`: the waits of `Condition`, which is written in Python (`asyncoro/_sync.py`);
//! - `event.rs`, `semaphore.rs`;
//! - `queue.rs`: `Queue`, over `items.rs`;
//! - `channel.rs`: `Channel`, over `broadcast.rs`: the way of a message, and `deliver.rs`: waiting
//!   for those who have no room;
//! - `done.rs`: what is awaited and is over; `fork.rs`: what a child of fork(2) must not touch.

mod broadcast;
mod channel;
mod deliver;
mod done;
mod event;
mod fork;
mod hold;
mod items;
mod line;
mod lock;
mod notices;
mod queue;
mod quick;
mod semaphore;
mod stand;

use pyo3::prelude::*;

/// Adds the classes to the module.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<lock::Lock>()?;
    module.add_class::<lock::RLock>()?;
    module.add_class::<notices::Notices>()?;
    module.add_class::<event::Event>()?;
    module.add_class::<semaphore::Semaphore>()?;
    module.add_class::<queue::Queue>()?;
    module.add_class::<channel::Channel>()?;
    module.py().get_type::<done::Done>();
    quick::install_all(module.py())
}
