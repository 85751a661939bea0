//! One scheduler's state, by what it owns: coroutines (`run.rs`), objects with a descriptor
//! (`io.rs`), and timers (`timers.rs`).
//!
//! These three do not depend on each other. [`Engine`] holds them (`parts.rs`); code that needs
//! more than one of them, or calls a [`Source`], is in `watch.rs` and `turn.rs`. `scheduler.rs`,
//! above, drives all of it.
//!
//! Everything belongs to one thread and is in cells. Rules for their borrows:
//! - a borrow of a cell never spans foreign code: wakers are woken and dropped, bodies resumed and
//!   results handed over with no borrow held;
//! - a loop that calls objects (events, due timers, dirty sockets) first takes them out of their
//!   cell, since a call may come back to it.

mod ahead;
mod io;
mod parts;
mod run;
mod settings;
mod timers;
mod turn;
mod watch;

pub(crate) use self::{
    io::{
        RETRY_PAUSE,
        settling::{FIRST_PAUSE, LAST_PAUSE},
    },
    parts::{Engine, Source},
};
pub(super) use self::{
    run::extras::{Hook, Past},
    settings::{Around, EngineSettings},
};
