//! Events, conditions, barriers and cells that are set once: coroutines that wait for each other.
//! Each test is for both forms: that of one thread and that of all.

use std::{
    cell::{Cell, RefCell},
    future::pending,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use asyncoro::{
    coro::{Coros, yield_now},
    spawn,
    time::timeout,
};

use crate::{
    forms::{each_form, on_four_threads, poll, poll_with, settle},
    within::{Drops, Foreign, run_within},
};

each_form! {
    { Barrier, Condition, Event, Lock, LockGuard, OnceCell }

    // ---- Event

    #[test]
    fn who_waits_when_an_event_is_set_goes_on_also_if_it_is_cleared() {
        let event = Event::new();
        let wakers = [Foreign::new(), Foreign::new()];
        let mut waits = [event.wait(), event.wait()];
        for (wait, waker) in waits.iter_mut().zip(&wakers) {
            assert!(poll_with(wait, waker).is_pending());
        }
        assert_eq!(event.statistics().waiting, 2);
        event.set();
        event.clear();
        assert!(waits.each_mut().map(poll).iter().all(Poll::is_ready));
        assert_eq!((wakers[0].wakes(), wakers[1].wakes()), (1, 1));
        let mut late = event.wait();
        assert!(poll(&mut late).is_pending());
        drop(late);
        event.set();
        assert!(event.is_set() && poll(&mut event.wait()).is_ready());
    }

    #[test]
    fn a_wait_for_an_event_that_is_dropped_leaves_the_queue() {
        let event = Event::new();
        let mut waits: Vec<_> = (0..3).map(|_| event.wait()).collect();
        assert!(waits.iter_mut().all(|wait| poll(wait).is_pending()));
        drop(waits.remove(1));
        assert_eq!(event.statistics().waiting, 2);
        event.set();
        waits.clear(); // chosen, and never polled again
        assert_eq!(event.statistics().waiting, 0);
    }

    // ---- Condition

    #[test]
    fn a_condition_wakes_one_or_all_in_order() {
        run_within(|| async {
            let shared = Pointer::new((Lock::new(0), Condition::new()));
            let order = Pointer::new(RefCell::new(Vec::new()));
            let mut coros = Coros::new();
            for number in 0..5 {
                let (shared, order) = (shared.clone(), order.clone());
                coros.spawn(async move {
                    let guard = shared.1.wait(shared.0.lock().await).await;
                    order.borrow_mut().push((number, *guard));
                }).await;
            }
            settle().await;
            assert!(!shared.0.is_locked(), "waiting gives the lock up");
            assert_eq!(shared.1.statistics().waiting, 5);
            *shared.0.lock().await = 1;
            shared.1.notify_one();
            settle().await;
            assert_eq!(*order.borrow(), [(0, 1)]);
            *shared.0.lock().await = 2;
            shared.1.notify(2);
            settle().await;
            *shared.0.lock().await = 3;
            shared.1.notify_all();
            settle().await;
            assert_eq!(*order.borrow(), [(0, 1), (1, 2), (2, 2), (3, 3), (4, 3)]);
            shared.1.notify_all(); // nobody waits
            assert!(!shared.0.is_locked());
        });
    }

    #[test]
    fn a_wait_for_a_condition_that_is_dropped_passes_its_notification_on() {
        run_within(|| async {
            let (lock, condition) = (Lock::new(()), Condition::new());
            // Dropped before its first poll: the lock is free.
            drop(condition.wait(lock.lock().await));
            assert!(!lock.is_locked());
            // Dropped while it waits.
            let mut waits = Box::pin(condition.wait(lock.lock().await));
            assert!(poll(&mut waits).is_pending());
            assert!(!lock.is_locked());
            drop(waits);
            assert_eq!(condition.statistics().waiting, 0);
            // Dropped when it was notified, before it runs.
            let mut first = Box::pin(condition.wait(lock.lock().await));
            assert!(poll(&mut first).is_pending());
            let mut second = Box::pin(condition.wait(lock.lock().await));
            assert!(poll(&mut second).is_pending());
            condition.notify_one();
            drop(first);
            assert!(poll(&mut second).is_ready());
            // Dropped when it was notified and waits for the lock.
            let mut first = Box::pin(condition.wait(lock.lock().await));
            assert!(poll(&mut first).is_pending());
            let mut second = Box::pin(condition.wait(lock.lock().await));
            assert!(poll(&mut second).is_pending());
            let guard = lock.lock().await;
            condition.notify_one();
            assert!(poll(&mut first).is_pending());
            drop(first);
            drop(guard);
            assert!(poll(&mut second).is_ready());
            assert!(!lock.is_locked());
        });
    }

    #[test]
    fn after_the_timeout_of_a_condition_it_is_clear_who_has_the_lock() {
        run_within(|| async {
            let (lock, condition) = (Lock::new(()), Condition::new());
            let short = Duration::from_millis(1);
            // The timeout of the condition takes the lock again.
            let (guard, is_notified) = condition.wait_for(lock.lock().await, short).await;
            assert!(!is_notified && lock.is_locked());
            // A timeout around it does not.
            assert!(timeout(short, condition.wait(guard)).await.is_err());
            assert!(!lock.is_locked());
            assert_eq!(condition.statistics().waiting, 0);
            let long = Duration::from_secs(60);
            let mut waits = pin!(condition.wait_for(lock.lock().await, long));
            assert!(poll(&mut waits).is_pending());
            condition.notify_one();
            let (guard, is_notified) = waits.await;
            assert!(is_notified);
            assert!(std::ptr::eq(LockGuard::lock(&guard), &raw const lock));
        });
    }

    #[test]
    fn those_who_wait_for_a_condition_hear_of_a_holder_that_was_cut_off() {
        run_within(|| async {
            let shared = Pointer::new((Lock::new(0), Condition::new()));
            for is_panic in [false, true] {
                let before = shared.0.statistics().cut_off;
                let waits = spawn({
                    let shared = shared.clone();
                    async move {
                        let guard = shared.0.lock().await;
                        let is_early = |_: &mut i32| shared.0.statistics().cut_off == before;
                        drop(shared.1.wait_while(guard, is_early).await);
                    }
                });
                settle().await;
                let worker = spawn({
                    let shared = shared.clone();
                    async move {
                        let _guard = shared.0.lock().await;
                        assert!(!is_panic, "before it has notified");
                        pending::<()>().await;
                    }
                });
                settle().await;
                worker.terminate();
                waits.await.unwrap();
                assert_eq!(shared.1.statistics().waiting, 0);
            }
        });
    }

    // ---- Barrier

    #[test]
    fn a_barrier_lets_all_go_round_by_round() {
        run_within(|| async {
            let barrier = Pointer::new(Barrier::new(3));
            let rounds = Pointer::new(RefCell::new([0; 5]));
            let leaders = Pointer::new(Cell::new(0));
            let mut coros = Coros::new();
            for _ in 0..3 {
                let (barrier, rounds, leaders) = (barrier.clone(), rounds.clone(), leaders.clone());
                coros.spawn(async move {
                    for round in 0..5 {
                        rounds.borrow_mut()[round] += 1;
                        let wait = barrier.wait().await;
                        assert_eq!(rounds.borrow()[round], 3);
                        leaders.set(leaders.get() + usize::from(wait.is_leader()));
                    }
                }).await;
            }
            while let Some(ended) = coros.next().await {
                ended.unwrap();
            }
            assert_eq!((leaders.get(), barrier.statistics().waiting), (5, 0));
        });
    }

    #[test]
    fn who_leaves_a_barrier_has_not_arrived() {
        let barrier = Barrier::new(2);
        let mut leaves = barrier.wait();
        assert!(poll(&mut leaves).is_pending());
        drop(leaves);
        let (mut first, mut second) = (barrier.wait(), barrier.wait());
        assert!(poll(&mut first).is_pending());
        assert!(matches!(poll(&mut second), Poll::Ready(wait) if wait.is_leader()));
        assert!(matches!(poll(&mut first), Poll::Ready(wait) if !wait.is_leader()));
        assert!(poll(&mut Barrier::new(0).wait()).is_ready());
    }

    // ---- OnceCell

    #[test]
    fn a_value_is_made_once_and_all_get_it() {
        run_within(|| async {
            let (cell, made) = (Pointer::new(OnceCell::new()), Pointer::new(Cell::new(0)));
            let mut coros = Coros::new();
            for _ in 0..100 {
                let (cell, made) = (cell.clone(), made.clone());
                coros.spawn(async move {
                    let make = async || {
                        made.set(made.get() + 1);
                        yield_now().await;
                        "made"
                    };
                    *cell.get_or_init(make).await
                }).await;
            }
            while let Some(value) = coros.next().await {
                assert_eq!(value.unwrap(), "made");
            }
            assert_eq!((made.get(), cell.get()), (1, Some(&"made")));
            assert_eq!(cell.set("other"), Err("other"));
            assert!(cell.statistics().is_set && cell.statistics().waiting == 0);
        });
    }

    #[test]
    fn when_one_who_makes_a_value_fails_panics_or_is_dropped_the_next_tries() {
        run_within(|| async {
            for how in 0..3 {
                let cell = Pointer::new(OnceCell::new());
                let first = spawn({
                    let cell = cell.clone();
                    async move {
                        let make = async || {
                            settle().await;
                            match how {
                                0 => return Err("fails"),
                                1 => panic!("while it makes the value"),
                                _ => pending::<()>().await,
                            }
                            Ok(0)
                        };
                        cell.get_or_try_init(make).await.copied()
                    }
                });
                settle().await;
                assert_eq!(cell.set(7), Err(7), "it is being made");
                let next = spawn({
                    let cell = cell.clone();
                    async move { *cell.get_or_init(async || 1).await }
                });
                settle().await;
                if how == 2 {
                    first.terminate();
                } else if how == 0 {
                    assert_eq!(first.await.unwrap(), Err("fails"));
                } else {
                    assert!(first.await.is_err());
                }
                assert_eq!(next.await.unwrap(), 1);
            }
        });
    }

    #[test]
    fn a_value_may_be_put_in_and_taken_out() {
        let mut cell = OnceCell::new();
        assert!(cell.get().is_none() && cell.get_mut().is_none());
        assert_eq!(cell.set(1), Ok(()));
        *cell.get_mut().unwrap() += 1;
        assert_eq!(cell.into_inner(), Some(2));
        let drops = Drops::default();
        let cell = OnceCell::new();
        assert!(cell.set(drops.guard()).is_ok() && cell.set(drops.guard()).is_err());
        drop(cell);
        assert_eq!(drops.count(), 2);
    }
}

/// Races between threads.
mod between_threads {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use asyncoro::sync::{Barrier, Condition, Event, Lock, OnceCell};

    use super::*;

    #[test]
    fn threads_meet_at_a_barrier_and_none_misses_an_event() {
        let (barrier, leaders) = (Arc::new(Barrier::new(4)), Arc::new(AtomicUsize::new(0)));
        let events: Arc<Vec<Event>> = Arc::new((0..300).map(|_| Event::new()).collect());
        let counted = leaders.clone();
        on_four_threads(move |number| {
            let (barrier, leaders, events) = (barrier.clone(), leaders.clone(), events.clone());
            async move {
                for (round, event) in events.iter().enumerate() {
                    if round % 4 == number {
                        event.set();
                    } else {
                        event.wait().await;
                    }
                    if barrier.wait().await.is_leader() {
                        leaders.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        });
        assert_eq!(counted.load(Ordering::SeqCst), 300);
    }

    #[test]
    fn no_notification_is_lost_between_threads() {
        let shared = Arc::new((Lock::new(0), Condition::new()));
        let counted = shared.clone();
        on_four_threads(move |number| {
            let shared = shared.clone();
            async move {
                let (lock, changed) = &*shared;
                for _ in 0..200 {
                    if number % 2 == 0 {
                        *lock.lock().await += 1;
                        changed.notify_one();
                    } else {
                        let guard = lock.lock().await;
                        *changed.wait_while(guard, |count| *count == 0).await -= 1;
                    }
                }
            }
        });
        assert_eq!(*counted.0.try_lock().unwrap(), 0);
    }

    #[test]
    fn threads_make_a_value_once() {
        for _ in 0..50 {
            let (cell, made) = (Arc::new(OnceCell::new()), Arc::new(AtomicUsize::new(0)));
            let counted = made.clone();
            on_four_threads(move |number| {
                let (cell, made) = (cell.clone(), made.clone());
                async move {
                    let make = async || {
                        made.fetch_add(1, Ordering::SeqCst);
                        yield_now().await;
                        number
                    };
                    let first = *cell.get_or_init(make).await;
                    assert_eq!(cell.get(), Some(&first));
                }
            });
            assert_eq!(counted.load(Ordering::SeqCst), 1);
        }
    }
}
