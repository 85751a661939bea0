//! Decides when to poll for a moment before sleeping.
//!
//! Putting a core to sleep and waking it again takes longer than an answer that comes within
//! microseconds: on a virtual machine each wake is an interrupt and an exit to the host. So an idle
//! scheduler polls briefly first, but only while that succeeds: each sleep that ended within the
//! limit adds to `trust`; a poll that found nothing sets it to zero and doubles the trust that the
//! next poll requires. And it polls only for an answer: after something was sent, or if another
//! thread ended the last wait. A program that only receives, such as a long file, gains no latency
//! by polling and would occupy a CPU. On a machine with one CPU nobody could answer meanwhile, so
//! it never polls there. The CPUs of the machine count, not those this thread may run on:
//! schedulers that are each bound to a CPU of their own are answered from the others.
//!
//! This is pure logic over durations; `driver/mod.rs` reads the clock.

use std::{fs, thread, time::Duration};

use crate::fork::Global;

/// How many sleeps in a row must end quickly before the first poll.
const FIRST_PRICE: u32 = 4;

/// The most quick sleeps that can be required before a poll.
const HIGHEST_PRICE: u32 = 256;

/// The recent history of one scheduler's waits, and the decision whether to poll.
pub(super) struct Idle {
    limit: Duration,
    trust: u32,
    price: u32,
    /// Whether another thread ended the last wait.
    rung: bool,
}

impl Idle {
    pub(super) fn new(limit: Duration) -> Idle {
        static SEVERAL: Global<bool> = Global::new();
        let several = *SEVERAL.get_or_make(has_several_cpus);
        Idle::with_limit(if several { limit } else { Duration::ZERO })
    }

    fn with_limit(limit: Duration) -> Idle {
        Idle { limit, trust: 0, price: FIRST_PRICE, rung: false }
    }

    /// Returns how long to poll now; zero for not at all. `asked` tells whether something was sent
    /// since the last wait.
    pub(super) fn spin(&self, asked: bool) -> Duration {
        let pays = self.trust >= self.price && (asked || self.rung);
        if pays { self.limit } else { Duration::ZERO }
    }

    /// Records that a wait ended; `rung` tells whether another thread ended it.
    pub(super) fn ended(&mut self, rung: bool) {
        self.rung = rung;
    }

    /// Records that an event or a ring ended a sleep after `took`.
    pub(super) fn slept(&mut self, took: Duration) {
        if took < self.limit {
            self.trust = (self.trust + 1).min(HIGHEST_PRICE);
        } else {
            self.trust = 0;
        }
    }

    /// Records that a poll ended; `answered` tells whether something came.
    pub(super) fn spun(&mut self, answered: bool) {
        if answered {
            self.price = (self.price - 1).max(FIRST_PRICE);
            self.trust = self.trust.max(self.price);
        } else {
            self.trust = 0;
            self.price = (self.price * 2).min(HIGHEST_PRICE);
        }
    }
}

/// Tells whether the machine has more than one CPU. Linux lists them in a file; elsewhere (or
/// without that file) it counts those that the process may use.
fn has_several_cpus() -> bool {
    match fs::read_to_string("/sys/devices/system/cpu/online") {
        Ok(online) => lists_several(&online),
        Err(_) => thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1),
    }
}

/// Tells whether a list such as `0-3,6` has more than one number.
fn lists_several(cpus: &str) -> bool {
    cpus.contains(['-', ','])
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::{FIRST_PRICE, HIGHEST_PRICE, Idle, lists_several};

    const LIMIT: Duration = Duration::from_micros(100);
    const QUICK: Duration = Duration::from_micros(20);
    const SLOW: Duration = Duration::from_millis(5);

    fn trusted() -> Idle {
        let mut idle = Idle::with_limit(LIMIT);
        for _ in 0..FIRST_PRICE {
            idle.slept(QUICK);
        }
        idle
    }

    #[test]
    fn polls_only_after_a_row_of_quick_sleeps() {
        let mut idle = Idle::with_limit(LIMIT);
        for _ in 0..FIRST_PRICE {
            assert_eq!(idle.spin(true), Duration::ZERO);
            idle.slept(QUICK);
        }
        assert_eq!(idle.spin(true), LIMIT);
    }

    #[test]
    fn a_list_of_cpus_is_one_number_or_several() {
        assert!(!lists_several("0\n"));
        assert!(lists_several("0-1\n"));
        assert!(lists_several("0,2\n"));
    }

    #[test]
    fn one_slow_sleep_ends_the_row() {
        let mut idle = trusted();
        idle.slept(SLOW);
        assert_eq!(idle.spin(true), Duration::ZERO);
    }

    #[test]
    fn polls_go_on_while_they_are_answered() {
        let mut idle = trusted();
        for _ in 0..1000 {
            assert_eq!(idle.spin(true), LIMIT);
            idle.spun(true);
        }
    }

    #[test]
    fn each_poll_in_vain_doubles_the_price_up_to_a_bound() {
        let mut idle = trusted();
        let mut price = FIRST_PRICE;
        for _ in 0..10 {
            idle.spun(false);
            price = (price * 2).min(HIGHEST_PRICE);
            for _ in 0..price {
                assert_eq!(idle.spin(true), Duration::ZERO);
                idle.slept(QUICK);
            }
            assert_eq!(idle.spin(true), LIMIT);
        }
    }

    #[test]
    fn who_has_asked_nothing_polls_for_other_threads_alone() {
        let mut idle = trusted();
        assert_eq!(idle.spin(false), Duration::ZERO);
        idle.ended(true);
        assert_eq!(idle.spin(false), LIMIT);
        idle.ended(false);
        assert_eq!(idle.spin(false), Duration::ZERO);
    }

    #[test]
    fn a_limit_of_zero_never_polls() {
        let mut idle = Idle::with_limit(Duration::ZERO);
        for _ in 0..1000 {
            idle.slept(Duration::ZERO);
            assert_eq!(idle.spin(true), Duration::ZERO);
        }
    }
}
