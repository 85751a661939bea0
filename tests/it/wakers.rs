//! A wait wakes the waker that it was polled with; old wakers and forgotten futures do no harm.
#![allow(clippy::async_yields_async, reason = "waits are handed over unfinished here")]

use std::{
    future::{Future, pending, poll_fn},
    mem,
    os::unix::net::UnixStream,
    pin::{Pin, pin},
    sync::{Arc, mpsc},
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use asyncoro::{
    AsynCoro, AsyncSocket,
    coro::{Scheduler, yield_now},
    spawn,
    time::{sleep, timeout},
};

use crate::within::{Foreign, poll_once, run_within, within};

const LONG: Duration = Duration::from_secs(1000);

type Branch = Pin<Box<dyn Future<Output = ()>>>;

fn pair() -> (AsyncSocket, AsyncSocket) {
    let (one, two) = UnixStream::pair().unwrap();
    (AsyncSocket::new(one).unwrap(), AsyncSocket::new(two).unwrap())
}

fn resumes() -> u64 {
    AsynCoro::current().statistics().resumes
}

/// Awaits all branches as `FuturesUnordered` does: each has its own waker, and only woken ones are
/// polled again. Returns the number of polls of each.
async fn join_all(branches: Vec<Branch>) -> Vec<usize> {
    struct Arm {
        branch: Option<Branch>,
        waker: Arc<Foreign>,
        wakes_seen: usize,
        polls: usize,
    }
    let arm = |branch| Arm { branch: Some(branch), waker: Foreign::new(), wakes_seen: 0, polls: 0 };
    let mut arms: Vec<Arm> = branches.into_iter().map(arm).collect();
    poll_fn(|cx| {
        for arm in &mut arms {
            let Some(branch) = &mut arm.branch else { continue };
            arm.waker.pass_on_to(cx);
            let wakes = arm.waker.wakes();
            if arm.polls > 0 && arm.wakes_seen == wakes {
                continue;
            }
            arm.wakes_seen = wakes;
            arm.polls += 1;
            if arm.waker.poll(branch.as_mut(), cx).is_ready() {
                arm.branch = None;
            }
        }
        let over = arms.iter().all(|arm| arm.branch.is_none());
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    arms.iter().map(|arm| arm.polls).collect()
}

/// Returns which of two is ready first, each polled with its own waker.
async fn select(mut one: Branch, mut two: Branch) -> &'static str {
    let (first, second) = (Foreign::new(), Foreign::new());
    poll_fn(|cx| {
        if first.poll(one.as_mut(), cx).is_ready() {
            return Poll::Ready("one");
        }
        second.poll(two.as_mut(), cx).map(|()| "two")
    })
    .await
}

#[test]
fn a_join_with_wakers_of_its_own_polls_only_who_was_woken() {
    run_within(|| async {
        let (one, two) = pair();
        let (reader, writer) = pair();
        let value = spawn(async {
            sleep(Duration::from_millis(3)).await;
            1
        });
        let (give, take) = mpsc::channel::<Waker>();
        let waking = thread::spawn(move || take.recv().unwrap().wake());
        let mut asked = false;
        let full = vec![7; 4 << 20];
        let expected = full.len();
        let branches: Vec<Branch> = vec![
            Box::pin(async move { assert_eq!(one.recv(&mut [0; 8]).await.unwrap(), 4) }),
            Box::pin(async move {
                sleep(Duration::from_millis(2)).await;
                two.send_all(b"data").await.unwrap();
            }),
            Box::pin(async move { assert_eq!(value.await.unwrap(), 1) }),
            Box::pin(async {
                timeout(Duration::from_millis(1), pending::<()>()).await.unwrap_err();
            }),
            Box::pin(poll_fn(move |cx| {
                if mem::replace(&mut asked, true) {
                    return Poll::Ready(());
                }
                give.send(cx.waker().clone()).unwrap();
                Poll::Pending
            })),
            Box::pin(yield_now()),
            Box::pin(async move { writer.send_all(&full).await.unwrap() }),
            Box::pin(async move { reader.recv_all(&mut vec![0; expected]).await.unwrap() }),
        ];
        let polls = join_all(branches).await;
        assert!(polls[..6].iter().all(|polls| *polls == 2), "{polls:?}");
        waking.join().unwrap();
    });
}

#[test]
fn a_select_with_wakers_of_its_own_is_woken_by_either_branch_1000_times() {
    run_within(|| async {
        let (one, two) = pair();
        for round in 0..1000 {
            let (reader, writer) = (one.clone(), two.clone());
            let recv = Box::pin(async move { assert!(reader.recv(&mut [0; 8]).await.is_ok()) });
            if round % 2 == 0 {
                let coro = Box::pin(async { spawn(yield_now()).await.unwrap() });
                assert_eq!(select(recv, coro).await, "two");
            } else {
                let send = spawn(async move { writer.send_all(b"x").await.unwrap() });
                assert_eq!(select(recv, Box::pin(sleep(LONG))).await, "one");
                send.await.unwrap();
            }
        }
        assert_eq!(AsynCoro::current().statistics().timers, 0);
    });
}

#[test]
fn a_wait_that_is_polled_again_with_another_waker_wakes_only_the_last() {
    run_within(|| async {
        let (one, two) = pair();
        let value = spawn(async {
            sleep(Duration::from_millis(2)).await;
            3
        });
        let mut waits: Vec<Branch> = vec![
            Box::pin(async move { assert!(one.recv(&mut [0; 8]).await.is_ok()) }),
            Box::pin(sleep(Duration::from_millis(2))),
            Box::pin(async move { assert_eq!(value.await.unwrap(), 3) }),
        ];
        let mut foreigners = Vec::new();
        for wait in &mut waits {
            let (old, new) = (Foreign::new(), Foreign::new());
            poll_fn(|cx| {
                assert!(old.poll(wait.as_mut(), cx).is_pending());
                assert!(new.poll(wait.as_mut(), cx).is_pending());
                Poll::Ready(())
            })
            .await;
            foreigners.push((old, new));
        }
        two.send_all(b"x").await.unwrap();
        poll_fn(|cx| {
            foreigners.iter().for_each(|(_, new)| new.pass_on_to(cx));
            let all = foreigners.iter().all(|(_, new)| new.wakes() > 0);
            if all { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert!(foreigners.iter().all(|(old, new)| (old.wakes(), new.wakes()) == (0, 1)));
        for wait in &mut waits {
            assert!(poll_once(wait.as_mut()).is_ready());
        }
    });
}

#[test]
fn a_wait_moves_from_one_coroutine_to_another() {
    run_within(|| async {
        let (one, two) = pair();
        let mut recv: Branch = Box::pin(async move {
            assert_eq!(one.recv(&mut [0; 8]).await.unwrap(), 5);
        });
        let recv = spawn(async move {
            assert!(poll_fn(|cx| Poll::Ready(recv.as_mut().poll(cx))).await.is_pending());
            recv
        });
        let recv = recv.await.unwrap();
        let moved = spawn(recv);
        yield_now().await;
        two.send_all(b"moved").await.unwrap();
        moved.await.unwrap();
    });
}

#[test]
fn a_waker_wakes_once_however_often_it_is_cloned_and_called() {
    run_within(|| async {
        let mut kept = None;
        let coro = spawn(async move {
            let mut polls = 0;
            poll_fn(|cx| {
                polls += 1;
                if polls == 1 {
                    kept = Some(cx.waker().clone());
                    let all: Vec<Waker> = (0..100).map(|_| cx.waker().clone()).collect();
                    all.iter().for_each(Waker::wake_by_ref);
                    all.into_iter().for_each(Waker::wake);
                    return Poll::Pending;
                }
                Poll::Ready(polls)
            })
            .await
        });
        assert_eq!(coro.await.unwrap(), 2);
    });
}

/// Returns wakers of ended coroutines whose places others have taken.
async fn stale_wakers() -> Vec<Waker> {
    let wakers: Vec<_> =
        (0..10).map(|_| spawn(poll_fn(|cx| Poll::Ready(cx.waker().clone())))).collect();
    let mut stale = Vec::new();
    for waker in wakers {
        stale.push(waker.await.unwrap());
    }
    stale
}

#[test]
fn a_stale_waker_wakes_nobody_here() {
    run_within(|| async {
        let stale = stale_wakers().await;
        let strangers: Vec<_> = stale.iter().map(|_| spawn(pending::<()>())).collect();
        yield_now().await;
        let before = resumes();
        stale.iter().for_each(Waker::wake_by_ref);
        yield_now().await;
        assert_eq!(resumes() - before, 1, "only this one was resumed");
        strangers.iter().for_each(asyncoro::Coro::terminate);
    });
}

#[test]
fn a_stale_waker_wakes_nobody_from_another_thread() {
    run_within(|| async {
        let stale = stale_wakers().await;
        let strangers: Vec<_> = stale.iter().map(|_| spawn(pending::<()>())).collect();
        yield_now().await;
        let before = resumes();
        let handle = AsynCoro::current();
        let waking = thread::spawn(move || {
            stale.into_iter().for_each(Waker::wake);
            handle.spawn(|| async {})
        });
        waking.join().unwrap().await.unwrap();
        assert_eq!(resumes() - before, 2, "only this one and the one it waits for");
        strangers.iter().for_each(asyncoro::Coro::terminate);
    });
}

#[test]
fn stale_and_fresh_wakers_of_one_place_from_other_threads_lose_no_wake_1000_times() {
    run_within(|| async {
        let (give, take) = mpsc::channel::<(Waker, Waker)>();
        let waking = thread::spawn(move || {
            for (stale, fresh) in take {
                stale.wake();
                fresh.wake();
            }
        });
        for _ in 0..1000 {
            let stale = stale_wakers().await.swap_remove(0);
            let give = give.clone();
            let mut asked = false;
            let coro = spawn(poll_fn(move |cx| {
                if mem::replace(&mut asked, true) {
                    return Poll::Ready(());
                }
                give.send((stale.clone(), cx.waker().clone())).unwrap();
                Poll::Pending
            }));
            coro.await.unwrap();
        }
        drop(give);
        waking.join().unwrap();
    });
}

#[test]
fn a_wake_between_two_entries_is_kept() {
    within(|| {
        let scheduler = Scheduler::new().unwrap();
        let (give, take) = mpsc::channel::<Waker>();
        let coro = scheduler.enter(async {
            let mut asked = false;
            let coro = spawn(poll_fn(move |cx| {
                if mem::replace(&mut asked, true) {
                    return Poll::Ready(());
                }
                give.send(cx.waker().clone()).unwrap();
                Poll::Pending
            }));
            yield_now().await;
            coro
        });
        take.recv().unwrap().wake();
        scheduler.enter(coro).unwrap();
    });
}

#[test]
fn a_forgotten_wait_does_no_harm() {
    run_within(|| async {
        for _ in 0..1000 {
            let (one, two) = pair();
            let (blocked, inner) = (one.clone(), one.clone());
            let mut forgotten: Branch =
                Box::pin(async move { drop(inner.recv(&mut [0; 8]).await) });
            assert!(poll_fn(|cx| Poll::Ready(forgotten.as_mut().poll(cx))).await.is_pending());
            mem::forget(forgotten);
            two.send_all(b"data").await.unwrap();
            // It keeps its turn until the socket closes, and then nobody hangs.
            let next = spawn(async move { blocked.recv(&mut [0; 8]).await });
            yield_now().await;
            assert!(!next.is_finished());
            one.close().await.unwrap();
            next.await.unwrap().unwrap_err();
        }
    });
}

#[test]
fn a_forgotten_handle_that_was_polled_does_no_harm() {
    run_within(|| async {
        for _ in 0..1000 {
            let mut forgotten = Box::pin(spawn(yield_now()));
            let waker = Foreign::new();
            let polled = poll_fn(|cx| Poll::Ready(waker.poll(forgotten.as_mut(), cx))).await;
            assert!(polled.is_pending());
            mem::forget(forgotten);
            yield_now().await;
            yield_now().await;
            assert_eq!(waker.wakes(), 1);
        }
    });
}

#[test]
fn dropping_a_waker_or_a_future_may_spawn_and_wake() {
    run_within(|| async {
        /// Spawns and wakes when it is dropped, which panics if the scheduler's state is borrowed.
        struct Busy;
        impl Drop for Busy {
            fn drop(&mut self) {
                drop(spawn(async {
                    sleep(Duration::from_micros(10)).await;
                }));
                let mut sleep = pin!(sleep(LONG));
                assert!(poll_once(sleep.as_mut()).is_pending());
            }
        }
        impl std::task::Wake for Busy {
            fn wake(self: Arc<Self>) {}
        }
        let (one, two) = pair();
        let value = spawn(pending::<()>());
        let waits: Vec<Branch> = vec![
            Box::pin(sleep(Duration::from_millis(1))),
            Box::pin(sleep(LONG)),
            Box::pin(async move { drop(value.await) }),
            Box::pin({
                let one = one.clone();
                async move { drop(one.recv(&mut [0; 8]).await) }
            }),
            Box::pin({
                let one = one.clone();
                async move { drop(one.recv(&mut [0; 8]).await) }
            }),
        ];
        let mut waits = waits;
        for _ in 0..2 {
            for wait in &mut waits {
                let waker = Waker::from(Arc::new(Busy));
                let mut cx = std::task::Context::from_waker(&waker);
                assert!(wait.as_mut().poll(&mut cx).is_pending());
            }
        }
        two.send_all(b"x").await.unwrap();
        sleep(Duration::from_millis(3)).await;
        drop(waits);
        let busy = Busy;
        let coro = spawn(async move {
            let _busy = busy;
            pending::<()>().await;
        });
        yield_now().await;
        coro.terminate();
        coro.await.unwrap_err();
        let handle = AsynCoro::current();
        thread::spawn(move || handle.terminate());
    });
}
