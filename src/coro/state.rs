//! Who of the two owners of a coroutine's cell still holds it: one byte and its moves.
//!
//! A cell has exactly two owners: the scheduler, which ends the coroutine, and the handle
//! ([`super::Coro`]), which takes the result and may live in another thread. Whoever comes last
//! frees the cell. The byte says how far they are:
//!
//! | state | the handle | the scheduler | who may touch the waiter's slot |
//! | --- | --- | --- | --- |
//! | `PENDING` | holds | holds | the handle |
//! | `WAITING` | holds, its waker is in the slot | holds | whoever moves on from here |
//! | `TAKING` | holds | is moving the waker out | the scheduler |
//! | `DONE` | holds | has let go, the result is in the cell | the handle |
//! | `DETACHED` | has let go | holds | the scheduler |
//!
//! Each move is one compare-and-exchange of this byte, with acquire and release, so what one side
//! wrote before its move the other sees after its own.

use crate::primitives::{AtomicU8, Ordering};

const PENDING: u8 = 0;
const WAITING: u8 = 1;
const TAKING: u8 = 2;
const DONE: u8 = 3;
const DETACHED: u8 = 4;

/// What the scheduler finds when it ends a coroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completed {
    /// The handle takes the result and frees the cell.
    Held,
    /// There is no handle: the scheduler frees the cell.
    Detached,
}

/// What the handle finds when it looks for the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The result is there, and the cell is the handle's alone.
    Done,
    /// Not yet; the waiter's slot is the handle's.
    Pending,
    /// Not yet, but in a moment: the scheduler is at it.
    Soon,
}

/// See the module's page.
pub(super) struct JoinState(AtomicU8);

impl JoinState {
    pub(super) fn new() -> JoinState {
        JoinState(AtomicU8::new(PENDING))
    }

    /// Handle: whether the result is there.
    pub(super) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) == DONE
    }

    /// Handle: looks for the result, and takes the slot back if it had published a waker.
    pub(super) fn look(&self) -> Look {
        let mut seen = self.0.load(Ordering::Acquire);
        if seen == WAITING {
            seen = match self.step(WAITING, PENDING) {
                Ok(()) => PENDING,
                Err(now) => now,
            };
        }
        match seen {
            PENDING => Look::Pending,
            TAKING => Look::Soon,
            _ => {
                debug_assert_eq!(seen, DONE, "a detached handle does not look");
                Look::Done
            }
        }
    }

    /// Handle: its waker is in the slot now. `false` means that the coroutine has ended instead;
    /// the slot is the handle's again.
    pub(super) fn publish_waiter(&self) -> bool {
        let moved = self.step(PENDING, WAITING);
        debug_assert!(matches!(moved, Ok(()) | Err(DONE)), "only a pending handle publishes");
        moved.is_ok()
    }

    /// Handle: lets go after [`JoinState::look`] did not find the result. `false` means that the
    /// coroutine has ended meanwhile, and that the handle frees the cell.
    pub(super) fn detach(&self) -> bool {
        match self.step(PENDING, DETACHED) {
            Ok(()) => true,
            Err(TAKING) => self.step(TAKING, DETACHED).is_ok(),
            Err(seen) => {
                debug_assert_eq!(seen, DONE, "a handle lets go once");
                false
            }
        }
    }

    /// Scheduler: the result is in the cell. `take_waiter` is called, at most once, when a waker is
    /// in the slot, at a moment when the handle can neither touch the slot nor free the cell.
    pub(super) fn complete(&self, take_waiter: impl FnOnce()) -> Completed {
        // The handle may move between PENDING and WAITING meanwhile; each lost race is one of its
        // polls, so this ends.
        let mut take_waiter = Some(take_waiter);
        loop {
            match self.0.load(Ordering::Acquire) {
                PENDING if self.step(PENDING, DONE).is_ok() => return Completed::Held,
                WAITING if self.step(WAITING, TAKING).is_ok() => {
                    let take = take_waiter.take().expect("TAKING is entered once");
                    take();
                    return match self.step(TAKING, DONE) {
                        Ok(()) => Completed::Held,
                        Err(_) => Completed::Detached,
                    };
                }
                DETACHED => return Completed::Detached,
                seen => debug_assert!(matches!(seen, PENDING | WAITING), "a coroutine ends once"),
            }
        }
    }

    fn step(&self, from: u8, to: u8) -> Result<(), u8> {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).map(drop)
    }
}
