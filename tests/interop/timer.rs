//! hyper's timer: sleeps on the scheduler, moved and dropped on other threads.

use std::{
    future::poll_fn,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use asyncoro::{AsynCoro, interop::Timer};
use hyper::rt::Timer as _;

use crate::pairs::run;

#[test]
fn a_sleep_takes_its_time_and_a_reset_changes_it() {
    run(async {
        let before = Instant::now();
        Timer.sleep(Duration::from_millis(5)).await;
        assert!(before.elapsed() >= Duration::from_millis(5));
        let mut sleep = Timer.sleep(Duration::from_secs(3600));
        assert!(poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx))).await.is_pending());
        Timer.reset(&mut sleep, Instant::now() + Duration::from_millis(5));
        let before = Instant::now();
        sleep.await;
        assert!(before.elapsed() < Duration::from_secs(60));
        Timer.sleep_until(before).await;
        let mut never = Timer.sleep(Duration::MAX);
        assert!(poll_fn(|cx| Poll::Ready(never.as_mut().poll(cx))).await.is_pending());
    });
}

#[test]
fn a_sleep_goes_on_on_another_thread_and_may_be_dropped_there() {
    let scheduler = AsynCoro::start().unwrap();
    let begun = scheduler.spawn(|| async {
        let mut sleeps =
            [1, 3600].map(|seconds| Timer.sleep(Duration::from_millis(1000 * seconds)));
        for sleep in &mut sleeps {
            assert!(poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx))).await.is_pending());
        }
        sleeps
    });
    let [mut short, long] = begun.value().unwrap();
    thread::spawn(move || drop(long)).join().unwrap();
    asyncoro::run(async {
        Timer.reset(&mut short, Instant::now() + Duration::from_millis(5));
        short.await;
    });
    let timers = scheduler.spawn(|| async { AsynCoro::current().statistics().timers });
    assert_eq!(timers.value().unwrap(), 0, "the dropped ones are disarmed at home");
    scheduler.join();
}
