//! The heap cell of a coroutine, and why its two owners may share it.
//!
//! One allocation holds the future while the coroutine lives and its result afterwards. The
//! scheduler owns it as a [`Body`](body::Body) (`body.rs`), the handle as a [`Joint`] (`joint.rs`);
//! `coro/state.rs` tells which of them still do. Both use its head (`head.rs`); behind the head is
//! its stage, the future or the result (`stage.rs`). `finish.rs` hands over the end, `watch.rs`
//! shows it to those who watch, and `unseen.rs` drops and logs a result that no handle takes.
//!
//! Each of these files allows unsafe code, this one does not; it has the proof for all of them.
//!
//! # The proof
//! - **The future** (`stage` while it is `Running`) is made, polled and dropped by the `Body`
//!   alone. There is one `Body`, it is not `Clone`, and it is `!Send`: it stays on the scheduler's
//!   thread. The one exception is [`Unstarted`]: such a cell holds a closure that is `Send`, and
//!   the future is made from it at the first poll.
//! - **The result** is written by the `Body` before `JoinState::complete`, and read by the `Joint`
//!   after it saw that the coroutine is done. The moves of the state order the two. If there is no
//!   handle any more, the `Body` drops it.
//! - **The waiter** (which the handle's `await` stores) is a word in the state itself; the code
//!   that takes it out owns it.
//! - **Those who watch** see the result before the move to `DONE`, when it is the `Body`'s, or
//!   after the `Joint` has seen `DONE`, when it is the `Joint`'s; see `coro/state.rs`. What they do
//!   with it is `Send`, and the result is where it may be.
//! - **The log** is an atomic that the `Joint` writes before it detaches, and that the `Body` reads
//!   after it saw that. It is a function for the type of this cell's result.
//! - **The memory** is freed by the `Joint` if it saw `DONE`, else by the `Body`, which then saw
//!   `DETACHED`: each of them moves to its own word once, by a swap, and the second sees the first.
//! - **The head** is the first field of each cell, whatever its future (`repr(C)`), so a pointer to
//!   a cell is one to its head.
//! - **Threads**: on another thread the `Joint` uses the state, the atomics, the log and the
//!   result, which is why `Coro<T>` is `Send` only if `T` is. A waiter is `Send`, as wakers are.
//!   When the `Joint` frees a cell, the future was dropped before.
//! - **Panics** of the future's `poll` and `drop` are caught here, and so are those of the drop of
//!   a result that no handle takes, and of an error's text for the log. No user code runs between a
//!   move of the state and the writes that it protects.

pub(super) mod body;
mod finish;
mod head;
mod joint;
mod stage;
mod unseen;
mod watch;

use std::{future::Future, panic::Location};

use self::body::Unstarted;
pub(super) use self::{joint::Joint, stage::new, watch::See};

/// Size from which a future is boxed first: it is moved on its way to the heap, and without
/// optimization each move takes as much of the stack.
pub(super) const LARGE: usize = 4 << 10;

/// Makes the cell of a coroutine whose future `make` makes on the scheduler's thread; `key` is its
/// key until it has a place there.
pub(super) fn new_unstarted<M, F>(
    make: M,
    key: usize,
    spawned: &'static Location<'static>,
) -> (Unstarted, Joint<F::Output>)
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
{
    let (body, joint) = if size_of::<F>() > LARGE {
        new(async move { Box::pin(make()).await }, spawned)
    } else {
        new(async move { make().await }, spawned)
    };
    body.place(key);
    (Unstarted(body), joint)
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;
