//! A scheduler with nothing to do sleeps. The unit tests of the idle policy are in
//! `src/driver/idle.rs`.

use std::{thread, time::Duration};

use asyncoro::{AsynCoro, coro::Statistics, time::sleep};

use crate::within::within;

/// Returns the statistics before and after a while in which the scheduler has nothing to do.
fn left_alone(scheduler: &AsynCoro) -> (Statistics, Statistics) {
    let before = scheduler.statistics();
    // Not a wait for something: the length of the watch.
    thread::sleep(Duration::from_millis(30));
    (before, scheduler.statistics())
}

#[test]
fn a_scheduler_with_nothing_to_do_sleeps_until_it_is_asked() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let (before, after) = left_alone(&scheduler);
        assert!(after.turns - before.turns <= 3, "{before:?} {after:?}");
        assert!(after.sleeps > before.sleeps);
        assert_eq!(after.events, before.events);
    });
}

#[test]
fn a_scheduler_that_waits_for_a_timer_sleeps_until_then() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let waiting = scheduler.spawn(|| sleep(Duration::from_millis(60)));
        let (before, after) = left_alone(&scheduler);
        // A deadline may be looked at a few times on its way down the wheel.
        assert!(after.turns - before.turns <= 12, "{before:?} {after:?}");
        waiting.value().unwrap();
    });
}

#[test]
fn a_scheduler_without_spinning_answers_just_the_same() {
    within(|| {
        for spin in [Duration::ZERO, Duration::from_micros(500)] {
            let scheduler = AsynCoro::builder().spin(spin).start().unwrap();
            for number in 0..1000 {
                assert_eq!(scheduler.spawn(move || async move { number }).value().unwrap(), number);
            }
        }
    });
}
