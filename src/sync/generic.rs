//! The types themselves, of which those in [`sync`](super) and in [`local`](super::local) are two
//! forms each.

pub use super::{
    barrier::Barrier,
    channel::Channel,
    condition::Condition,
    event::Event,
    lock::Lock,
    once_cell::OnceCell,
    rw_lock::RwLock,
    semaphore::Semaphore,
    sharing::{Local, Sharing, Threads},
};
