//! Waits for a future on a plain thread, which is parked meanwhile.
//!
//! A wake between the poll and the parking is not lost, since the flag is set before the thread is
//! unparked; a spurious unpark does not poll.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use crate::coro::current;

/// Panics if this thread runs a scheduler, which `call` would stop; the text recommends `instead`.
#[track_caller]
pub(super) fn check_thread(call: &str, instead: &str) {
    let scheduler = current::with(|_| ()).is_some();
    assert!(!scheduler, "{call} would block the scheduler of this thread: `{instead}` in here");
}

/// Runs `future` to its end on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let parked = Arc::new(Parked { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(parked.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        while !parked.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

struct Parked {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::sync::mailbox;

    #[test]
    #[should_panic(expected = "`receive().await` in here")]
    fn a_coroutine_that_blocks_its_scheduler_is_told_what_to_do() {
        let (_sender, receiver) = mailbox::<()>(1);
        crate::run(async move { receiver.receive_blocking() });
    }
}
