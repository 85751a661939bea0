//! Wakes a scheduler from another thread, without a system call while the scheduler is awake.
//!
//! One atomic byte says whether the scheduler is awake, asleep, or was rung. All transitions are
//! read-modify-write operations on that byte, so no order between two variables matters:
//! - `ring`: any state -> rung; the caller that finds `ASLEEP` also ends the kernel's wait;
//! - `fall_asleep`: awake -> asleep; refused when rung;
//! - `wake_up`: asleep -> awake; a ring that came meanwhile is kept;
//! - `answer`: rung -> awake, before the inbox is read, so that a later post rings again.
//!
//! A scheduler that somebody else's loop drives is asleep between its turns. If that loop has given
//! a waker, a ring wakes it instead of the kernel.

use std::task::Waker;

use crate::{
    foreign,
    primitives::{Arc, AtomicU8, Mutex, Ordering, lock},
};

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const RUNG: u8 = 2;

/// The state of one scheduler's doorbell, and how to end its wait.
pub(crate) struct Doorbell {
    state: AtomicU8,
    wake: Box<dyn Fn() + Send + Sync>,
    /// What is woken instead, if there is one. Counted, so that it is cloned without foreign code.
    host: Mutex<Option<Arc<Waker>>>,
}

impl Doorbell {
    /// Makes a doorbell that ends a sleep by calling `wake`, which must work from any thread.
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Doorbell {
        Doorbell { state: AtomicU8::new(AWAKE), wake: Box::new(wake), host: Mutex::new(None) }
    }

    /// Sets what a ring wakes instead of the kernel; `None` for the kernel again.
    pub(crate) fn set_host(&self, waker: Option<Waker>) {
        let waker = waker.map(Arc::new);
        let old = std::mem::replace(&mut *lock(&self.host), waker);
        // With the lock released: the drop of a waker is foreign code.
        foreign::contain("the drop of a waker", || drop(old));
    }

    /// Announces a post and ends a sleep. Call it after the post is in the inbox.
    pub(crate) fn ring(&self) {
        if self.state.swap(RUNG, Ordering::AcqRel) == ASLEEP {
            self.wake_up_the_sleeper();
        }
    }

    fn wake_up_the_sleeper(&self) {
        let host = lock(&self.host).clone();
        match host {
            Some(waker) => drop(foreign::contain("the waker of a host", || {
                waker.wake_by_ref();
                drop(waker);
            })),
            None => (self.wake)(),
        }
    }

    /// Tells whether there is a ring that was not answered yet.
    pub(crate) fn is_rung(&self) -> bool {
        self.state.load(Ordering::Relaxed) == RUNG
    }

    /// Answers a ring; `false` if there was none. Read the inbox after it.
    pub(crate) fn answer(&self) -> bool {
        self.is_rung() && self.state.swap(AWAKE, Ordering::AcqRel) == RUNG
    }

    /// Announces a sleep; `false` means that the doorbell was rung and the sleep must not begin.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Ends a sleep; `true` if the doorbell was rung meanwhile.
    pub(crate) fn wake_up(&self) -> bool {
        self.state.compare_exchange(ASLEEP, AWAKE, Ordering::AcqRel, Ordering::Relaxed).is_err()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::Doorbell;

    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_host_that_has_given_a_waker_is_woken_instead_of_the_kernel() {
        let kernel = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&kernel);
        let bell = Doorbell::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let host = Arc::new(Count(AtomicUsize::new(0)));
        bell.set_host(Some(Arc::clone(&host).into()));
        bell.ring();
        assert_eq!(host.0.load(Ordering::Relaxed), 0, "it is awake");
        assert!(bell.answer() && bell.fall_asleep());
        bell.ring();
        bell.ring();
        assert_eq!(host.0.load(Ordering::Relaxed), 1);
        bell.set_host(None);
        assert_eq!(Arc::strong_count(&host), 1, "its waker was dropped");
        assert!(bell.answer() && bell.fall_asleep());
        bell.ring();
        assert_eq!((host.0.load(Ordering::Relaxed), kernel.load(Ordering::Relaxed)), (1, 1));
    }

    #[test]
    fn only_a_ring_during_sleep_wakes_the_kernel() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let bell = Doorbell::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        bell.ring();
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        assert!(!bell.fall_asleep(), "mail refuses sleep");
        assert!(bell.answer());
        assert!(!bell.answer());
        assert!(bell.fall_asleep());
        bell.ring();
        bell.ring();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert!(bell.wake_up());
        assert!(bell.answer());
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::{
        sync::{Arc, Notify, atomic::AtomicUsize},
        thread,
    };

    use super::{Doorbell, Ordering};

    #[test]
    fn loom_mail_is_never_slept_through() {
        loom::model(|| {
            let kernel = Arc::new(Notify::new());
            let mail = Arc::new(AtomicUsize::new(0));
            let wake = Arc::clone(&kernel);
            let bell = Arc::new(Doorbell::new(move || wake.notify()));
            let sender = thread::spawn({
                let (bell, mail) = (Arc::clone(&bell), Arc::clone(&mail));
                move || {
                    mail.fetch_add(1, Ordering::Relaxed);
                    bell.ring();
                }
            });
            let mut seen = 0;
            while seen == 0 {
                if bell.answer() {
                    seen = mail.load(Ordering::Relaxed);
                    assert_eq!(seen, 1, "a ring announces mail that is in");
                } else if bell.fall_asleep() {
                    kernel.wait();
                    bell.wake_up();
                }
            }
            sender.join().expect("sender");
        });
    }
}
