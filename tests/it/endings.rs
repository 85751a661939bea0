//! How a scheduler ends: `run`, `run_until`, `enter`, daemons, stragglers, shutdown.
#![allow(clippy::async_yields_async, reason = "handles outlive their scheduler here")]

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending},
    os::unix::net::UnixStream,
    pin::Pin,
    rc::Rc,
    sync::mpsc,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use asyncoro::{
    AsynCoro, AsyncSocket, BlockingSocket, Coro,
    coro::{Ended, Scheduler, current, yield_now},
    spawn,
    time::sleep,
};

use crate::{
    unsent_queues::ENDS,
    within::{Drops, block_on, logged, panic_of, within},
};

fn pair() -> (AsyncSocket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (AsyncSocket::new(ours).unwrap(), theirs)
}

#[test]
fn run_returns_when_its_future_and_all_coroutines_have_ended() {
    within(|| {
        let seen = RefCell::new(Vec::new());
        let done = Rc::new(Cell::new(0));
        let value = asyncoro::run(async {
            // The future may borrow; only coroutines must be 'static.
            seen.borrow_mut().push("future");
            for milliseconds in [3, 1, 2] {
                let done = Rc::clone(&done);
                drop(spawn(async move {
                    sleep(Duration::from_millis(milliseconds)).await;
                    drop(spawn(async move {
                        yield_now().await;
                        done.set(done.get() + 1);
                    }));
                }));
            }
            "value"
        });
        assert_eq!((value, done.get()), ("value", 3));
        assert_eq!(*seen.borrow(), ["future"]);
    });
}

#[test]
fn daemons_do_not_hold_run_and_are_ended_by_it() {
    within(|| {
        let drops = Drops::default();
        let daemon = asyncoro::run(async {
            let guard = drops.guard();
            spawn(async move {
                let _guard = guard;
                current().set_daemon(true);
                pending::<()>().await;
            })
        });
        assert_eq!(drops.count(), 1);
        assert!(matches!(daemon.value(), Err(Ended::Terminated(_))));
    });
}

#[test]
fn a_daemon_that_stops_being_one_holds_run_again() {
    within(|| {
        let done = Rc::new(Cell::new(false));
        asyncoro::run(async {
            let done = Rc::clone(&done);
            drop(spawn(async move {
                current().set_daemon(true);
                current().set_daemon(true);
                yield_now().await;
                current().set_daemon(false);
                sleep(Duration::from_millis(2)).await;
                done.set(true);
            }));
            sleep(Duration::from_millis(1)).await;
        });
        assert!(done.get());
    });
}

#[test]
fn a_panic_of_runs_own_future_comes_through_after_the_rest_was_terminated() {
    within(|| {
        let drops = Drops::default();
        let text = panic_of(|| {
            asyncoro::run(async {
                let guard = drops.guard();
                drop(spawn(async move {
                    let _guard = guard;
                    pending::<()>().await;
                }));
                yield_now().await;
                panic!("main is {}", "broken");
            })
        });
        assert_eq!(text, "main is broken");
        assert_eq!(drops.count(), 1);
        assert_eq!(asyncoro::run(async { 1 }), 1, "the thread can run another scheduler");
    });
}

#[test]
fn after_a_panic_of_runs_own_future_nobody_is_resumed() {
    within(|| {
        let (drops, resumed) = (Drops::default(), Rc::new(Cell::new(false)));
        panic_of(|| {
            asyncoro::run(async {
                let (guard, resumed) = (drops.guard(), Rc::clone(&resumed));
                drop(spawn(async move {
                    let _guard = guard;
                    resumed.set(true);
                }));
                panic!("with somebody ready");
            })
        });
        assert_eq!((drops.count(), resumed.get()), (1, false));
    });
}

#[test]
fn run_until_ends_with_its_future_and_terminates_the_rest() {
    within(|| {
        let drops = Drops::default();
        let (value, rest) = asyncoro::run_until(async {
            let guard = drops.guard();
            let rest: Coro<()> = spawn(async move {
                let _guard = guard;
                loop {
                    yield_now().await;
                }
            });
            yield_now().await;
            (7, rest)
        });
        assert_eq!((value, drops.count()), (7, 1));
        assert!(matches!(block_on(rest), Err(Ended::Terminated(_))));
    });
}

#[test]
fn a_scheduler_can_be_entered_again_and_again_and_keeps_what_was_left() {
    within(|| {
        let scheduler = Scheduler::new().unwrap();
        let count = Rc::new(Cell::new(0));
        let (socket, theirs) = pair();
        let reader = scheduler.enter(async {
            let count = Rc::clone(&count);
            drop(spawn(async move {
                loop {
                    count.set(count.get() + 1);
                    yield_now().await;
                }
            }));
            let socket = socket.clone();
            let reader = spawn(async move {
                let mut buffer = [0; 8];
                socket.recv(&mut buffer).await.unwrap()
            });
            yield_now().await;
            reader
        });
        assert_eq!((count.get(), scheduler.statistics().coroutines), (1, 2));
        BlockingSocket::new(theirs).unwrap().send_all(b"later").unwrap();
        for _ in 0..100 {
            scheduler.enter(async { yield_now().await });
        }
        assert!(count.get() > 50);
        assert_eq!(scheduler.enter(reader).unwrap(), 5);
        assert_eq!(scheduler.run_until(async { "last" }), "last");
        assert_eq!(scheduler.statistics().coroutines, 0);
        assert_eq!(scheduler.run(async { spawn(async { 2 }).await.unwrap() }), 2);
    });
}

#[test]
fn a_name_of_runs_own_future_does_not_stay_for_the_next_entry() {
    within(|| {
        let scheduler = Scheduler::new().unwrap();
        scheduler.enter(async { current().set_name("first") });
        scheduler.enter(async { assert_eq!(current().name(), None) });
    });
}

#[test]
fn a_dropped_scheduler_ends_what_was_left_also_inside_another_one() {
    within(|| {
        let drops = Drops::default();
        let leave = || {
            let scheduler = Scheduler::new().unwrap();
            let guard = drops.guard();
            let left = scheduler.enter(async move {
                spawn(async move {
                    let _guard = guard;
                    pending::<()>().await;
                })
            });
            (scheduler, left)
        };
        let (scheduler, left) = leave();
        drop(scheduler);
        assert_eq!(drops.count(), 1);
        assert!(matches!(left.value(), Err(Ended::Terminated(_))));

        let (scheduler, left) = leave();
        asyncoro::run(async {
            drop(scheduler);
            assert!(matches!(left.await, Err(Ended::Terminated(_))));
            sleep(Duration::from_millis(1)).await;
        });
        assert_eq!(drops.count(), 2);
    });
}

#[test]
fn stragglers_are_named_in_the_log_after_a_second_once() {
    within(|| {
        let log = logged(|| {
            asyncoro::run(async {
                for name in ["slow one", "slow two"] {
                    drop(spawn(async move {
                        current().set_name(name);
                        sleep(Duration::from_millis(1500)).await;
                    }));
                }
                drop(spawn(async {
                    current().set_name("quick");
                    sleep(Duration::from_millis(1)).await;
                }));
                drop(spawn(async {
                    current().set_name("a daemon");
                    current().set_daemon(true);
                    pending::<()>().await;
                }));
            });
        });
        assert_eq!(log.lines().count(), 1, "{log}");
        for part in ["2 coroutines", "slow one/", "slow two/"] {
            assert!(log.contains(part), "{part}: {log}");
        }
    });
}

#[test]
fn who_ends_in_time_is_not_named() {
    within(|| {
        let log = logged(|| {
            asyncoro::run(async {
                drop(spawn(sleep(Duration::from_millis(2))));
            });
        });
        assert_eq!(log, "");
    });
}

#[test]
fn futures_are_dropped_in_their_own_scheduler_when_it_ends() {
    within(|| {
        struct Witness(Rc<Cell<bool>>);
        impl Drop for Witness {
            fn drop(&mut self) {
                self.0.set(AsynCoro::current().statistics().spawned > 0);
            }
        }
        let right = Rc::new(Cell::new(false));
        asyncoro::run_until(async {
            let witness = Witness(Rc::clone(&right));
            drop(spawn(async move {
                let _witness = witness;
                pending::<()>().await;
            }));
            yield_now().await;
        });
        assert!(right.get());
    });
}

#[test]
fn what_a_drop_spawns_during_the_end_ends_at_once() {
    within(|| {
        struct Hydra(Rc<RefCell<Option<Coro<i32>>>>);
        impl Drop for Hydra {
            fn drop(&mut self) {
                *self.0.borrow_mut() = Some(spawn(async { 1 }));
            }
        }
        let head = Rc::default();
        asyncoro::run_until(async {
            let hydra = Hydra(Rc::clone(&head));
            drop(spawn(async move {
                let _hydra = hydra;
                pending::<()>().await;
            }));
            yield_now().await;
        });
        let head = head.take().unwrap();
        assert!(matches!(head.value(), Err(Ended::Terminated(_))));
    });
}

#[test]
fn a_future_that_panics_in_its_drop_does_not_stop_the_end() {
    within(|| {
        struct Bad;
        impl Drop for Bad {
            fn drop(&mut self) {
                panic!("in drop");
            }
        }
        let drops = Drops::default();
        let log = logged(|| {
            asyncoro::run_until(async {
                for _ in 0..3 {
                    let (bad, guard) = (Bad, drops.guard());
                    drop(spawn(async move {
                        let _bad = bad;
                        let _guard = guard;
                        pending::<()>().await;
                    }));
                }
                yield_now().await;
            });
        });
        assert_eq!(drops.count(), 3);
        assert_eq!(log.matches("in drop").count(), 3, "{log}");
    });
}

#[test]
fn a_coroutine_that_wakes_itself_in_its_drop_does_not_stop_the_end() {
    within(|| {
        struct Restless(Option<std::task::Waker>);
        impl Future for Restless {
            type Output = ();
            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
                self.0 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
        impl Drop for Restless {
            fn drop(&mut self) {
                self.0.take().into_iter().for_each(std::task::Waker::wake);
            }
        }
        asyncoro::run_until(async {
            (0..100).for_each(|_| drop(spawn(Restless(None))));
            yield_now().await;
        });
    });
}

#[test]
fn messages_queued_at_the_end_are_sent() {
    within(|| {
        let (socket, theirs) = pair();
        let reader = thread::spawn(move || {
            let theirs = BlockingSocket::new(theirs).unwrap();
            let mut lengths = Vec::new();
            while let Some(message) = theirs.recv_msg().unwrap() {
                lengths.push(message.len());
            }
            lengths
        });
        asyncoro::run_until(async move {
            for _ in 0..10 {
                socket.send_msg(&[7; 5000]).await.unwrap();
            }
            drop(spawn(async move {
                let _keeps = socket;
                pending::<()>().await;
            }));
        });
        assert_eq!(reader.join().unwrap(), [5000; 10]);
    });
}

#[test]
fn the_end_waits_for_a_peer_that_does_not_read_only_as_long_as_set() {
    within(|| {
        let (socket, theirs) = pair();
        let log = logged(|| {
            let builder = AsynCoro::builder().drain(Duration::from_millis(5));
            let scheduler = builder.build().unwrap();
            scheduler.run(async {
                let full = async {
                    loop {
                        socket.send_queued(&[7; 10_000]).await.unwrap();
                    }
                };
                asyncoro::time::timeout(Duration::from_millis(5), full).await.unwrap_err();
            });
        });
        assert!(log.contains("WARN"), "what was lost is logged: {log}");
        drop((socket, theirs));
    });
}

#[test]
fn shutdown_while_everything_waits_ends_everything_1000_times() {
    within(|| {
        for round in 0..1000 {
            let drops = Drops::default();
            let guards: Vec<_> = (0..4).map(|_| drops.guard()).collect();
            let handles = asyncoro::run_until(async move {
                let [one, two, three, four] = guards.try_into().unwrap_or_else(|_| panic!());
                let (socket, theirs) = pair();
                let reader = spawn(async move {
                    let _kept = (one, theirs);
                    drop(socket.recv(&mut [0; 8]).await);
                });
                let sleeper = spawn(async move {
                    let _kept = two;
                    sleep(Duration::from_secs(1000)).await;
                });
                let joiner = spawn(async move {
                    let _kept = three;
                    drop(sleeper.await);
                });
                let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
                let acceptor = spawn(async move {
                    let _kept = four;
                    drop(server.accept().await);
                });
                for _ in 0..round % 3 {
                    yield_now().await;
                }
                [reader, joiner, acceptor]
            });
            assert_eq!(drops.count(), 4);
            assert!(handles.iter().all(Coro::is_finished));
        }
    });
}

/// Queues more than the system's buffers hold.
async fn fill(socket: &AsyncSocket) {
    let chunk = bytes::Bytes::from(vec![7; 60_000]);
    while socket.try_send_msg(&chunk).is_ok() {
        yield_now().await;
    }
}

#[test]
fn times_without_end_are_taken_as_such() {
    for end in ENDS {
        within(move || {
            println!("{end:?}");
            let builder = AsynCoro::builder;
            end.of(builder().linger(Duration::MAX), || async {
                let (near, far) = pair();
                fill(&near).await;
                sleep(Duration::from_millis(5)).await;
                drop((near, far));
            });
            end.of(builder().drain(Duration::MAX), || async {
                let (near, far) = pair();
                fill(&near).await;
                drop(far);
            });
            end.of(builder().spin(Duration::MAX), || async {
                for _ in 0..20 {
                    sleep(Duration::from_micros(100)).await;
                }
            });
        });
    }
    // Each lasts, whatever the way to end: the peer begins to read late.
    for end in ENDS {
        within(move || {
            println!("{end:?}");
            let (near, far) = UnixStream::pair().unwrap();
            let reader = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                let far = BlockingSocket::new(far).unwrap();
                far.recv_msg().unwrap().unwrap().len()
            });
            let builder = AsynCoro::builder().linger(Duration::MAX).drain(Duration::MAX);
            end.of(builder, || async move {
                let near = AsyncSocket::new(near).unwrap();
                near.try_send_msg(&vec![7; 1 << 20].into()).unwrap();
            });
            assert_eq!(reader.join().unwrap(), 1 << 20);
        });
    }
}

/// Returns the processor time of this thread.
fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Reports its thread's processor time since it was made, when it is dropped at the thread's end.
struct Work {
    before: Duration,
    tell: mpsc::Sender<Duration>,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.tell.send(worked() - self.before).unwrap();
    }
}

thread_local! {
    static WORK: RefCell<Option<Work>> = const { RefCell::new(None) };
}

#[test]
fn a_drain_sleeps_whatever_other_threads_send_and_ends_what_they_start() {
    // Each takes the second that a drain lasts.
    let threads = ENDS.map(|end| {
        let drains = move || {
            let (near, far) = UnixStream::pair().unwrap();
            let (tell, told) = mpsc::channel::<AsynCoro>();
            let other = thread::spawn(move || {
                let handle = told.recv().unwrap();
                thread::sleep(Duration::from_millis(100));
                handle.join();
                handle.spawn(|| async {})
            });
            let (tell_work, work) = mpsc::channel();
            // The end is in a thread of its own, or in that of the scheduler.
            let ended = thread::spawn(move || {
                end.of(AsynCoro::builder(), move || async move {
                    let near = AsyncSocket::new(near).unwrap();
                    fill(&near).await;
                    let keeping = near.clone();
                    drop(spawn(async move {
                        current().set_daemon(true);
                        let _near = keeping;
                        pending::<()>().await;
                    }));
                    yield_now().await;
                    WORK.set(Some(Work { before: worked(), tell: tell_work }));
                    tell.send(AsynCoro::current()).unwrap();
                });
            });
            ended.join().unwrap();
            let used = work.recv().unwrap();
            assert!(used < Duration::from_millis(400), "{used:?} of a second spent spinning");
            let started = other.join().unwrap();
            assert!(matches!(started.value(), Err(Ended::Terminated(_))), "{end:?}");
            drop(far);
        };
        thread::spawn(move || within(drains))
    });
    for (thread, end) in threads.into_iter().zip(ENDS) {
        println!("{end:?}");
        thread.join().unwrap();
    }
}
