//! Calls of verbs: each is an object of its own, which a coroutine starts when it yields or awaits
//! it.
//!
//! A call that nobody has started has done nothing. It belongs to nobody, may be stored and passed
//! on, and is started once, by whoever awaits it. One that waits belongs to its coroutine: the
//! runner polls it (`coro/runner.rs`), or drops it when the coroutine is to go on without it.
//!
//! - `memory.rs`: how objects are made and ended;
//! - `object.rs`: what is in one, and how it comes to its value; `slots.rs`: its Python type;
//! - `origin.rs`: the warning of one that nobody awaited;
//! - `waiting.rs`: a call that its coroutine waits for;
//! - `place.rs`: where its operation, its future and its result are; `outcome.rs`: results;
//! - `first.rs`: several calls of which the first one counts;
//! - `current.rs`: the coroutine that runs.

mod current;
pub(crate) mod first;
mod memory;
mod object;
pub(crate) mod origin;
mod outcome;
mod place;
mod slots;
mod waiting;

pub(crate) use self::{
    current::{
        Frame, current_coro, forked, is_current, maker, note_fork, on_behalf, starter,
        was_told_of_fork,
    },
    memory::{make, undisturbed},
    object::is_call,
    origin::quietly,
    outcome::{Given, Outcome},
    place::{Keeps, Started, Starting},
    slots::make_type,
    waiting::{Received, Waiting},
};
