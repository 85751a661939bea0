//! Scopes: what is started in one has ended when it returns.

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn, ready},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use asyncoro::{
    AsynCoro,
    coro::{Ended, Hosted, Scheduler, on_end, yield_now},
    error::Elapsed,
    future::{Winner, race},
    run, run_until,
    scope::{
        Limits, first, first_ok, is_stopping, map_bounded, scope, stopping, try_map_bounded,
        try_scope,
    },
    spawn,
    sync::mailbox,
    time::{sleep, timeout},
};

use crate::within::{Drops, block_on, logged, panic_of, poll_once, run_within, within};

const LONG: Duration = Duration::from_secs(1000);

#[test]
fn children_borrow_from_their_owner_and_have_ended_when_the_scope_returns() {
    run_within(|| async {
        let (mut list, ended) = (vec![1, 2, 3], Cell::new(0));
        let sum = scope(async |s| {
            for (millis, number) in list.iter_mut().enumerate() {
                let ended = &ended;
                s.spawn(async move {
                    sleep(Duration::from_millis(3 - millis as u64)).await;
                    *number *= 10;
                    ended.set(ended.get() + 1);
                });
            }
            let one = s.spawn(async { 1 });
            one.await.unwrap() + s.spawn(ready(2)).await.unwrap()
        })
        .await;
        assert_eq!((sum, ended.get(), list), (3, 3, vec![10, 20, 30]));
    });
}

#[test]
fn a_scope_needs_no_scheduler() {
    within(|| {
        let seen = RefCell::new(Vec::new());
        let value = block_on(scope(async |s| {
            for number in 0..3 {
                let seen = &seen;
                s.spawn(async move {
                    for round in 0..3 {
                        seen.borrow_mut().push((round, number));
                        yield_now().await;
                    }
                });
            }
            7
        }));
        let order: Vec<_> = (0..9).map(|at| (at / 3, at % 3)).collect();
        assert_eq!((value, seen.into_inner()), (7, order), "they take turns in their order");
    });
}

#[test]
fn a_child_starts_others_and_only_who_was_woken_is_polled() {
    run_within(|| async {
        let polls = Cell::new(0);
        scope(async |s| {
            let (sender, receiver) = mailbox(1);
            let polls = &polls;
            s.spawn(async move {
                let mut waiting = pin!(receiver.receive());
                poll_fn(|cx| {
                    polls.set(polls.get() + 1);
                    waiting.as_mut().poll(cx)
                })
                .await;
            });
            let inner = s.clone();
            s.spawn(async move {
                for _ in 0..20 {
                    yield_now().await;
                }
                inner.spawn(async move {
                    yield_now().await;
                    sender.send(1).await.unwrap();
                });
            });
        })
        .await;
        assert_eq!(polls.get(), 2);
    });
}

#[test]
fn a_late_waker_of_an_ended_child_harms_nobody() {
    run_within(|| async {
        let wakers = RefCell::new(Vec::new());
        let wakers = &wakers;
        scope(async |s| {
            for _ in 0..20 {
                let keep = async |times: usize| {
                    for _ in 0..times {
                        poll_fn(|cx| {
                            wakers.borrow_mut().push(cx.waker().clone());
                            Poll::Ready(())
                        })
                        .await;
                        yield_now().await;
                    }
                };
                s.spawn(async move { keep(1).await });
                s.spawn(async move { keep(3).await });
                yield_now().await;
                wakers.borrow().iter().for_each(|waker| waker.wake_by_ref());
            }
        })
        .await;
        wakers.take().into_iter().for_each(|waker| waker.wake());
    });
}

#[test]
fn wakes_from_other_threads_reach_their_child_1000_times() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let elsewhere = scheduler.clone();
        let summed = scheduler.spawn(move || async move {
            let mut sum = 0;
            for _ in 0..100 {
                sum += scope(async |s| {
                    let other = AsynCoro::start().unwrap();
                    let each: Vec<_> = (0..10)
                        .map(|number| s.spawn(other.spawn(move || async move { number })))
                        .collect();
                    let mut sum = 0;
                    for child in each {
                        sum += child.await.unwrap().unwrap();
                    }
                    other.terminate();
                    sum
                })
                .await;
            }
            drop(elsewhere);
            sum
        });
        assert_eq!(summed.value().unwrap(), 4500);
        scheduler.terminate();
    });
}

#[test]
fn the_first_panic_ends_the_siblings_and_comes_out() {
    within(|| {
        let drops = Drops::default();
        let log = logged(|| {
            let text = panic_of(|| {
                run(scope(async |s| {
                    let guard = drops.guard();
                    s.spawn(async move {
                        let _guard = guard;
                        pending::<()>().await;
                    });
                    s.spawn(async { panic!("first") });
                    s.spawn(async { panic!("never polled") });
                    let _guard = drops.guard();
                    pending::<()>().await;
                }));
            });
            assert_eq!(text, "first");
        });
        assert_eq!((drops.count(), log.as_str()), (2, ""));
        let text = panic_of(|| {
            run(scope(async |s| {
                s.spawn(pending::<()>());
                yield_now().await;
                panic!("of the body");
            }));
        });
        assert_eq!(text, "of the body");
    });
}

#[test]
fn the_first_error_ends_the_siblings_and_comes_out() {
    run_within(|| async {
        let drops = Drops::default();
        for fails in ["child", "body"] {
            let before = drops.count();
            let failed: io::Result<()> = try_scope(async |s| {
                let guard = drops.guard();
                s.spawn(async move {
                    let _guard = guard;
                    pending::<()>().await;
                });
                let fine = s.try_spawn(async { Ok(3) });
                assert_eq!(fine.await.unwrap(), 3);
                // An error of a child that was only spawned is a value.
                assert!(s.spawn(async { Err::<(), _>(io::Error::other("value")) }).await.is_ok());
                if fails == "child" {
                    s.try_spawn(async { Err::<(), _>(io::Error::other("child")) });
                    pending::<()>().await;
                }
                Err(io::Error::other("body"))
            })
            .await;
            assert_eq!(
                (failed.unwrap_err().to_string().as_str(), drops.count()),
                (fails, before + 1)
            );
        }
        assert_eq!(try_scope(async |_| Ok::<_, ()>(1)).await, Ok(1));
    });
}

#[test]
fn later_failures_within_the_grace_are_logged() {
    within(|| {
        let log = logged(|| {
            let failed = run(Limits::new().grace(LONG).try_scope(async |s| {
                let late = s.clone();
                s.try_spawn(async move {
                    late.stopping().await;
                    Err::<(), _>(io::Error::other("second"))
                });
                let last = s.clone();
                s.spawn(async move {
                    last.stopping().await;
                    yield_now().await;
                    panic!("third");
                });
                s.try_spawn(async { Err::<(), _>(io::Error::other("first")) });
                s.stopping().await;
                io::Result::Ok(())
            }));
            assert_eq!(failed.unwrap_err().to_string(), "first");
        });
        assert_eq!(log.matches("the child spawned at tests/it/scope.rs:").count(), 2, "{log}");
        assert!(log.contains("second") && log.contains("third"), "{log}");
    });
}

#[test]
fn a_value_whose_drop_panics_after_a_child_has_panicked_ends_nothing_more() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the drop of the value");
        }
    }
    within(|| {
        let log = logged(|| {
            let text = panic_of(|| {
                asyncoro::run(async {
                    let scoped = scope(async |scope| {
                        drop(scope.spawn(async {
                            yield_now().await;
                            panic!("the child");
                        }));
                        Bomb
                    });
                    drop(scoped.await);
                })
            });
            assert_eq!(text, "the child");
        });
        assert!(log.contains("the drop of the value"), "{log}");
    });
}

#[test]
fn a_panic_in_a_drop_stays_in_bounds() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a drop");
        }
    }
    within(|| {
        let drops = Drops::default();
        let log = logged(|| {
            run(async {
                let outcome = timeout(
                    Duration::from_millis(1),
                    scope(async |s| {
                        for _ in 0..3 {
                            let (bomb, guard) = (Bomb, drops.guard());
                            s.spawn(async move {
                                let _both = (guard, bomb);
                                pending::<()>().await;
                            });
                        }
                    }),
                )
                .await;
                assert_eq!(outcome, Err(Elapsed));
            });
        });
        assert_eq!((drops.count(), log.matches("in a drop").count()), (3, 3), "{log}");
        // What a child drops as it ends is its own panic.
        let text = panic_of(|| {
            run(scope(async |s| {
                let bomb = Bomb;
                s.spawn(async move {
                    yield_now().await;
                    drop(bomb);
                });
                s.spawn(pending::<()>());
            }));
        });
        assert_eq!(text, "in a drop");
    });
}

/// Opens a scope with a child in a scope in a scope, and never ends.
async fn nested(drops: &Drops) {
    scope(async |outer| {
        let guard = drops.guard();
        let inner = outer.spawn(scope(async |inner| {
            let held = drops.guard();
            inner.spawn(async move {
                let _held = held;
                pending::<()>().await;
            });
            let _guard = guard;
            pending::<()>().await;
        }));
        inner.await.unwrap();
    })
    .await;
}

#[test]
fn a_scope_that_is_dropped_in_the_middle_drops_its_children() {
    within(|| {
        let drops = Drops::default();
        block_on(async {
            let mut dropped = Box::pin(nested(&drops));
            for _ in 0..5 {
                assert!(poll_once(dropped.as_mut()).is_pending());
            }
        });
        assert_eq!(drops.count(), 2);
        // With its coroutine, terminated or at the end of the scheduler.
        for terminate in [true, false] {
            let own = drops.clone();
            run_until(async move {
                let coro = spawn(async move { nested(&own).await });
                for _ in 0..5 {
                    yield_now().await;
                }
                if terminate {
                    coro.terminate();
                    assert!(matches!(coro.await, Err(Ended::Terminated(_))));
                }
            });
        }
        assert_eq!(drops.count(), 6);
        // Driven by a host.
        let hosted = Hosted::new(Scheduler::new().unwrap()).unwrap();
        let own = drops.clone();
        drop(hosted.spawn(async move { nested(&own).await }));
        while hosted.turn(Duration::ZERO) {}
        drop(hosted);
        assert_eq!(drops.count(), 8);
    });
}

#[test]
fn a_scope_that_is_forgotten_never_touches_what_it_has_borrowed() {
    within(|| {
        let polls = Cell::new(0);
        let mut wakers = Vec::new();
        {
            let kept = RefCell::new(&mut wakers);
            let mut forgotten = Box::pin(scope(async |s| {
                let (polls, kept) = (&polls, &kept);
                s.spawn(poll_fn(move |cx| {
                    polls.set(polls.get() + 1);
                    kept.borrow_mut().push(cx.waker().clone());
                    Poll::<()>::Pending
                }));
            }));
            assert!(poll_once(forgotten.as_mut()).is_pending());
            std::mem::forget(forgotten);
        }
        wakers.into_iter().for_each(|waker| waker.wake());
        assert_eq!(polls.get(), 1);
    });
}

#[test]
fn a_child_in_a_scope_that_has_ended_is_dropped_at_once() {
    run_within(|| async {
        let escaped = scope(async |s| s).await;
        let drops = Drops::default();
        let guard = drops.guard();
        let child = escaped.spawn(async move {
            let _guard = guard;
            1
        });
        assert_eq!((drops.count(), child.is_finished()), (1, true));
        let ended = child.await.unwrap_err();
        assert!(ended.to_string().contains("spawned at tests/it/scope.rs:"), "{ended}");
        assert!(escaped.is_stopping());
        escaped.stopping().await;
    });
}

#[test]
fn a_scope_takes_children_from_another_coroutine() {
    run_within(|| async {
        let (sender, receiver) = mailbox(1);
        let from_elsewhere = Rc::new(RefCell::new(None));
        let given = Rc::clone(&from_elsewhere);
        let helper = spawn(async move {
            let _: Option<()> = receiver.receive().await;
            let scope: asyncoro::scope::Scope<'static> = given.take().unwrap();
            scope.spawn(async move { yield_now().await }).await.unwrap();
            drop(scope);
        });
        scope(async |s| {
            *from_elsewhere.borrow_mut() = Some(s);
            sender.send(()).await.unwrap();
            helper.await.unwrap();
        })
        .await;
    });
}

#[test]
fn stopping_reaches_all_scopes_within_and_waits() {
    run_within(|| async {
        assert!(!is_stopping());
        let seen = RefCell::new(Vec::new());
        scope(async |outer| {
            let seen = &seen;
            outer.spawn(scope(async move |inner| {
                let own = inner.clone();
                inner.spawn(async move {
                    own.stopping().await;
                    seen.borrow_mut().push("a child within");
                });
                stopping().await;
                assert!(is_stopping() && inner.is_stopping());
                // One that begins now is to stop from its beginning, and still runs.
                scope(async |s| {
                    assert!(s.is_stopping());
                    s.spawn(yield_now()).await.unwrap();
                })
                .await;
                seen.borrow_mut().push("the body within");
            }));
            yield_now().await;
            outer.stop();
            assert!(is_stopping());
        })
        .await;
        assert!(!is_stopping());
        assert_eq!(seen.borrow().len(), 2);
        // A scope within that stops is no matter of the one around.
        scope(async |outer| {
            scope(async |inner| inner.stop()).await;
            assert!(!outer.is_stopping());
        })
        .await;
    });
}

#[test]
fn who_does_not_stop_within_the_grace_is_dropped_and_logged() {
    within(|| {
        let drops = Drops::default();
        let log = logged(|| {
            run(async {
                let limits = Limits::new().grace(Duration::from_millis(5));
                let value = limits.scope(async |s| {
                    let guard = drops.guard();
                    s.spawn(async move {
                        let _guard = guard;
                        pending::<()>().await;
                    });
                    s.spawn(stopping());
                    s.stop();
                    "of the body"
                });
                assert_eq!(value.await, Ok("of the body"));
                let stubborn = limits.scope(async |s| {
                    s.stop();
                    pending::<()>().await;
                });
                assert_eq!(stubborn.await, Err(Elapsed));
            });
        });
        assert_eq!(drops.count(), 1);
        assert_eq!(log.matches("has ended 1 children that did not stop within 5ms").count(), 1);
        assert_eq!(log.matches("spawned at: tests/it/scope.rs:").count(), 1, "{log}");
    });
}

#[test]
fn a_deadline_has_a_soft_phase_before_it() {
    run_within(|| async {
        let began = Instant::now();
        let limits =
            Limits::new().timeout(Duration::from_millis(60)).grace(Duration::from_millis(40));
        let stopped = limits.scope(async |s| {
            s.stopping().await;
            began.elapsed()
        });
        let stopped = stopped.await.unwrap();
        assert!(stopped >= Duration::from_millis(20), "{stopped:?}");
        // A grace that is longer than the time begins at once.
        let began = Instant::now();
        let limits = Limits::new().timeout(LONG).grace(Duration::MAX);
        limits.scope(async |s| s.stopping().await).await.unwrap();
        assert!(began.elapsed() < LONG);
        let limits = Limits::new().timeout(Duration::from_millis(5));
        let failed: io::Result<()> = limits.try_scope(async |_| pending().await).await;
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // A child counts, too.
        let limits = Limits::new().timeout(Duration::from_millis(5));
        assert_eq!(limits.scope(async |s| drop(s.spawn(pending::<()>()))).await, Err(Elapsed));
        assert_eq!(Limits::new().timeout(LONG).scope(async |_| 1).await, Ok(1));
    });
}

#[test]
fn a_deadline_is_only_ever_shortened() {
    run_within(|| async {
        let soon = Instant::now() + Duration::from_millis(30);
        let outer = Limits::new().deadline(soon).deadline(soon + LONG);
        let outcome = outer.scope(async |s| {
            assert_eq!(s.deadline(), Some(soon));
            let longer = Limits::new().timeout(LONG);
            let inner = longer.scope(async |inner| {
                assert_eq!(inner.deadline(), Some(soon));
                let shorter = Limits::new().timeout(Duration::from_millis(1));
                let innermost = shorter.scope(async |it| {
                    assert!(it.deadline().unwrap() < soon);
                    pending::<()>().await;
                });
                assert_eq!(innermost.await, Err(Elapsed));
                pending::<()>().await;
            });
            scope(async |plain| assert_eq!(plain.deadline(), Some(soon))).await;
            inner.await
        });
        let outcome = outcome.await;
        assert!(matches!(outcome, Err(Elapsed) | Ok(Err(Elapsed))), "{outcome:?}");
        assert!(Instant::now() >= soon);
    });
}

#[test]
fn a_deadline_that_is_past_lets_what_is_ready_end() {
    run_within(|| async {
        let past = Instant::now().checked_sub(Duration::from_millis(1)).unwrap();
        assert_eq!(Limits::new().deadline(past).scope(async |_| 1).await, Ok(1));
        let polled = Cell::new(false);
        let outcome = Limits::new().deadline(past).scope(async |s| {
            polled.set(true);
            s.spawn(pending::<()>()).await
        });
        assert!(outcome.await.is_err() && polled.get());
    });
}

#[test]
fn a_clean_up_of_the_coroutine_follows_its_scope() {
    within(|| {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let own = Rc::clone(&seen);
        run_until(async move {
            drop(spawn(async move {
                struct Says(Rc<RefCell<Vec<&'static str>>>);
                impl Drop for Says {
                    fn drop(&mut self) {
                        self.0.borrow_mut().push("child dropped");
                    }
                }
                let after = Rc::clone(&own);
                on_end(async move {
                    sleep(Duration::from_millis(1)).await;
                    after.borrow_mut().push("cleaned up");
                });
                scope(async |s| {
                    let says = Says(Rc::clone(&own));
                    s.spawn(async move {
                        let _says = says;
                        pending::<()>().await;
                    });
                })
                .await;
            }));
            for _ in 0..3 {
                yield_now().await;
            }
        });
        assert_eq!(*seen.borrow(), ["child dropped", "cleaned up"]);
    });
}

#[test]
fn a_child_handle_is_a_future_like_others() {
    run_within(|| async {
        let raced = scope(async |s| {
            let own = s.clone();
            let slow = s.spawn(async move { own.stopping().await });
            let quick = s.spawn(async {
                yield_now().await;
                1
            });
            let Winner::Second(value) = race(slow, quick).await else { unreachable!() };
            s.stop();
            let text = format!("{s:?}");
            assert!(text.contains("stopping: true"), "{text}");
            value.unwrap()
        })
        .await;
        assert_eq!(raced, 1);
    });
}

#[test]
fn the_first_of_a_list_wins_and_the_others_are_dropped() {
    run_within(|| async {
        let drops = Drops::default();
        let waits = (0..5).map(|number| {
            let guard = drops.guard();
            async move {
                let _guard = guard;
                for _ in 0..10 - number {
                    yield_now().await;
                }
                number
            }
        });
        assert_eq!((first(waits).await, drops.count()), (Some(4), 5));
        assert_eq!(first(Vec::<std::future::Ready<()>>::new()).await, None);
        let late = |value, turns| async move {
            for _ in 0..turns {
                yield_now().await;
            }
            value
        };
        let list = [late(Err(1), 0), late(Err(2), 3), late(Ok(3), 5), late(Ok(4), 50)];
        assert_eq!(first_ok(list).await, Ok(3));
        assert_eq!(first_ok([late(Err(1), 5), late(Err(2), 0)]).await, Err(vec![1, 2]));
    });
}

#[test]
fn a_bounded_map_runs_so_many_at_once_and_keeps_the_order() {
    run_within(|| async {
        let (running, most) = (Cell::new(0), Cell::new(0));
        let work = async |number: u64| {
            running.set(running.get() + 1);
            most.set(running.get().max(most.get()));
            for _ in 0..number * 7 % 10 {
                yield_now().await;
            }
            running.set(running.get() - 1);
            number * 2
        };
        let doubled = map_bounded(0..100, 7, work).await;
        assert_eq!(doubled, (0..100).map(|number| number * 2).collect::<Vec<_>>());
        assert_eq!((running.get(), most.get()), (0, 7));
        let taken = Cell::new(0);
        let items = (0..100).inspect(|_| taken.set(taken.get() + 1));
        let failed = try_map_bounded(items, 3, async |number| {
            yield_now().await;
            if number == 10 { Err(number) } else { Ok(number) }
        });
        assert_eq!(failed.await, Err(10));
        assert!(taken.get() < 16, "{}", taken.get());
        assert!(map_bounded(0..0, 1, async |_| ()).await.is_empty());
    });
    let none = || run(map_bounded(0..1, 0, async |_| ()));
    assert!(panic_of(none).contains("its limit is 0"));
}

#[test]
fn values_are_dropped_on_the_thread_of_the_scope() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Here(thread::ThreadId);
    impl Drop for Here {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.0);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let coro = scheduler.spawn(|| async {
            let here = || Here(thread::current().id());
            let started = spawn(async move {
                scope(async |s| {
                    // A value that nobody takes, one of a handle, one of a child that never ends.
                    drop(s.spawn(async move { here() }));
                    let kept = s.spawn(async move { here() });
                    let held = here();
                    s.spawn(async move {
                        let _held = held;
                        pending::<()>().await;
                    });
                    pending::<()>().await;
                    drop(kept);
                })
                .await;
            });
            for _ in 0..5 {
                yield_now().await;
            }
            drop(started);
        });
        coro.value().unwrap();
        scheduler.terminate();
        assert_eq!(DROPPED.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn a_scope_whose_future_is_moved_between_polls_goes_on() {
    run_within(|| async {
        let mut opened: Pin<Box<dyn Future<Output = u8>>> = Box::pin(scope(async |s| {
            let child = s.spawn(async {
                yield_now().await;
                3
            });
            child.await.unwrap()
        }));
        assert!(poll_once(opened.as_mut()).is_pending());
        let elsewhere = spawn(opened);
        assert_eq!(elsewhere.await.unwrap(), 3);
    });
    // The panic of a scope is that of its coroutine.
    let caught = catch_unwind(AssertUnwindSafe(|| run(scope(async |_| panic!("out")))));
    assert!(caught.is_err());
}
