//! Sleeping, timeouts and deadlines.

use std::{
    cell::RefCell,
    future::{pending, ready},
    io,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use asyncoro::{
    AsynCoro,
    coro::{Scheduler, yield_now},
    error::Elapsed,
    spawn,
    time::{deadline, sleep, sleep_until, timeout},
};

use crate::within::{Drops, poll_once, run_within, within};

const LONG: Duration = Duration::from_secs(1000);

fn armed() -> usize {
    AsynCoro::current().statistics().timers
}

#[test]
fn a_sleep_never_ends_early() {
    run_within(|| async {
        for micros in [0, 1, 60, 100, 999, 5_000, 20_000] {
            let duration = Duration::from_micros(micros);
            let before = Instant::now();
            sleep(duration).await;
            assert!(before.elapsed() >= duration);
        }
    });
}

#[test]
fn a_sleep_whose_time_is_over_arms_nothing_and_ends_in_the_next_turn() {
    run_within(|| async {
        let past = Instant::now();
        for mut sleep in [sleep_until(past), sleep(Duration::ZERO)].map(Box::pin) {
            assert!(poll_once(sleep.as_mut()).is_pending());
            assert!(poll_once(sleep.as_mut()).is_pending());
            assert_eq!(armed(), 0);
            let before = asyncoro::AsynCoro::current().statistics().turns;
            sleep.await;
            assert_eq!(asyncoro::AsynCoro::current().statistics().turns, before + 1);
        }
    });
}

#[test]
fn many_sleeps_end_in_the_order_of_their_deadlines() {
    run_within(|| async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let start = Instant::now();
        let all: Vec<_> = (0..5000_u64)
            .map(|number| {
                // A shuffle: 1,234,567 is coprime to 5,000.
                let place = number * 1_234_567 % 5000;
                let seen = Rc::clone(&seen);
                spawn(async move {
                    // Further apart than the wheel's grain.
                    let until = start + Duration::from_micros(50_000 + place * 70);
                    // On a slow machine the first ones may be over before they begin.
                    let sleeps = Instant::now() < until;
                    sleep_until(until).await;
                    assert!(Instant::now() >= until);
                    if sleeps {
                        seen.borrow_mut().push(place);
                    }
                })
            })
            .collect();
        for coro in all {
            coro.await.unwrap();
        }
        assert!(!seen.borrow().is_empty() && seen.borrow().is_sorted());
    });
}

#[test]
fn a_timeout_gives_the_value_or_elapsed_which_is_an_io_error() {
    run_within(|| async {
        assert_eq!(timeout(LONG, async { 7 }).await, Ok(7));
        let slow = async {
            sleep(Duration::from_millis(1)).await;
            8
        };
        assert_eq!(timeout(LONG, slow).await, Ok(8));
        let elapsed = timeout(Duration::from_millis(1), pending::<()>()).await.unwrap_err();
        assert_eq!(elapsed, Elapsed);
        assert_eq!(io::Error::from(elapsed).kind(), io::ErrorKind::TimedOut);
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(deadline(soon, pending::<()>()).await, Err(Elapsed));
        assert!(Instant::now() >= soon);
    });
}

#[test]
fn a_value_that_is_there_wins_over_a_deadline_that_has_passed() {
    run_within(|| async {
        let past = Instant::now();
        assert_eq!(deadline(past, ready(1)).await, Ok(1));
        assert_eq!(timeout(Duration::ZERO, ready(1)).await, Ok(1));
        assert_eq!(deadline(past, pending::<()>()).await, Err(Elapsed));
    });
}

#[test]
fn what_never_waits_arms_no_timer() {
    run_within(|| async {
        let check = async { armed() };
        assert_eq!(timeout(LONG, check).await, Ok(0));
        let check = async {
            yield_now().await;
            armed()
        };
        assert_eq!(timeout(LONG, check).await, Ok(1), "and what waits does");
        assert_eq!(armed(), 0);
    });
}

#[test]
fn a_timeout_drops_its_future_when_the_time_is_over() {
    run_within(|| async {
        let drops = Drops::default();
        let guard = drops.guard();
        let slow = async move {
            let _guard = guard;
            pending::<()>().await;
        };
        timeout(Duration::from_millis(1), slow).await.unwrap_err();
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn a_dropped_sleep_leaves_no_timer() {
    run_within(|| async {
        for _ in 0..1000 {
            let mut sleeps: Vec<_> = (1..20).map(|n| Box::pin(sleep(LONG * n))).collect();
            for sleep in &mut sleeps {
                assert!(poll_once(sleep.as_mut()).is_pending());
            }
            assert_eq!(armed(), 19);
            sleeps.drain(3..9).for_each(drop);
            assert_eq!(armed(), 13);
        }
        assert_eq!(armed(), 0);
    });
}

#[test]
fn a_forgotten_sleep_does_no_harm() {
    run_within(|| async {
        for _ in 0..1000 {
            let mut forgotten = Box::pin(sleep(Duration::from_millis(50)));
            assert!(poll_once(forgotten.as_mut()).is_pending());
            std::mem::forget(forgotten);
        }
        sleep(Duration::from_millis(60)).await;
        assert_eq!(armed(), 0, "it fires and wakes nobody");
    });
}

#[test]
fn the_longest_duration_there_is_never_ends_and_overflows_nothing() {
    run_within(|| async {
        let forever = async {
            sleep(Duration::MAX).await;
        };
        timeout(Duration::from_millis(1), forever).await.unwrap_err();
        let nested = timeout(Duration::MAX, pending::<()>());
        timeout(Duration::from_millis(1), nested).await.unwrap_err();
        let century = timeout(LONG * 3_000_000, pending::<()>());
        timeout(Duration::from_millis(1), century).await.unwrap_err();
    });
}

#[test]
fn a_sleep_wakes_whoever_polled_it_last() {
    run_within(|| async {
        let mut moving = Box::pin(sleep(Duration::from_millis(2)));
        let mut first = pin!(std::future::poll_fn(|cx| Future::poll(moving.as_mut(), cx)));
        assert!(poll_once(first.as_mut()).is_pending());
        spawn(moving).await.unwrap();
    });
}

#[test]
fn a_sleep_goes_on_in_another_scheduler() {
    within(|| {
        let mut moving = Box::pin(sleep(Duration::from_millis(2)));
        let until = Instant::now() + Duration::from_millis(1);
        let one = Scheduler::new().unwrap();
        one.enter(async { assert_eq!(poll_once(moving.as_mut()), Poll::Pending) });
        assert_eq!(one.statistics().timers, 1);
        let two = Scheduler::new().unwrap();
        two.run(moving.as_mut());
        assert!(Instant::now() >= until);
        assert_eq!(one.statistics().timers, 0, "and is disarmed in the first");
        drop(one);
    });
}
