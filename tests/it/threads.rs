//! Schedulers used from other threads: `AsynCoro`, wakes, `value`, join, terminate, statistics.
#![allow(clippy::async_yields_async, reason = "handles outlive their scheduler here")]

use std::{
    cell::RefCell,
    future::{pending, poll_fn},
    io,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use asyncoro::{
    AsynCoro, BlockingSocket, Coro,
    coro::{Ended, Scheduler, Statistics, current, yield_now},
    spawn,
    time::sleep,
};

use crate::within::{Drops, Guard, assert_told, panic_of, run_within, within};

#[test]
fn a_coroutine_spawned_from_elsewhere_is_made_and_runs_on_the_schedulers_thread() {
    within(|| {
        let scheduler = AsynCoro::builder().name("elsewhere").start().unwrap();
        let names = scheduler.spawn(|| {
            let made = thread::current().name().map(str::to_owned);
            async move {
                yield_now().await;
                (made, thread::current().name().map(str::to_owned))
            }
        });
        let (made, ran) = names.value().unwrap();
        assert_eq!(made.as_deref(), Some("elsewhere"));
        assert_eq!(ran.as_deref(), Some("elsewhere"));
    });
}

#[test]
fn coroutines_spawned_from_one_thread_run_in_that_order() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        for number in 0..1000 {
            let seen = Arc::clone(&seen);
            drop(scheduler.spawn(move || async move { seen.lock().unwrap().push(number) }));
        }
        scheduler.join();
        assert!(seen.lock().unwrap().iter().copied().eq(0..1000));
    });
}

#[test]
fn value_blocks_a_plain_thread_until_the_value_is_there() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let go = Arc::new(AtomicBool::new(false));
        let inner = Arc::clone(&go);
        let value = scheduler.spawn(move || async move {
            while !inner.load(Ordering::SeqCst) {
                sleep(Duration::from_micros(100)).await;
            }
            "there"
        });
        assert!(!value.is_finished());
        go.store(true, Ordering::SeqCst);
        assert_eq!(value.value().unwrap(), "there");
    });
}

#[test]
fn value_tells_of_a_panic_and_of_termination() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let panicked = scheduler.spawn(|| async { panic!("over there") }).value();
        assert_told(&panicked.unwrap_err().to_string(), " panicked: over there");
        let panicked = scheduler.spawn(|| -> std::future::Ready<()> { panic!("making") }).value();
        assert_told(&panicked.unwrap_err().to_string(), " panicked: making");
        let forever = scheduler.spawn(pending::<()>);
        forever.terminate();
        assert!(matches!(forever.value(), Err(Ended::Terminated(_))));
        assert_eq!(scheduler.spawn(|| async { 1 }).value().unwrap(), 1);
    });
}

#[test]
fn value_panics_on_its_own_scheduler() {
    run_within(|| async {
        let forever = spawn(pending::<()>());
        assert!(panic_of(|| forever.value()).contains("`.await` it"));
        // Also when it came through the inbox and was not taken in yet.
        let fresh = AsynCoro::current().spawn(|| async { 1 });
        assert!(panic_of(|| fresh.value()).contains("`.await` it"));
        let handle = AsynCoro::current();
        let (give, take) = mpsc::channel();
        thread::spawn(move || give.send(handle.spawn(|| async { 1 })).unwrap()).join().unwrap();
        let fresh = take.recv().unwrap();
        assert!(panic_of(|| fresh.value()).contains("`.await` it"));
        // The first one still pends: end it, so that run returns.
        let handle = AsynCoro::current();
        thread::spawn(move || handle.terminate());
    });
}

#[test]
fn value_panics_on_the_thread_of_a_scheduler_that_is_not_entered_now() {
    within(|| {
        let scheduler = Scheduler::new().unwrap();
        let left = scheduler.enter(async { spawn(async { 1 }) });
        assert!(panic_of(|| left.value()).contains("`.await` it"));
    });
}

#[test]
fn value_of_a_coroutine_that_has_ended_is_given_anywhere() {
    within(|| {
        let ended = asyncoro::run(async { spawn(async { 7 }) });
        // The next scheduler may get the number of the one before.
        asyncoro::run(async move { assert_eq!(ended.value().unwrap(), 7) });
        let old = Scheduler::new().unwrap();
        let handle = old.handle();
        drop(old);
        asyncoro::run(async move {
            assert!(matches!(handle.spawn(|| async { 1 }).value(), Err(Ended::Terminated(_))));
        });
    });
}

#[test]
fn a_scheduler_that_has_ended_terminates_what_is_spawned_there() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        scheduler.terminate();
        let drops = Drops::default();
        let guard = drops.guard();
        let late = scheduler.spawn(move || async move { drop(guard) });
        assert!(matches!(late.value(), Err(Ended::Terminated(_))));
        assert_eq!(drops.count(), 1);
        scheduler.join();
        scheduler.terminate();
        assert_eq!(scheduler.statistics(), Statistics::default());
    });
}

#[test]
fn join_waits_for_all_but_daemons_and_the_scheduler_goes_on() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        // Nothing runs: there is nothing to wait for, also in a scheduler that sleeps.
        scheduler.join();
        let done = Arc::new(AtomicUsize::new(0));
        drop(scheduler.spawn(|| async {
            current().set_daemon(true);
            pending::<()>().await;
        }));
        for _ in 0..10 {
            let done = Arc::clone(&done);
            drop(scheduler.spawn(move || async move {
                sleep(Duration::from_millis(2)).await;
                done.fetch_add(1, Ordering::SeqCst);
            }));
        }
        scheduler.join();
        assert_eq!(done.load(Ordering::SeqCst), 10);
        assert_eq!(scheduler.spawn(|| async { 1 }).value().unwrap(), 1);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let scheduler = scheduler.clone();
                thread::spawn(move || (0..100).for_each(|_| scheduler.join()))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn terminate_ends_all_daemons_too_and_then_the_thread() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let drops = Drops::default();
        let all: Vec<Coro<()>> = (0..10)
            .map(|number| {
                let guard = drops.guard();
                scheduler.spawn(move || async move {
                    let _guard = guard;
                    current().set_daemon(number % 2 == 0);
                    pending::<()>().await;
                })
            })
            .collect();
        scheduler.terminate();
        assert_eq!(drops.count(), 10);
        for coro in all {
            assert!(matches!(coro.value(), Err(Ended::Terminated(_))));
        }
        assert_eq!(scheduler.statistics(), Statistics::default(), "the scheduler has ended");
    });
}

#[test]
fn a_scheduler_ends_with_its_last_handle_once_its_coroutines_have() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let twin = scheduler.clone();
        let drops = Drops::default();
        let (guard, daemon) = (drops.guard(), drops.guard());
        let inside = scheduler.spawn(|| async { AsynCoro::current() }).value().unwrap();
        let slow = scheduler.spawn(move || async move {
            sleep(Duration::from_millis(2)).await;
            drop(guard);
            "not cut short"
        });
        let daemon = scheduler.spawn(move || async move {
            current().set_daemon(true);
            let _daemon = daemon;
            pending::<()>().await;
        });
        drop(scheduler);
        assert_ne!(twin.statistics(), Statistics::default());
        drop(twin);
        assert_eq!(slow.value().unwrap(), "not cut short");
        assert!(matches!(daemon.value(), Err(Ended::Terminated(_))));
        assert_eq!(drops.count(), 2);
        // A handle made inside does not keep it.
        while inside.statistics() != Statistics::default() {
            thread::yield_now();
        }
    });
}

#[test]
fn calls_that_would_wait_for_their_own_thread_panic() {
    within(|| {
        let scheduler = Scheduler::new().unwrap();
        let handle = scheduler.handle();
        scheduler.run(async {
            assert!(panic_of(|| handle.join()).contains("in another thread"));
            assert!(panic_of(|| handle.terminate()).contains("in another thread"));
            assert_eq!(handle.statistics().coroutines, 0);
        });
        // Nobody would answer: the scheduler of this thread is not running.
        assert!(panic_of(|| handle.join()).contains("in another thread"));
        assert!(panic_of(|| handle.terminate()).contains("in another thread"));
        assert!(panic_of(|| handle.statistics()).contains("in another thread"));
        assert!(scheduler.statistics().turns > 0);
        drop(scheduler);
        handle.join();
        assert_eq!(handle.statistics(), Statistics::default());
    });
}

#[test]
fn statistics_count_what_there_is() {
    run_within(|| async {
        let now = || AsynCoro::current().statistics();
        let start = now();
        assert_eq!((start.coroutines, start.daemons, start.timers, start.sockets), (0, 0, 0, 0));
        let forever = spawn(async {
            current().set_daemon(true);
            sleep(Duration::from_secs(1000)).await;
        });
        yield_now().await;
        let one = now();
        assert_eq!((one.coroutines, one.daemons, one.timers), (1, 1, 1));
        assert_eq!(one.spawned, start.spawned + 1);
        assert!(one.resumes > start.resumes && one.turns >= start.turns);
        forever.terminate();
        forever.await.unwrap_err();
        let end = now();
        assert_eq!((end.coroutines, end.daemons, end.timers), (0, 0, 0));
        let wanted = std::env::var("ASYNCORO_DRIVER").unwrap_or_default();
        assert!(matches!(end.driver, "epoll" | "poll"));
        assert!(wanted.is_empty() || end.driver == wanted);
    });
}

#[test]
fn statistics_answer_another_thread_while_coroutines_run() {
    within(|| {
        let scheduler = AsynCoro::builder().portable_driver().start().unwrap();
        let busy = scheduler.spawn(|| async {
            loop {
                yield_now().await;
            }
        });
        let one = scheduler.statistics();
        assert_eq!((one.coroutines, one.driver), (1, "poll"));
        while scheduler.statistics().resumes == one.resumes {}
        busy.terminate();
        let _: Result<(), Ended> = busy.value();
    });
}

#[test]
fn a_storm_of_wakes_from_other_threads_loses_none() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
        let total = 4 * 1000;
        let seen = scheduler.spawn({
            let (sent, waker) = (Arc::clone(&sent), Arc::clone(&waker));
            move || async move {
                poll_fn(|cx| {
                    // Published before the count is read: who counts later wakes this waker.
                    *waker.lock().unwrap() = Some(cx.waker().clone());
                    if sent.load(Ordering::SeqCst) == total {
                        return Poll::Ready(());
                    }
                    Poll::Pending
                })
                .await;
            }
        });
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (sent, waker) = (Arc::clone(&sent), Arc::clone(&waker));
                thread::spawn(move || {
                    for _ in 0..1000 {
                        sent.fetch_add(1, Ordering::SeqCst);
                        let waker = waker.lock().unwrap().clone();
                        waker.into_iter().for_each(Waker::wake);
                    }
                })
            })
            .collect();
        seen.value().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn each_single_wake_from_another_thread_ends_a_sleep_of_the_scheduler_1000_times() {
    within(|| {
        let (give, take) = mpsc::channel::<(Waker, Arc<AtomicBool>)>();
        let waking = thread::spawn(move || {
            for (waker, flag) in take {
                flag.store(true, Ordering::SeqCst);
                waker.wake();
            }
        });
        asyncoro::run(async move {
            for _ in 0..1000 {
                let flag = Arc::new(AtomicBool::new(false));
                let mut asked = false;
                poll_fn(|cx| {
                    if flag.load(Ordering::SeqCst) {
                        return Poll::Ready(());
                    }
                    if !asked {
                        asked = true;
                        give.send((cx.waker().clone(), Arc::clone(&flag))).unwrap();
                    }
                    Poll::Pending
                })
                .await;
            }
        });
        waking.join().unwrap();
    });
}

#[test]
fn values_bounce_between_two_schedulers_1000_times() {
    within(|| {
        let one = AsynCoro::start().unwrap();
        let two = AsynCoro::start().unwrap();
        let last = one.spawn({
            let two = two.clone();
            move || async move {
                let mut number = 0;
                for _ in 0..1000 {
                    let next = two.spawn(move || async move {
                        yield_now().await;
                        number + 1
                    });
                    number = next.await.unwrap();
                }
                number
            }
        });
        assert_eq!(last.value().unwrap(), 1000);
    });
}

#[test]
fn a_termination_from_another_thread_always_arrives_1000_times() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        for round in 0..1000 {
            let forever = scheduler.spawn(pending::<()>);
            // At once, or when it has begun to wait, or in between.
            for _ in 0..round % 50 {
                std::hint::spin_loop();
            }
            if round % 10 == 0 {
                scheduler.statistics();
            }
            forever.terminate();
            assert!(matches!(forever.value(), Err(Ended::Terminated(_))));
        }
    });
}

#[test]
fn a_termination_and_the_value_race_and_one_of_them_wins_1000_times() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        for _ in 0..1000 {
            let start = Arc::new(Barrier::new(2));
            let inner = Arc::clone(&start);
            let quick = scheduler.spawn(move || async move {
                inner.wait();
                yield_now().await;
                5
            });
            start.wait();
            quick.terminate();
            assert!(matches!(quick.value(), Ok(5) | Err(Ended::Terminated(_))));
        }
    });
}

#[test]
fn coroutines_spawned_while_the_scheduler_ends_run_or_are_terminated_1000_times() {
    within(|| {
        for round in 0..1000 {
            let scheduler = AsynCoro::start().unwrap();
            let drops = Drops::default();
            let start = Arc::new(Barrier::new(2));
            let spawning = thread::spawn({
                let (scheduler, drops, start) =
                    (scheduler.clone(), drops.clone(), Arc::clone(&start));
                move || {
                    start.wait();
                    let spawned: Vec<Coro<()>> = (0..5)
                        .map(|_| {
                            let guard = drops.guard();
                            scheduler.spawn(move || async move {
                                let _guard = guard;
                                yield_now().await;
                            })
                        })
                        .collect();
                    spawned.into_iter().map(Coro::value).filter(Result::is_err).count()
                }
            });
            start.wait();
            (0..round % 20).for_each(|_| std::hint::spin_loop());
            scheduler.terminate();
            assert!(spawning.join().unwrap() <= 5);
            assert_eq!(drops.count(), 5);
        }
    });
}

#[test]
fn wakes_after_the_end_of_a_scheduler_do_nothing_1000_times() {
    within(|| {
        for _ in 0..1000 {
            let (give, take) = mpsc::channel::<Waker>();
            let waking = thread::spawn(move || {
                for waker in take {
                    (0..3).for_each(|_| waker.wake_by_ref());
                }
            });
            asyncoro::run_until(async move {
                for _ in 0..5 {
                    let give = give.clone();
                    drop(spawn(poll_fn(move |cx| {
                        give.send(cx.waker().clone()).unwrap();
                        Poll::<()>::Pending
                    })));
                }
                yield_now().await;
            });
            waking.join().unwrap();
        }
    });
}

#[test]
fn two_threads_may_terminate_one_scheduler_at_once() {
    within(|| {
        for _ in 0..100 {
            let scheduler = AsynCoro::start().unwrap();
            drop(scheduler.spawn(pending::<()>));
            let twin = scheduler.clone();
            let other = thread::spawn(move || {
                twin.terminate();
                assert_eq!(twin.statistics(), Statistics::default());
            });
            scheduler.terminate();
            assert_eq!(scheduler.statistics(), Statistics::default());
            other.join().unwrap();
        }
    });
}

#[test]
fn each_of_two_terminations_at_once_waits_for_the_end_of_the_thread() {
    /// A thread-local that takes a while to drop, at the very end of its thread.
    struct Late(Option<Guard>);
    impl Drop for Late {
        fn drop(&mut self) {
            thread::sleep(Duration::from_millis(20));
            self.0.take();
        }
    }
    thread_local! {
        static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
    }
    within(|| {
        let drops = Drops::default();
        let scheduler = AsynCoro::start().unwrap();
        let late = Late(Some(drops.guard()));
        let kept = scheduler.spawn(|| async { LATE.set(Some(late)) });
        kept.value().unwrap();
        let terminate = |scheduler: AsynCoro, drops: Drops| {
            move || {
                scheduler.terminate();
                assert_eq!(drops.count(), 1);
            }
        };
        let other = thread::spawn(terminate(scheduler.clone(), drops.clone()));
        terminate(scheduler, drops)();
        other.join().unwrap();
    });
}

#[test]
fn a_waker_of_an_ended_scheduler_wakes_nobody_of_the_next_one() {
    within(|| {
        let leave_waker = || {
            let (give, take) = mpsc::channel();
            asyncoro::run_until(async move {
                drop(spawn(poll_fn(move |cx| {
                    give.send(cx.waker().clone()).unwrap();
                    Poll::<()>::Pending
                })));
                yield_now().await;
            });
            take.recv().unwrap()
        };
        let stale: Waker = leave_waker();
        asyncoro::run_until(async {
            let polls = Arc::new(AtomicUsize::new(0));
            let inner = Arc::clone(&polls);
            drop(spawn(poll_fn(move |_| {
                inner.fetch_add(1, Ordering::Relaxed);
                Poll::<()>::Pending
            })));
            for _ in 0..3 {
                stale.wake_by_ref();
                yield_now().await;
            }
            assert_eq!(polls.load(Ordering::Relaxed), 1);
        });
    });
}

#[test]
fn a_blocking_socket_and_a_scheduler_share_a_thread() {
    // The blocking twin's composite verbs run a scheduler aside; the thread's own goes on after.
    run_within(|| async {
        let server = BlockingSocket::create_server("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let client = BlockingSocket::create_connection(address).unwrap();
        let (accepted, _) = server.accept().unwrap();
        client.send_msg(b"through").unwrap();
        assert_eq!(accepted.recv_msg().unwrap().unwrap(), "through");
        assert_eq!(spawn(async { io::Result::Ok(1) }).await.unwrap().unwrap(), 1);
        sleep(Duration::from_millis(1)).await;
    });
}
