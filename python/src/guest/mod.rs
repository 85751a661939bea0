//! Schedulers that are guests of asyncio's event loops: one for each loop in which a task has used
//! a verb.
//!
//! A loop of asyncio's resumes tasks. A guest has no coroutines of Python's: what waits is a task,
//! and its coroutine, or one of our coroutines that a task runs (`coro/driver.rs`). The guest polls
//! our futures for them, with a waker of its own for each, and watches sockets and timers:
//!
//! - `wakes.rs`: wakers, which any thread may wake, and what each of them ends;
//! - `object.rs`: the guest of a loop, the waits of its tasks, our coroutines that they run;
//! - `known.rs`: all guests, and the one of this thread;
//! - `turns.rs`: its turns, its deadline;
//! - `life.rs`: its beginning and its end;
//! - `driven.rs`: the same for loops of ours;
//! - `tasks.rs`: the loop and the task that run in this thread.
//!
//! The loop watches the guest's descriptor by `add_reader`, gives it a turn by `call_soon`, and
//! looks after its deadline by `call_later`: any loop that has these three will do. A future of
//! asyncio's stands for each wait, so a task is resumed and cancelled as by anything else. What a
//! wait was for is done in the task's own step, not before: a task that is cancelled when its
//! socket has become ready has received nothing.

mod driven;
mod known;
mod life;
mod object;
mod tasks;
mod turns;
mod wakes;

pub(crate) use self::{
    known::{forget, generation},
    object::Guest,
    tasks::{current_task, here, is_asyncio_future, is_cancelled, running_loop},
    wakes::{Wait, is_done},
};
