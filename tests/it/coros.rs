//! `Coros`: a set of coroutines whose owner takes their values as they end.

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use asyncoro::{
    coro::{Coros, Ended, Scheduler, current, yield_now},
    future::{Winner, race},
    spawn,
    sync::mailbox,
    time::sleep,
};

use crate::within::{
    Drops, Foreign, assert_told, block_on, logged, panic_of, poll_once, run_within, within,
};

#[test]
fn values_are_taken_in_the_order_in_which_coroutines_end() {
    run_within(|| async {
        let mut coros = Coros::new();
        for number in [3, 1, 2] {
            let ends = async move {
                for _ in 0..number {
                    yield_now().await;
                }
                number
            };
            assert!(coros.spawn(ends).await.is_none());
        }
        assert_eq!((coros.len(), coros.try_next().is_none()), (3, true));
        for expected in 1..=3 {
            assert_eq!(coros.next().await.unwrap().unwrap(), expected);
        }
        assert!(coros.next().await.is_none() && coros.is_empty());
        // A set can be used again.
        coros.try_spawn(async { 4 }).map_err(drop).unwrap();
        assert_eq!(coros.next().await.unwrap().unwrap(), 4);
    });
}

#[test]
fn a_dropped_next_loses_no_value() {
    run_within(|| async {
        let mut coros = Coros::new();
        let mut seen = vec![0; 500];
        for number in 0..500 {
            coros
                .spawn(async move {
                    for _ in 0..number % 7 {
                        yield_now().await;
                    }
                    number
                })
                .await;
            if number % 3 == 0 {
                assert!(poll_once(pin!(coros.next())).is_pending() || coros.len() < 500);
            }
            if let Winner::First(Some(result)) = race(coros.next(), yield_now()).await {
                seen[result.unwrap()] += 1;
            }
        }
        while let Some(result) = coros.next().await {
            seen[result.unwrap()] += 1;
        }
        assert!(seen.iter().all(|&count| count == 1), "{seen:?}");
    });
}

#[test]
fn a_set_with_a_limit_makes_spawn_wait_and_hands_out_the_value_of_who_made_room() {
    run_within(|| async {
        let (running, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let mut coros = Coros::with_limit(3);
        let mut values = Vec::new();
        for number in 0..100 {
            let (running, most) = (Rc::clone(&running), Rc::clone(&most));
            let made_room = coros
                .spawn(async move {
                    running.set(running.get() + 1);
                    most.set(most.get().max(running.get()));
                    for _ in 0..number % 5 {
                        yield_now().await;
                    }
                    running.set(running.get() - 1);
                    number
                })
                .await;
            assert_eq!(made_room.is_some(), number >= 3);
            assert!(coros.len() <= 3);
            values.extend(made_room.map(Result::unwrap));
        }
        let refused = async { 7 };
        assert!(coros.try_spawn(refused).is_err());
        while let Some(value) = coros.next().await {
            values.push(value.unwrap());
        }
        values.sort_unstable();
        assert!(values.into_iter().eq(0..100));
        assert_eq!(most.get(), 3);
        assert!(panic_of(|| Coros::<()>::with_limit(0)).contains("its limit is 0"));
    });
}

#[test]
fn a_dropped_spawn_starts_nothing_and_takes_nothing() {
    run_within(|| async {
        let drops = Drops::default();
        let mut coros = Coros::with_limit(1);
        let (go, going) = mailbox(1);
        coros.spawn(async move { going.receive().await }).await;
        let guard = drops.guard();
        {
            let mut waits = pin!(coros.spawn(async move {
                drop(guard);
                Some(2)
            }));
            assert!(poll_once(waits.as_mut()).is_pending());
        }
        assert_eq!((drops.count(), coros.len()), (1, 1));
        go.send(1).await.unwrap();
        assert_eq!(coros.next().await.unwrap().unwrap(), Some(1));
        assert!(coros.is_empty());
    });
}

#[test]
fn a_dropped_set_ends_its_coroutines_and_a_detached_one_lets_them_go_on() {
    within(|| {
        let drops = Drops::default();
        let finished = Rc::new(Cell::new(0));
        asyncoro::run(async {
            let fill = async || {
                let mut coros = Coros::new();
                for _ in 0..10 {
                    let (guard, finished) = (drops.guard(), Rc::clone(&finished));
                    let member = async move {
                        let _guard = guard;
                        sleep(Duration::from_millis(1)).await;
                        finished.set(finished.get() + 1);
                    };
                    coros.spawn(member).await;
                }
                yield_now().await;
                coros
            };
            let (ended, mut detached) = (fill().await, fill().await);
            drop(ended);
            detached.detach_all();
            assert!(detached.is_empty() && detached.next().await.is_none());
            detached.spawn(async {}).await;
            assert!(detached.next().await.unwrap().is_ok());
        });
        assert_eq!((drops.count(), finished.get()), (20, 10));
    });
}

#[test]
fn a_terminated_coroutine_takes_the_members_of_its_set_with_it() {
    within(|| {
        let drops = Drops::default();
        asyncoro::run(async {
            let guards: Vec<_> = (0..3).map(|_| drops.guard()).collect();
            let owner = spawn(async move {
                let mut coros = Coros::new();
                for guard in guards {
                    let member = async move {
                        let _guard = guard;
                        pending::<()>().await;
                    };
                    coros.spawn(member).await;
                }
                coros.next().await
            });
            yield_now().await;
            owner.terminate();
            assert!(owner.await.is_err());
        });
        assert_eq!(drops.count(), 3);
    });
}

#[test]
fn terminate_all_ends_them_and_each_end_is_told() {
    run_within(|| async {
        let mut coros = Coros::new();
        coros.spawn(async { 0 }).await;
        yield_now().await;
        for number in 1..10 {
            coros
                .spawn(async move {
                    pending::<()>().await;
                    number
                })
                .await;
        }
        coros.terminate_all();
        assert_eq!(coros.next().await.unwrap().unwrap(), 0);
        for _ in 1..10 {
            assert!(matches!(coros.next().await, Some(Err(Ended::Terminated(_)))));
        }
        assert!(coros.next().await.is_none());
    });
}

#[test]
fn end_all_returns_when_what_they_hold_is_dropped_and_logs_panics() {
    within(|| {
        let log = logged(|| {
            asyncoro::run(async {
                let drops = Drops::default();
                let mut coros = Coros::new();
                for number in 0..10 {
                    let guard = drops.guard();
                    let member = async move {
                        let _guard = guard;
                        current().set_name("a member");
                        assert!(number > 0, "it has failed");
                        pending::<()>().await;
                    };
                    coros.spawn(member).await;
                }
                yield_now().await;
                // Given up and begun again.
                assert!(poll_once(pin!(coros.end_all())).is_pending());
                coros.end_all().await;
                assert_eq!((drops.count(), coros.len()), (10, 0));
            });
        });
        assert!(log.contains(") panicked: it has failed"), "{log}");
    });
}

#[test]
fn a_panic_is_told_and_so_is_one_of_the_futures_drop() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("it went off");
        }
    }
    within(|| {
        let log = logged(|| {
            asyncoro::run(async {
                let mut coros = Coros::new();
                coros.spawn(async { panic!("it has failed") }).await;
                let bomb = Bomb;
                coros
                    .spawn(async move {
                        let _bomb = bomb;
                        pending::<()>().await;
                    })
                    .await;
                yield_now().await;
                coros.terminate_all();
                for text in ["it has failed", "it went off"] {
                    let ended = coros.next().await.unwrap().unwrap_err();
                    assert_told(&ended.to_string(), &format!(" panicked: {text}"));
                }
                // Nobody takes this one.
                coros.spawn(async { panic!("unseen") }).await;
                yield_now().await;
            });
        });
        assert!(log.contains("unseen"), "{log}");
        assert!(!log.contains("it has failed") && !log.contains("it went off"), "{log}");
    });
}

#[test]
fn ended_waits_while_the_set_is_empty() {
    run_within(|| async {
        let mut coros = Coros::<u32>::new();
        assert!(poll_once(pin!(coros.ended())).is_pending());
        assert!(matches!(race(coros.ended(), yield_now()).await, Winner::Second(())));
        coros.spawn(async { 1 }).await;
        assert_eq!(coros.ended().await.unwrap(), 1);
    });
}

#[test]
fn a_hundred_thousand_members_are_taken_one_by_one() {
    run_within(|| async {
        const ALL: usize = 100_000;
        let mut coros = Coros::new();
        for number in 0..ALL {
            coros.spawn(async move { number }).await;
        }
        let mut sum = 0;
        while let Some(number) = coros.next().await {
            sum += number.unwrap();
        }
        assert_eq!(sum, ALL * (ALL - 1) / 2);
    });
}

#[test]
fn the_waker_of_the_last_poll_is_woken() {
    run_within(|| async {
        let mut coros = Coros::new();
        let (go, going) = mailbox(1);
        coros.spawn(async move { going.receive().await }).await;
        let (first, last) = (Foreign::new(), Foreign::new());
        for foreign in [&first, &last, &last] {
            let polled = poll_fn(|cx| Poll::Ready(foreign.poll(pin!(coros.next()), cx)));
            assert!(polled.await.is_pending());
        }
        go.send(1).await.unwrap();
        while last.wakes() == 0 {
            yield_now().await;
        }
        assert_eq!((first.wakes(), last.wakes()), (0, 1));
        assert_eq!(coros.try_next().unwrap().unwrap(), Some(1));
    });
}

thread_local! {
    static SET: RefCell<Option<Coros<u32>>> = const { RefCell::new(None) };
}

/// Polls the set in [`SET`] within its `wake`, with another waker.
struct PollsAtOnce {
    then: Arc<Foreign>,
    seen: Mutex<Vec<bool>>,
}

impl Wake for PollsAtOnce {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self.then));
        let is_ready = SET.with_borrow_mut(|set| {
            let set = set.as_mut().unwrap();
            pin!(set.next()).poll(&mut Context::from_waker(&waker)).is_ready()
        });
        self.seen.lock().unwrap().push(is_ready);
    }
}

#[test]
fn a_waker_that_polls_the_set_within_its_wake_is_woken_again_for_the_value() {
    run_within(|| async {
        let mut coros = Coros::new();
        coros
            .spawn(async {
                yield_now().await;
                5
            })
            .await;
        let waker = Arc::new(PollsAtOnce { then: Foreign::new(), seen: Mutex::default() });
        let polled = {
            let waker = Waker::from(Arc::clone(&waker));
            pin!(coros.next()).poll(&mut Context::from_waker(&waker)).is_pending()
        };
        assert!(polled);
        SET.set(Some(coros));
        while waker.then.wakes() == 0 {
            yield_now().await;
        }
        let mut coros = SET.take().unwrap();
        assert_eq!(coros.next().await.unwrap().unwrap(), 5);
        assert_eq!(waker.seen.lock().unwrap().len(), 1);
    });
}

#[test]
fn a_set_outlives_its_scheduler_and_tells_that_its_members_have_ended() {
    within(|| {
        let scheduler = Scheduler::new().unwrap();
        let mut coros = scheduler.enter(async {
            let mut coros = Coros::new();
            coros.spawn(pending::<()>()).await;
            coros.spawn(async {}).await;
            yield_now().await;
            coros
        });
        assert!(panic_of(|| coros.try_spawn(async {})).contains("Coros::spawn needs a running"));
        assert_eq!(coros.len(), 2);
        drop(scheduler);
        block_on(async {
            assert!(matches!(coros.next().await, Some(Ok(()))));
            assert!(matches!(coros.next().await, Some(Err(Ended::Terminated(_)))));
            assert!(coros.next().await.is_none());
        });
    });
}

#[test]
fn large_futures_and_values_that_are_not_send_are_fine() {
    run_within(|| async {
        let mut coros = Coros::new();
        let large = async {
            let bytes = [7_u8; 100_000];
            yield_now().await;
            Rc::new(bytes[99_999])
        };
        let large: Pin<Box<dyn Future<Output = _>>> = Box::pin(large);
        coros.spawn(large).await;
        coros
            .spawn(async {
                let bytes = [8_u8; 20_000];
                yield_now().await;
                Rc::new(bytes[19_999])
            })
            .await;
        assert_eq!(*coros.next().await.unwrap().unwrap(), 7);
        assert_eq!(*coros.next().await.unwrap().unwrap(), 8);
        assert_eq!(format!("{coros:?}"), "Coros { running: 0, ended: 0 }");
    });
}
