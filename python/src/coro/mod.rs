//! Coroutines: `Coro`, Python's object of one, what others do to it, and what it runs.
//!
//! Any thread that holds the GIL touches its state. What it runs looks at its orders when it is
//! resumed; so giving one is storing it in the state and waking the coroutine.
//!
//! - `object.rs`: the object and its state; of these `end.rs`: how it has ended, `mail.rs`: its
//!   mailbox, `order.rs`: what others want of it, `ties.rs`: what has to hear of its end; `gc.rs`:
//!   when the collector looks at it;
//! - `registry.rs`: all that have not ended;
//! - `kept.rs`, `verbs.rs`: what it waits for by itself; `mailbox.rs`: what it is sent;
//! - `orders.rs`: what others ask of it;
//! - `ending.rs`: its end, and who is told; `circle.rs`: those that wait for each other;
//! - `runner.rs`: the future of the crate's that drives its generators, and in `runner/` its end;
//!   `step.rs`: one step of one, `context.rs`: the context (PEP 567) of them all; `driver.rs`: the
//!   same in a task of asyncio's;
//! - `standing.rs`: one that stands for a task of asyncio's;
//! - `start.rs`: making one; `target.rs`: calling its function; `made.rs`, `quick.rs`: short ways
//!   in;
//! - `alarm.rs`: timeouts.

pub(crate) mod alarm;
mod circle;
mod context;
mod driver;
mod end;
mod ending;
mod gc;
mod kept;
mod made;
mod mail;
mod mailbox;
mod object;
mod order;
mod orders;
mod quick;
pub(crate) mod registry;
mod runner;
mod standing;
mod start;
mod step;
mod target;
mod ties;
mod verbs;

pub(crate) use self::{
    context::{forget as forget_context, leave as leave_context},
    driver::Driver,
    made::make_fast,
    mailbox::Delivering,
    object::{Coro, code},
    ties::Tie,
};
