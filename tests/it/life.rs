//! What a coroutine has besides its future: a parent, local values, a clean-up that may wait.

use std::{
    cell::RefCell,
    future::{Future, pending},
    panic,
    rc::Rc,
    time::{Duration, Instant},
};

use asyncoro::{
    AsynCoro,
    coro::{Coros, Ended, Hosted, Local, Scheduler, current, on_end, yield_now},
    future::join,
    run, run_until, spawn,
    time::sleep,
};

use crate::within::{Drops, logged, run_within, within};

type Seen = Rc<RefCell<Vec<&'static str>>>;

static NUMBER: Local<u32> = Local::new();
static TEXT: Local<String> = Local::new();

#[test]
fn a_local_value_is_that_of_the_coroutine_that_runs() {
    run_within(|| async {
        NUMBER.set(0);
        TEXT.set("main".to_owned());
        let each = [1, 2, 3].map(|number| {
            spawn(async move {
                assert!(NUMBER.try_with(|_| ()).is_none(), "a child inherits nothing");
                NUMBER.set(number);
                yield_now().await;
                // In nested futures, too.
                let nested = async {
                    yield_now().await;
                    NUMBER.expect()
                };
                let (one, other) = join(nested, async { NUMBER.expect() }).await;
                assert_eq!((one, other, TEXT.try_with(|_| ())), (number, number, None));
                NUMBER.set(number + 10);
                NUMBER.expect()
            })
        });
        for (coro, number) in each.into_iter().zip([11, 12, 13]) {
            assert_eq!(coro.await.unwrap(), number);
        }
        assert_eq!((NUMBER.expect(), TEXT.expect()), (0, "main".to_owned()));
        assert!(NUMBER.clear() && !NUMBER.clear());
    });
    assert!(NUMBER.try_with(|_| ()).is_none(), "there is no coroutine here");
}

#[test]
fn local_values_are_dropped_with_their_coroutine_however_it_ends() {
    static KEPT: Local<crate::within::Guard> = Local::new();
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            // Neither is there a value any more, nor does one stay that is set now.
            assert!(NUMBER.try_with(|_| ()).is_none());
            NUMBER.set(1);
            panic!("in the drop of a value");
        }
    }
    static BOMB: Local<Bomb> = Local::new();
    within(|| {
        let log = logged(|| {
            run(async {
                let drops = Drops::default();
                for (round, ends) in ["value", "panic", "terminate"].into_iter().enumerate() {
                    let guard = drops.guard();
                    let coro = spawn(async move {
                        KEPT.set(guard);
                        BOMB.set(Bomb);
                        yield_now().await;
                        match ends {
                            "value" => {}
                            "panic" => panic!("why"),
                            _ => pending().await,
                        }
                    });
                    while drops.count() == round && !coro.is_finished() {
                        if ends == "terminate" {
                            yield_now().await;
                            coro.terminate();
                        }
                        yield_now().await;
                    }
                    assert_eq!((coro.await.is_ok(), drops.count()), (ends == "value", round + 1));
                }
            });
        });
        assert_eq!(log.matches("a local value panicked: in the drop").count(), 3, "{log}");
    });
}

#[test]
fn who_has_spawned_whom_is_known_if_asked() {
    within(|| {
        let family = async || {
            let mut coros = Coros::new();
            coros
                .spawn(async {
                    let own = current();
                    let child = spawn(async move { current().parent() == Some(own.id()) });
                    (own.parent(), own.children() == [child.id()], child.await.unwrap())
                })
                .await;
            coros.next().await.unwrap().unwrap()
        };
        let asked = AsynCoro::builder().keep_parents().build().unwrap();
        assert_eq!(asked.run(family()), (None, true, true));
        assert_eq!(run(family()), (None, false, false));
    });
}

/// Spawns a coroutine whose clean-up waits, and waits until it runs.
async fn cleaned(seen: &Seen, end: impl Future<Output = ()> + 'static) -> asyncoro::Coro<()> {
    let (first, second) = (Rc::clone(seen), Rc::clone(seen));
    let coro = spawn(async move {
        current().set_name("worker");
        on_end(async move {
            yield_now().await;
            first.borrow_mut().push("first");
        });
        on_end(async move {
            sleep(Duration::from_millis(1)).await;
            second.borrow_mut().push("second");
        });
        yield_now().await;
        end.await;
    });
    yield_now().await;
    coro
}

#[test]
fn a_clean_up_may_wait_after_each_end_and_before_the_handle_has_its_value() {
    run_within(|| async {
        let seen = Seen::default();
        cleaned(&seen, async {}).await.await.unwrap();
        let terminated = cleaned(&seen, pending()).await;
        terminated.terminate();
        let ended = terminated.await.unwrap_err();
        assert!(matches!(&ended, Ended::Terminated(who) if who.name() == Some("worker")));
        let mut panicked = cleaned(&seen, async { panic!("why") }).await;
        let monitor = panicked.monitor();
        assert!(matches!(panicked.await, Err(Ended::Panicked(_, _))));
        assert_eq!(*seen.borrow(), ["second", "first"].repeat(3));
        assert_eq!(monitor.await.origin().name(), Some("worker"));
    });
}

#[test]
fn clean_ups_run_at_each_end_of_a_scheduler() {
    within(|| {
        let seen = Seen::default();
        let keep = |seen: &Seen| {
            let seen = Rc::clone(seen);
            async move {
                std::mem::forget(cleaned(&seen, pending()).await);
                yield_now().await;
            }
        };
        run_until(keep(&seen));
        assert_eq!(*seen.borrow(), ["second", "first"]);
        let scheduler = Scheduler::new().unwrap();
        scheduler.enter(keep(&seen));
        assert_eq!(seen.borrow().len(), 2);
        drop(scheduler);
        assert_eq!(seen.borrow().len(), 4);
        let hosted = Hosted::new(Scheduler::new().unwrap()).unwrap();
        drop(hosted.spawn(keep(&seen)));
        for _ in 0..5 {
            hosted.turn(Duration::ZERO);
        }
        drop(hosted);
        assert_eq!(seen.borrow().len(), 6);
        let daemons = Rc::clone(&seen);
        let panicked = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            run(async {
                keep(&daemons).await;
                panic!("main");
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(seen.borrow().len(), 8);
        // Of the run's own future.
        let own = Rc::clone(&seen);
        run(async move {
            on_end(async move {
                sleep(Duration::from_millis(1)).await;
                own.borrow_mut().push("main's");
            });
        });
        assert_eq!(seen.borrow().last(), Some(&"main's"));
    });
}

#[test]
fn a_clean_up_may_spawn_and_its_panic_is_logged() {
    within(|| {
        let seen = Seen::default();
        let outer = Rc::clone(&seen);
        let log = logged(|| {
            run_until(async move {
                drop(spawn(async move {
                    on_end(async move {
                        spawn(async move { outer.borrow_mut().push("spawned") }).await.unwrap();
                        outer_is_done();
                    });
                    on_end(async { panic!("in a clean-up") });
                    pending::<()>().await;
                }));
                yield_now().await;
            });
        });
        fn outer_is_done() {}
        assert_eq!(*seen.borrow(), ["spawned"]);
        assert!(log.contains("a clean-up panicked: in a clean-up"), "{log}");
    });
}

#[test]
fn what_takes_longer_than_the_time_to_drain_is_cut_off_and_logged() {
    within(|| {
        let drops = Drops::default();
        let began = Instant::now();
        let log = logged(|| {
            let builder = AsynCoro::builder().drain(Duration::from_millis(20));
            let endless = |guard| async move {
                current().set_name("stubborn");
                on_end(async move {
                    let _guard = guard;
                    pending::<()>().await;
                });
                pending::<()>().await;
            };
            let (one, other) = (drops.guard(), drops.guard());
            builder.build().unwrap().run_until(async move {
                // While it runs, and at its end.
                let terminated = spawn(endless(one));
                let ended = spawn(endless(other));
                yield_now().await;
                terminated.terminate();
                terminated.await.unwrap_err();
                assert!(!ended.is_finished());
            });
        });
        assert_eq!(drops.count(), 2);
        let line = "the clean-up of stubborn (spawned at tests/it/life.rs:";
        assert_eq!(log.matches(line).count(), 2, "{log}");
        assert!(began.elapsed() < Duration::from_secs(20));
    });
}

#[test]
fn a_clean_up_within_a_clean_up_follows_it() {
    run_within(|| async {
        let seen = Seen::default();
        let inner = Rc::clone(&seen);
        let coro = spawn(async move {
            on_end(async move {
                let last = Rc::clone(&inner);
                on_end(async move { last.borrow_mut().push("last") });
                inner.borrow_mut().push("first");
            });
        });
        coro.await.unwrap();
        while seen.borrow().len() < 2 {
            yield_now().await;
        }
        assert_eq!(*seen.borrow(), ["first", "last"]);
    });
}

#[test]
fn a_set_takes_who_has_ended_while_another_member_cleans_up() {
    run_within(|| async {
        let mut coros = Coros::new();
        let (sender, receiver) = asyncoro::sync::mailbox::<()>(1);
        let cleaning = async move {
            on_end(async move { assert!(receiver.receive().await.is_some()) });
            "cleaned up"
        };
        coros.spawn(cleaning).await;
        coros.spawn(async { "quick" }).await;
        assert_eq!(coros.next().await.unwrap().unwrap(), "quick");
        let mut late = std::pin::pin!(coros.next());
        assert!(crate::within::poll_once(late.as_mut()).is_pending());
        sender.send(()).await.unwrap();
        assert_eq!(late.await.unwrap().unwrap(), "cleaned up");
    });
}
