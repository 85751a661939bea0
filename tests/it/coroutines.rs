//! Coroutines: their order, values, panics, names and ends.

use std::{
    cell::{Cell, RefCell},
    future::pending,
    io,
    rc::Rc,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use asyncoro::{
    AsynCoro, AsyncSocket, Coro,
    coro::{Ended, current, yield_now},
    spawn,
    time::{sleep, timeout},
};

use crate::{
    pairs::{Kind, pair},
    verbs::{Call, End, Face, READERS, Verb, WRITERS, drained, full, unit},
    within::{Drops, assert_told, block_on, logged, panic_of, run_within, within},
};

/// A list that coroutines write to.
type Seen = Rc<RefCell<Vec<usize>>>;

#[test]
fn coroutines_run_in_the_order_of_spawning() {
    run_within(|| async {
        let seen = Seen::default();
        let all: Vec<Coro<()>> = (0..1000)
            .map(|number| {
                let seen = Rc::clone(&seen);
                spawn(async move { seen.borrow_mut().push(number) })
            })
            .collect();
        for coro in all {
            coro.await.unwrap();
        }
        assert!(seen.borrow().iter().copied().eq(0..1000));
    });
}

#[test]
fn ready_coroutines_take_turns_first_come_first_served_also_across_turns_of_the_loop() {
    run_within(|| async {
        let seen = Seen::default();
        let all: Vec<Coro<()>> = (0..200)
            .map(|number| {
                let seen = Rc::clone(&seen);
                spawn(async move {
                    for _ in 0..3 {
                        seen.borrow_mut().push(number);
                        yield_now().await;
                    }
                })
            })
            .collect();
        for coro in all {
            coro.await.unwrap();
        }
        assert!(seen.borrow().iter().copied().eq((0..3).flat_map(|_| 0..200)));
    });
}

#[test]
fn a_turn_is_at_most_61_resumes_and_then_timers_and_sockets_get_their_chance() {
    run_within(|| async {
        let stop = Rc::new(Cell::new(false));
        for _ in 0..200 {
            let stop = Rc::clone(&stop);
            drop(spawn(async move {
                while !stop.get() {
                    yield_now().await;
                }
            }));
        }
        let before = AsynCoro::current().statistics();
        // All the others are always ready: only a bounded turn lets the timer fire.
        sleep(Duration::from_millis(2)).await;
        let after = AsynCoro::current().statistics();
        assert!(after.resumes - before.resumes <= 61 * (after.turns - before.turns + 1));
        assert_eq!(after.sleeps, before.sleeps, "nobody sleeps while somebody is ready");
        stop.set(true);
    });
}

#[test]
fn yield_now_lets_every_other_ready_coroutine_go_first_once() {
    run_within(|| async {
        let runs = Rc::new(Cell::new(0));
        for _ in 0..100 {
            let runs = Rc::clone(&runs);
            drop(spawn(async move {
                loop {
                    current().set_daemon(true);
                    runs.set(runs.get() + 1);
                    yield_now().await;
                }
            }));
        }
        yield_now().await;
        assert_eq!(runs.get(), 100);
        yield_now().await;
        assert_eq!(runs.get(), 200);
    });
}

#[test]
fn a_value_goes_to_whoever_awaits_it_and_may_not_be_send() {
    run_within(|| async {
        let shared = Rc::new(5);
        let inner = Rc::clone(&shared);
        let coro = spawn(async move {
            yield_now().await;
            inner
        });
        assert!(!coro.is_finished());
        assert!(Rc::ptr_eq(&coro.await.unwrap(), &shared));
    });
}

#[test]
fn a_handle_is_a_future_for_any_executor_and_scheduler() {
    within(|| {
        let one = AsynCoro::start().unwrap();
        let two = AsynCoro::start().unwrap();
        let value = one.spawn(|| async {
            sleep(Duration::from_millis(1)).await;
            1
        });
        let sum = two.spawn(move || async move { value.await.unwrap() + 1 });
        assert_eq!(block_on(sum).unwrap(), 2);
    });
}

#[test]
fn dropping_a_handle_detaches() {
    run_within(|| async {
        let done = Rc::new(Cell::new(false));
        let inner = Rc::clone(&done);
        drop(spawn(async move {
            yield_now().await;
            inner.set(true);
        }));
        while !done.get() {
            yield_now().await;
        }
    });
}

#[test]
fn a_value_that_nobody_takes_is_dropped_once() {
    within(|| {
        let drops = Drops::default();
        asyncoro::run(async {
            let (early, late) = (drops.guard(), drops.guard());
            drop(spawn(async move { early }));
            let kept = spawn(async move { late });
            while !kept.is_finished() {
                yield_now().await;
            }
            assert_eq!(drops.count(), 1);
            drop(kept);
        });
        assert_eq!(drops.count(), 2);
    });
}

#[test]
fn a_panic_goes_to_whoever_awaits_and_the_others_go_on() {
    run_within(|| async {
        let other = spawn(async {
            yield_now().await;
            yield_now().await;
            "goes on"
        });
        let bad: Coro<()> = spawn(async {
            yield_now().await;
            panic!("broken");
        });
        match bad.await {
            Err(Ended::Panicked(payload, _)) => {
                assert_eq!(*payload.downcast_ref::<&str>().unwrap(), "broken");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(other.await.unwrap(), "goes on");
    });
}

#[test]
fn a_panic_that_nobody_sees_is_logged_with_the_name_of_the_coroutine() {
    within(|| {
        let log = logged(|| {
            asyncoro::run(async {
                drop(spawn(async {
                    current().set_name("dropped before");
                    panic!("first");
                }));
                let late: Coro<()> = spawn(async {
                    current().set_name("dropped after");
                    panic!("second");
                });
                while !late.is_finished() {
                    yield_now().await;
                }
                drop(late);
                let seen: Coro<()> = spawn(async {
                    current().set_name("awaited");
                    panic!("third");
                });
                let Err(Ended::Panicked(payload, _)) = seen.await else { unreachable!() };
                assert_eq!(*payload.downcast::<&str>().unwrap(), "third");
            });
        });
        assert!(log.contains(") panicked: first"), "{log}");
        assert!(log.contains(") panicked: second"), "{log}");
        assert!(!log.contains("third"), "{log}");
    });
}

#[test]
fn or_log_logs_the_error_with_the_name_and_nothing_else() {
    within(|| {
        let log = logged(|| {
            asyncoro::run(async {
                let named = |name: &'static str, result: io::Result<()>| async move {
                    current().set_name(name);
                    result
                };
                spawn(named("bad", Err(io::Error::other("went wrong")))).or_log();
                spawn(named("good", Ok(()))).or_log();
                let late = spawn(async { Err::<(), _>(io::Error::other("too late")) });
                while !late.is_finished() {
                    yield_now().await;
                }
                late.or_log();
                spawn(async {
                    current().set_name("worse");
                    panic!("fell over");
                    #[allow(unreachable_code)]
                    io::Result::Ok(())
                })
                .or_log();
                let ended = spawn(pending::<io::Result<()>>());
                ended.terminate();
                ended.or_log();
            });
        });
        assert!(log.contains(") ended: went wrong"), "{log}");
        assert!(log.contains("ended: too late"), "{log}");
        assert!(log.contains("worse") && log.contains("fell over"), "{log}");
        assert_eq!(log.lines().count(), 3, "{log}");
    });
}

/// An error whose `Debug` panics.
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("no words")
    }
}

#[test]
fn an_error_whose_display_panics_is_logged_and_the_others_go_on() {
    within(|| {
        let log = logged(|| {
            asyncoro::run(async {
                spawn(async { Err::<(), _>(Unspeakable) }).or_log();
                let late = spawn(async { Err::<(), _>(Unspeakable) });
                while !late.is_finished() {
                    yield_now().await;
                }
                late.or_log();
                assert_eq!(spawn(async { 5 }).await.unwrap(), 5);
            });
        });
        assert_eq!(log.matches("showing its error panicked: no words").count(), 2, "{log}");
    });
}

#[test]
fn a_waker_that_panics_is_logged_and_the_others_go_on() {
    struct Bad(AtomicBool);
    impl std::task::Wake for Bad {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
            panic!("not awake")
        }
    }
    within(|| {
        let log = logged(|| {
            asyncoro::run(async {
                let mut handle = Box::pin(spawn(yield_now()));
                let waker = Arc::new(Bad(AtomicBool::new(false))).into();
                let cx = &mut std::task::Context::from_waker(&waker);
                assert!(handle.as_mut().poll(cx).is_pending());
                while !handle.is_finished() {
                    yield_now().await;
                }
                handle.await.unwrap();
            });
        });
        assert!(log.contains("a waker panicked: not awake"), "{log}");
    });
    // That of each verb; their lines are more than may be written in a second.
    within(|| {
        /// Waits with such a waker until it is woken, and then with a good one.
        async fn is_done_after_it(mut call: Call, come: impl AsyncFnOnce(), verb: Verb) {
            let bad = Arc::new(Bad(AtomicBool::new(false)));
            let waker = Arc::clone(&bad).into();
            let cx = &mut std::task::Context::from_waker(&waker);
            assert!(call.as_mut().poll(cx).is_pending(), "{verb:?}");
            come().await;
            while !bad.0.load(Ordering::SeqCst) {
                yield_now().await;
            }
            call.await.unwrap();
        }

        asyncoro::run(async {
            let (near, far) = pair(Kind::Unix);
            for &verb in READERS {
                let call = (verb.call)(near.clone(), Vec::new());
                is_done_after_it(call, async || far.send_all(&unit(1)).await.unwrap(), verb).await;
                while near.try_recv(&mut [0; 99]).is_ok() {}
            }
            for &verb in WRITERS {
                let (end, far) = full(Kind::Unix, Face::Asynchronous).await;
                let End::Asynchronous(near) = end else { unreachable!() };
                let call = (verb.call)(near.clone(), unit(1).to_vec());
                is_done_after_it(call, async || drop(spawn(drained(far))), verb).await;
            }
        });
    });
}

#[test]
fn terminate_marks_and_the_scheduler_drops_the_future_later() {
    run_within(|| async {
        let drops = Drops::default();
        let guard = drops.guard();
        let coro = spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        yield_now().await;
        coro.terminate();
        assert_eq!(drops.count(), 0, "not inside of the call");
        assert!(matches!(coro.await, Err(Ended::Terminated(_))));
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn a_terminated_future_is_dropped_in_the_context_of_its_own_coroutine() {
    within(|| {
        struct Witness(Arc<AtomicBool>);
        impl Drop for Witness {
            fn drop(&mut self) {
                // Panics outside a scheduler; the name says that it is the coroutine itself.
                let right = current().name().as_deref() == Some("itself");
                self.0.store(right, Ordering::SeqCst);
            }
        }
        let scheduler = AsynCoro::start().unwrap();
        let right = Arc::new(AtomicBool::new(false));
        let witness = Witness(Arc::clone(&right));
        let started = Arc::new(Barrier::new(2));
        let coro = scheduler.spawn({
            let started = Arc::clone(&started);
            move || async move {
                let _witness = witness;
                current().set_name("itself");
                started.wait();
                pending::<()>().await;
            }
        });
        started.wait();
        coro.terminate();
        assert!(matches!(coro.value(), Err(Ended::Terminated(_))));
        assert!(right.load(Ordering::SeqCst));
    });
}

#[test]
fn a_panic_while_a_terminated_future_is_dropped_stays_in_bounds() {
    run_within(|| async {
        struct Bad;
        impl Drop for Bad {
            fn drop(&mut self) {
                panic!("in drop");
            }
        }
        let bad = Bad;
        let coro = spawn(async move {
            let _bad = bad;
            pending::<()>().await;
        });
        yield_now().await;
        coro.terminate();
        assert!(matches!(coro.await, Err(Ended::Panicked(_, _))));
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    });
}

#[test]
fn a_coroutine_can_be_terminated_before_it_ran_while_it_runs_and_after_its_end() {
    run_within(|| async {
        let ran = Rc::new(Cell::new(false));
        let inner = Rc::clone(&ran);
        let fresh = spawn(async move { inner.set(true) });
        fresh.terminate();
        assert!(matches!(fresh.await, Err(Ended::Terminated(_))));
        assert!(!ran.get());

        let own: Rc<RefCell<Option<Coro<()>>>> = Rc::default();
        let inner = Rc::clone(&own);
        let end = Drops::default();
        let guard = end.guard();
        *own.borrow_mut() = Some(spawn(async move {
            let _guard = guard;
            inner.borrow().as_ref().unwrap().terminate();
            pending::<()>().await;
        }));
        while end.count() == 0 {
            yield_now().await;
        }
        let own = own.take().unwrap();
        assert!(matches!(own.await, Err(Ended::Terminated(_))));

        let over = spawn(async { 3 });
        while !over.is_finished() {
            yield_now().await;
        }
        over.terminate();
        assert_eq!(over.await.unwrap(), 3);
    });
}

#[test]
fn termination_ends_every_kind_of_wait_1000_times() {
    run_within(|| async {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let socket = AsyncSocket::new(ours).unwrap();
        let before = AsynCoro::current().statistics();
        for round in 0..1000 {
            let reader = socket.clone();
            let inner = spawn(pending::<()>());
            let waits = [
                spawn(async move { drop(reader.recv(&mut [0; 8]).await) }),
                spawn(sleep(Duration::from_secs(1000))),
                spawn(async { timeout(Duration::from_secs(1000), pending()).await.unwrap() }),
                spawn(async move { drop(inner.await) }),
                spawn(async {
                    loop {
                        yield_now().await;
                    }
                }),
            ];
            for _ in 0..round % 4 {
                yield_now().await;
            }
            waits.iter().for_each(Coro::terminate);
            for coro in waits {
                assert!(matches!(coro.await, Err(Ended::Terminated(_))));
            }
        }
        let after = AsynCoro::current().statistics();
        assert_eq!(after.timers, before.timers, "no timer is left armed");
        socket.try_recv(&mut [0; 8]).unwrap_err();
        // What was only detached inside is still pending: end it all.
        let handle = AsynCoro::current();
        thread::spawn(move || handle.terminate());
    });
}

#[test]
fn handles_dropped_while_coroutines_end_lose_nothing_1000_times() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let drops = Drops::default();
        for _ in 0..1000 {
            let guard = drops.guard();
            let start = Arc::new(Barrier::new(2));
            let coro = scheduler.spawn({
                let start = Arc::clone(&start);
                move || async move {
                    start.wait();
                    guard
                }
            });
            start.wait();
            drop(coro);
        }
        scheduler.join();
        scheduler.terminate();
        assert_eq!(drops.count(), 1000);
    });
}

#[test]
fn current_gives_id_and_name_and_their_setters() {
    run_within(|| async {
        let coro = spawn(async {
            let me = current();
            assert_eq!(me.name(), None);
            me.set_name("first");
            assert_eq!(me.name().as_deref(), Some("first"));
            me.set_name("second");
            yield_now().await;
            assert_eq!(current(), me);
            assert_eq!(current().name().as_deref(), Some("second"));
            me
        });
        let id = coro.id();
        let theirs = coro.await.unwrap();
        assert_eq!(theirs.id(), id);
        assert_ne!(current().id(), id);
        assert_eq!(current().name(), None);
        assert_eq!(theirs.name(), None, "another coroutine's name is not for us");
    });
}

#[test]
fn the_setters_of_another_coroutine_do_nothing() {
    within(|| {
        let order = asyncoro::run(async {
            let order = Rc::new(RefCell::new(Vec::new()));
            let main = current();
            let inner = Rc::clone(&order);
            drop(spawn(async move {
                let me = current();
                main.set_name("not yours");
                drop(spawn(async move { me.set_daemon(true) }));
                sleep(Duration::from_millis(2)).await;
                inner.borrow_mut().push("run waited");
            }));
            yield_now().await;
            yield_now().await;
            assert_eq!(main.name(), None);
            order
        });
        assert_eq!(*order.borrow(), ["run waited"]);
    });
}

#[test]
fn ids_of_living_coroutines_differ_also_between_schedulers() {
    within(|| {
        let schedulers = [AsynCoro::start().unwrap(), AsynCoro::start().unwrap()];
        let living: Vec<Coro<()>> =
            (0..100).flat_map(|_| schedulers.each_ref().map(|s| s.spawn(pending::<()>))).collect();
        assert!(schedulers.iter().all(|scheduler| scheduler.statistics().coroutines == 100));
        let mut ids: Vec<u64> = living.iter().map(Coro::id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 200);
        schedulers.iter().for_each(AsynCoro::terminate);
    });
}

#[test]
fn what_needs_a_scheduler_says_so_outside_of_one() {
    within(|| {
        let hint = "call it inside `asyncoro::run";
        assert!(panic_of(|| spawn(async {})).contains(hint));
        assert!(panic_of(current).contains(hint));
        assert!(panic_of(AsynCoro::current).contains(hint));
        assert!(panic_of(|| block_on(sleep(Duration::ZERO))).contains(hint));
        assert!(panic_of(|| block_on(timeout(Duration::ZERO, pending::<()>()))).contains(hint));
        let (one, mut two) = std::os::unix::net::UnixStream::pair().unwrap();
        let socket = AsyncSocket::new(one).unwrap();
        io::Write::write_all(&mut two, b"there").unwrap();
        // It could finish at once, and is refused all the same.
        assert!(panic_of(|| block_on(socket.recv(&mut [0; 8]))).contains("recv needs a running"));
        let mut buffer = [0; 8];
        assert_eq!(socket.try_recv(&mut buffer).unwrap(), 5);
    });
}

#[test]
fn a_nested_run_is_refused_with_advice_and_the_outer_one_goes_on() {
    run_within(|| async {
        let text = panic_of(|| asyncoro::run(async {}));
        assert!(text.contains("running on this thread already"), "{text}");
        let text = panic_of(|| asyncoro::run_until(async {}));
        assert!(text.contains("`.await` the future"), "{text}");
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    });
}

#[test]
fn ended_tells_its_story_and_becomes_an_io_error() {
    run_within(|| async {
        let coro = spawn(pending::<()>());
        coro.terminate();
        let ended = coro.await.unwrap_err();
        assert_told(&ended.to_string(), " was terminated");
        let coro: Coro<()> = spawn(async { panic!("why") });
        let error = io::Error::from(coro.await.unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::Other);
        assert_told(&error.to_string(), " panicked: why");
    });
}

/// Calls `coro::current` when it is dropped, and tries to change that coroutine.
struct LateWord;

impl Drop for LateWord {
    fn drop(&mut self) {
        current().set_daemon(true);
        current().set_name("late");
    }
}

#[test]
fn a_result_that_asks_for_its_coroutine_when_it_is_dropped_changes_nobody_else() {
    run_within(|| async {
        drop(spawn(async { LateWord }));
        yield_now().await;
        assert_eq!(AsynCoro::current().statistics().daemons, 0);
        let next = spawn(async { current().name() });
        assert_eq!(next.await.unwrap(), None);
    });
}
