//! Monitors: how a coroutine has ended, for those who do not take its value.

use std::{
    future::{pending, ready},
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use asyncoro::{
    AsynCoro, Coro,
    coro::{Ended, Exit, How, Scheduler, current, yield_now},
    run, run_until, spawn,
    sync::mailbox,
};

use crate::within::{block_on, logged, poll_once, run_within, within};

/// Returns coroutines that end in each way, by name.
fn each_way() -> [(Coro<io::Result<u8>>, How); 4] {
    let forever = spawn(pending());
    forever.terminate();
    [
        (spawn(async { Ok(7) }), How::Value),
        (spawn(async { Err(io::Error::other("no")) }), How::Error("no".to_owned())),
        (spawn(async { panic!("why") }), How::Panicked("why".to_owned())),
        (forever, How::Terminated),
    ]
}

#[test]
fn a_monitor_tells_each_end_and_leaves_the_value() {
    run_within(|| async {
        for early in [true, false] {
            for (mut coro, how) in each_way() {
                while !early && !coro.is_finished() {
                    yield_now().await;
                }
                let (one, other) = (coro.monitor(), coro.monitor());
                assert_eq!(one.try_exit().is_some(), coro.is_finished());
                let exit = one.clone().await;
                assert_eq!(*exit.how(), how);
                assert_eq!(exit.origin().spawned_at().file(), file!());
                assert_eq!((one.await, other.await), (exit.clone(), exit));
                match (coro.await, how) {
                    (Ok(Ok(7)), How::Value)
                    | (Ok(Err(_)), How::Error(_))
                    | (Err(Ended::Terminated(_)), How::Terminated) => {}
                    (Err(Ended::Panicked(payload, _)), How::Panicked(_)) => {
                        assert_eq!(*payload.downcast::<&str>().unwrap(), "why");
                    }
                    (result, how) => panic!("{result:?} {how:?}"),
                }
            }
        }
    });
}

#[test]
fn whoever_is_told_finds_that_it_has_ended() {
    run_within(|| async {
        let mut coro = spawn(yield_now());
        let monitor = coro.monitor();
        assert!(monitor.await.is_well() && coro.is_finished());
        (&mut coro).await.unwrap();
        // The value is gone, and what kind it was.
        assert_eq!(*coro.monitor().await.how(), How::Taken);
    });
}

#[test]
fn a_monitor_outlives_the_handle_and_the_scheduler() {
    within(|| {
        let log = logged(|| {
            let mut monitors = Vec::new();
            run_until(async {
                for (mut coro, how) in each_way() {
                    monitors.push((coro.monitor(), how));
                }
            });
            for (monitor, how) in monitors {
                // What had not begun was terminated.
                let exit = monitor.try_exit().unwrap();
                assert!(*exit.how() == how || *exit.how() == How::Terminated, "{exit}");
            }
            run(async {
                let mut coro: Coro<()> = spawn(async { panic!("unseen") });
                let monitor = coro.monitor();
                drop(coro);
                assert_eq!(*monitor.await.how(), How::Panicked("unseen".to_owned()));
            });
        });
        assert_eq!(log.matches(" panicked: unseen").count(), 1, "a monitor takes no log: {log}");
    });
}

#[test]
fn a_name_is_told_and_kept_for_the_handle() {
    run_within(|| async {
        for ends in [true, false] {
            let mut coro: Coro<()> = spawn(async move {
                current().set_name("worker");
                if !ends {
                    pending::<()>().await;
                }
                panic!("why");
            });
            yield_now().await;
            let monitor = coro.monitor();
            coro.terminate();
            let exit = monitor.await;
            assert_eq!(exit.origin().name(), Some("worker"));
            let text = exit.to_string();
            assert!(text.starts_with("worker (spawned at tests/it/monitor.rs:"), "{text}");
            let ended = coro.await.unwrap_err();
            assert_eq!((ended.origin(), ended.to_string()), (exit.origin(), text));
        }
    });
}

#[test]
fn a_waiting_handle_and_monitors_are_both_woken() {
    run_within(|| async {
        for handle_first in [true, false] {
            let mut coro = spawn(async {
                yield_now().await;
                5
            });
            if handle_first {
                assert!(poll_once(pin!(&mut coro)).is_pending());
            }
            let monitors: Vec<_> = (0..10).map(|_| spawn(coro.monitor())).collect();
            assert_eq!(coro.await.unwrap(), 5);
            for told in monitors {
                assert!(told.await.unwrap().is_well());
            }
        }
    });
}

#[test]
fn a_dropped_monitor_is_forgotten() {
    run_within(|| async {
        let mut coro = spawn(pending::<()>());
        let told = Arc::new(AtomicUsize::new(0));
        for _ in 0..10_000 {
            drop(coro.monitor());
        }
        let counter = Arc::clone(&told);
        coro.when_ended(move |result| {
            assert!(result.is_err());
            counter.fetch_add(1, Ordering::Relaxed);
        });
        coro.terminate();
        coro.await.unwrap_err();
        assert_eq!(told.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_mailbox_is_told_with_the_value_by_reference() {
    run_within(|| async {
        struct Unclonable(u8);
        let (sender, receiver) = mailbox(4);
        let mut coro = spawn(async { Unclonable(3) });
        coro.when_ended(move |value| sender.try_send(value.map(|it| it.0).ok()).unwrap());
        assert_eq!(receiver.receive().await.unwrap(), Some(3));
        assert_eq!(coro.await.unwrap().0, 3);
    });
}

#[test]
fn a_panic_of_what_watches_harms_nobody() {
    within(|| {
        let log = logged(|| {
            run(async {
                let mut coro = spawn(async { 1 });
                coro.when_ended(|_| panic!("bad eyes"));
                let monitor = coro.monitor();
                assert!(monitor.await.is_well());
                coro.when_ended(|_| panic!("worse eyes"));
                assert_eq!(coro.await.unwrap(), 1);
            });
        });
        assert!(log.contains("what watches a coroutine panicked: bad eyes"), "{log}");
        assert!(log.contains("what watches a coroutine panicked: worse eyes"), "{log}");
    });
}

#[test]
fn monitors_from_other_threads_miss_no_end_1000_times() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        for round in 0..1000 {
            let mut coro = scheduler.spawn(move || async move {
                for _ in 0..round % 5 {
                    yield_now().await;
                }
                String::from("a value")
            });
            let watcher = thread::spawn(move || {
                let told: Vec<Exit> = (0..3).map(|_| block_on(coro.monitor())).collect();
                let late = coro.monitor();
                if round % 2 == 0 {
                    drop(coro);
                } else {
                    assert_eq!(coro.value().unwrap(), "a value");
                }
                assert_eq!(block_on(late), told[0]);
                assert!(told.iter().all(Exit::is_well));
            });
            watcher.join().unwrap();
        }
        scheduler.terminate();
        let mut refused = scheduler.spawn(|| ready(1));
        assert_eq!(*block_on(refused.monitor()).how(), How::Terminated);
    });
}

#[test]
fn a_monitor_races_with_the_end_and_with_the_drop_of_the_handle_1000_times() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        for round in 0..1000 {
            let mut coro = scheduler.spawn(|| async { vec![1, 2, 3] });
            let monitor = coro.monitor();
            for _ in 0..round % 7 {
                std::hint::spin_loop();
            }
            let second = coro.monitor();
            let handle = thread::spawn(move || drop(coro));
            assert_eq!(block_on(monitor), block_on(second));
            handle.join().unwrap();
        }
        scheduler.terminate();
    });
}

#[test]
fn an_error_that_cannot_be_displayed_is_a_value() {
    within(|| {
        Scheduler::new().unwrap().run(async {
            struct Silent;
            let mut coro = spawn(async { Err::<(), _>(Silent) });
            assert!(coro.monitor().await.is_well());
            assert!(coro.await.unwrap().is_err());
        });
    });
}
