//! Spends the budget of a coroutine whose calls complete at once, so that other coroutines run too.
//!
//! A sender on another thread may send as fast as a coroutine receives, and a coroutine that never
//! waits would keep its scheduler to itself. So a call that completes at once spends from the
//! budget that the scheduler gives a coroutine at each resume, as the verbs of sockets do. Other
//! executors have no budget; there this does nothing.

use std::task::Waker;

use crate::coro::current;

/// The budget check of one future. It yields at most once, so that an executor inside a coroutine,
/// whose polls the budget does not count, cannot spin on it.
#[derive(Default)]
pub(super) struct Spending {
    has_yielded: bool,
}

impl Spending {
    /// A check that always passes.
    pub(super) fn none() -> Self {
        Self { has_yielded: true }
    }

    /// Tells whether the future may complete now; if not, it has woken `waker`, and the future must
    /// return `Pending`.
    pub(super) fn may_complete(&mut self, waker: &Waker) -> bool {
        let spent = current::with(|engine| engine.spend()).unwrap_or(true);
        if spent || self.has_yielded {
            return true;
        }
        self.has_yielded = true;
        waker.wake_by_ref();
        false
    }
}

/// Spends the whole budget, so that others run before this coroutine's next verb.
#[cold]
pub(super) fn exhaust() {
    current::with(|engine| engine.exhaust());
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use crate::sync::mailbox;

    /// Tells whether another ready coroutine runs before `first` ends.
    fn lets_others_run(first: impl Future<Output = ()>) -> bool {
        let ran = Rc::new(Cell::new(false));
        let mark = ran.clone();
        crate::run(async move {
            drop(crate::spawn(async move { mark.set(true) }));
            first.await;
            ran.get()
        })
    }

    #[test]
    fn who_always_finds_a_message_lets_others_run() {
        let (sender, receiver) = mailbox(10_000);
        (0..10_000).for_each(|number| sender.try_send(number).unwrap());
        assert!(lets_others_run(async move {
            for number in 0..10_000 {
                assert_eq!(receiver.receive().await, Some(number));
            }
        }));
    }

    #[test]
    fn who_always_finds_room_lets_others_run() {
        let (sender, receiver) = mailbox(10_000);
        assert!(lets_others_run(async move {
            for number in 0..10_000 {
                sender.send(number).await.unwrap();
            }
        }));
        assert_eq!(receiver.len(), 10_000);
    }

    #[test]
    fn an_executor_inside_a_coroutine_does_not_spin_on_a_spent_budget() {
        let (sender, receiver) = mailbox(10_000);
        (0..10_000).for_each(|number| sender.try_send(number).unwrap());
        crate::run(async move {
            for number in 0..10_000 {
                assert_eq!(crate::sync::block_on::block_on(receiver.receive()), Some(number));
            }
        });
    }
}
