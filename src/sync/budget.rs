//! Spends the budget of a coroutine that always finds what it asks for, so that others run too.
//!
//! With another thread at the far end, messages may come as fast as they are taken, and a coroutine
//! that never has to wait would keep its scheduler for itself. So what completes at once spends
//! from the budget that the scheduler gives a coroutine at each resume, as the verbs of sockets do.
//! On other executors there is no budget, and nothing to do.

use std::task::Waker;

use super::mailbox::error::TrySendError;
use crate::coro::current;

/// What one future spends. It steps back once at most, so that an executor inside a coroutine,
/// whose polls the budget does not count, cannot spin on it.
#[derive(Default)]
pub(super) struct Spending {
    stepped_back: bool,
}

impl Spending {
    /// Whether the future may complete now; if not, `waker` was woken and it is to return
    /// `Pending`.
    pub(super) fn may_complete(&mut self, waker: &Waker) -> bool {
        let spent = current::with(|engine| engine.spend()).unwrap_or(true);
        if spent || self.stepped_back {
            return true;
        }
        self.stepped_back = true;
        waker.wake_by_ref();
        false
    }
}

/// There was no room: whoever takes messages gets a turn before the next verb of this coroutine.
#[cold]
pub(super) fn no_room<T>(error: &TrySendError<T>) {
    if matches!(error, TrySendError::Full(_)) {
        current::with(|engine| engine.exhaust());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use crate::sync::mailbox;

    /// Runs `first` beside a coroutine that asks to run once.
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
