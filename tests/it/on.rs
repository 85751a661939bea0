//! `on`: a coroutine of a scheduler, awaited from anywhere.

use std::{
    cell::Cell,
    future::{pending, poll_fn, ready},
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    thread,
};

use asyncoro::{
    AsynCoro,
    coro::{Ended, Scheduler, yield_now},
    on, spawn,
};

use crate::within::{Drops, Foreign, assert_told, block_on, poll_once, run_within, within};

/// Runs a coroutine that holds what is not `Send`, and returns its value and its thread's name.
async fn work(scheduler: &AsynCoro, number: u32) -> Result<(u32, Option<String>), Ended> {
    let name = || thread::current().name().map(str::to_owned);
    on(scheduler, move || {
        let local = Rc::new(Cell::new(number));
        async move {
            yield_now().await;
            local.set(local.get() + 1);
            (local.get(), name())
        }
    })
    .await
}

#[test]
fn any_executor_awaits_a_coroutine_of_a_scheduler() {
    within(|| {
        let scheduler = AsynCoro::builder().name("its own").start().unwrap();
        let expected = |number| (number, Some("its own".to_owned()));
        assert_eq!(block_on(work(&scheduler, 1)).unwrap(), expected(2));
        assert_eq!(asyncoro::run(work(&scheduler, 2)).unwrap(), expected(3));
        let same = scheduler.clone();
        let value = scheduler.spawn(move || async move { work(&same, 3).await.unwrap() });
        assert_eq!(value.value().unwrap(), expected(4));
    });
}

#[test]
fn a_future_of_on_is_send_and_moves_between_threads_while_it_waits() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let (give, take) = mpsc::channel::<Waker>();
        let mut future = on(&scheduler, move || {
            let mut is_first = true;
            poll_fn(move |cx| {
                if std::mem::take(&mut is_first) {
                    give.send(cx.waker().clone()).unwrap();
                    return Poll::Pending;
                }
                Poll::Ready("woken")
            })
        });
        assert!(poll_once(std::pin::Pin::new(&mut future)).is_pending());
        let waker = take.recv().unwrap();
        let other = thread::spawn(move || block_on(future).unwrap());
        waker.wake();
        assert_eq!(other.join().unwrap(), "woken");
    });
}

#[test]
fn on_wakes_the_waker_of_its_executor_once_when_the_coroutine_ends() {
    run_within(|| async {
        let scheduler = AsynCoro::start().unwrap();
        for number in 0..1000 {
            let foreign = Foreign::new();
            let mut future = pin!(on(&scheduler, move || ready(number)));
            let value = poll_fn(|cx| foreign.poll(future.as_mut(), cx)).await;
            assert_eq!(value.unwrap(), number);
            assert!(foreign.wakes() <= 1);
        }
    });
}

#[test]
fn dropping_the_future_of_on_ends_the_coroutine() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let drops = Drops::default();
        let (guard, (tell, told)) = (drops.guard(), mpsc::channel());
        let mut future = on(&scheduler, move || async move {
            let _guard = guard;
            tell.send(()).unwrap();
            pending::<()>().await;
        });
        assert!(poll_once(std::pin::Pin::new(&mut future)).is_pending());
        told.recv().unwrap();
        assert_eq!(drops.count(), 0);
        drop(future);
        scheduler.join();
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn a_coroutine_of_on_that_was_dropped_before_its_start_never_runs() {
    run_within(|| async {
        let made = Arc::new(AtomicBool::new(false));
        let (inner, drops) = (Arc::clone(&made), Drops::default());
        let guard = drops.guard();
        drop(on(&AsynCoro::current(), move || {
            inner.store(true, Ordering::SeqCst);
            async move { drop(guard) }
        }));
        while drops.count() == 0 {
            yield_now().await;
        }
        assert!(!made.load(Ordering::SeqCst));
    });
}

#[test]
fn on_tells_of_a_panic_and_of_the_end_of_the_scheduler() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let panicked = block_on(on(&scheduler, || async { panic!("over there") }));
        assert_told(&panicked.unwrap_err().to_string(), " panicked: over there");
        let waiting = on(&scheduler, pending::<()>);
        scheduler.terminate();
        assert!(matches!(block_on(waiting), Err(Ended::Terminated(_))));
        assert!(matches!(block_on(on(&scheduler, || ready(1))), Err(Ended::Terminated(_))));
        // One that never runs again.
        let scheduler = Scheduler::new().unwrap();
        let waiting = on(&scheduler.handle(), || ready(1));
        drop(scheduler);
        assert!(matches!(block_on(waiting), Err(Ended::Terminated(_))));
    });
}

#[test]
fn a_terminated_coroutine_takes_its_on_with_it() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let drops = Drops::default();
        let guard = drops.guard();
        let there = scheduler.clone();
        asyncoro::run(async move {
            let (tell, told) = mpsc::channel();
            let asking = spawn(async move {
                on(&there, move || async move {
                    let _guard = guard;
                    tell.send(()).unwrap();
                    pending::<()>().await;
                })
                .await
            });
            while told.try_recv().is_err() {
                yield_now().await;
            }
            asking.terminate();
            assert!(matches!(asking.await, Err(Ended::Terminated(_))));
        });
        scheduler.join();
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn two_schedulers_run_coroutines_on_each_other_1000_times() {
    within(|| {
        let (one, two) = (AsynCoro::start().unwrap(), AsynCoro::start().unwrap());
        let (back, forth) = (one.clone(), two.clone());
        let sum = one.spawn(move || async move {
            let mut sum = 0;
            for _ in 0..1000 {
                let back = back.clone();
                let there =
                    on(&forth, move || async move { on(&back, || ready(1)).await.unwrap() });
                sum += there.await.unwrap();
            }
            sum
        });
        assert_eq!(sum.value().unwrap(), 1000);
    });
}
