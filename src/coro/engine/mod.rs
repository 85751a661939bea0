//! One scheduler's state, by what it owns: who runs (`run.rs`), what has a descriptor (`io.rs`),
//! and the timers (`timers.rs`).
//!
//! Those three know nothing of each other. [`Engine`] holds them (`parts.rs`); what needs more than
//! one of them, or calls a [`Source`], is in `watch.rs` and `turn.rs`. `scheduler.rs`, above,
//! drives it all.
//!
//! Everything belongs to one thread and sits in cells. Rules that keep it sound in practice:
//! - a borrow of a cell never spans foreign code: wakers are woken and dropped, bodies resumed and
//!   results handed over with no borrow held;
//! - who is told something in a loop (events, due timers, dirty sockets) is taken out of its cell
//!   first, since what is told may come back and ask.

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
    settings::{AroundWaits, Settings},
    timers::TimerKey,
};
