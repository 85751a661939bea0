//! The locks of `sync`, each test for both forms: that of one thread and that of all.

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use asyncoro::{
    coro::{self, Coros, yield_now},
    future::race,
    spawn,
    sync::{AcquireError, TryAcquireError},
    time::{sleep, timeout},
};

use crate::{
    forms::{poll, poll_with, settle},
    within::{Drops, Foreign, block_on, run_within, within},
};

/// Makes each test twice.
macro_rules! each_form {
    ($($tests:tt)*) => {
        mod one_thread {
            use std::rc::Rc as Pointer;

            use asyncoro::sync::local::*;

            use super::*;

            $($tests)*
        }

        #[allow(clippy::arc_with_non_send_sync, reason = "the tests are those of one thread")]
        mod threads {
            use std::sync::Arc as Pointer;

            use asyncoro::sync::{
                Barrier, Condition, Event, Lock, OnceCell, RwLock, RwLockWriteGuard, Semaphore,
                LockGuard,
            };

            use super::*;

            $($tests)*
        }
    };
}

each_form! {
    // ---- Lock

    #[test]
    fn a_lock_is_given_to_those_who_wait_first_come_first_served() {
        run_within(|| async {
            let lock = Pointer::new(Lock::new(()));
            let order = Pointer::new(RefCell::new(Vec::new()));
            let mut coros = Coros::new();
            let guard = lock.lock().await;
            for number in 0..100 {
                let (lock, order) = (lock.clone(), order.clone());
                coros.spawn(async move {
                    let _guard = lock.lock().await;
                    order.borrow_mut().push(number);
                    yield_now().await;
                }).await;
            }
            settle().await;
            settle().await;
            settle().await;
            settle().await;
            settle().await;
            assert_eq!(lock.statistics().waiting, 100);
            drop(guard);
            // Who comes now waits behind all of them.
            assert!(lock.try_lock().is_none());
            drop(lock.lock().await);
            assert_eq!(*order.borrow(), (0..100).collect::<Vec<_>>());
            while coros.next().await.is_some() {}
        });
    }

    #[test]
    fn a_freed_lock_belongs_to_the_first_who_waits_before_that_runs() {
        let lock = Lock::new(1);
        let guard = lock.try_lock().unwrap();
        let waker = Foreign::new();
        let mut first = lock.lock();
        assert!(poll_with(&mut first, &waker).is_pending());
        drop(guard);
        assert_eq!(waker.wakes(), 1);
        assert!(lock.is_locked() && lock.try_lock().is_none());
        assert!(matches!(poll(&mut first), Poll::Ready(guard) if *guard == 1));
        assert!(!lock.is_locked());
    }

    #[test]
    fn a_wait_for_a_lock_that_is_dropped_at_any_point_passes_it_on() {
        // Before its first poll, waiting in front, in the middle, at the end, and chosen.
        for dropped in 0..3 {
            for is_chosen in [false, true] {
                let lock = Lock::new(());
                let guard = lock.try_lock().unwrap();
                drop(lock.lock());
                let wait = |_| Some((lock.lock(), Foreign::new()));
                let mut waits: Vec<_> = (0..3).map(wait).collect();
                for (wait, waker) in waits.iter_mut().flatten() {
                    assert!(poll_with(wait, waker).is_pending());
                }
                let mut guard = Some(guard);
                if is_chosen {
                    drop(guard.take());
                }
                waits[dropped] = None;
                drop(guard.take());
                let mut left: Vec<_> = waits.into_iter().flatten().collect();
                assert_eq!(lock.statistics().waiting, 1);
                for (wait, waker) in &mut left {
                    assert_eq!(waker.wakes(), 1);
                    assert!(poll(wait).is_ready());
                }
                assert!(!lock.is_locked());
            }
        }
    }

    #[test]
    fn a_lock_is_freed_when_its_holder_ends_panics_or_is_terminated() {
        run_within(|| async {
            let lock = Pointer::new(Lock::new(0));
            let holds = |how: u8| {
                let lock = lock.clone();
                async move {
                    let mut guard = lock.lock().await;
                    *guard += 1;
                    match how {
                        0 => {}
                        1 => panic!("while it has the lock"),
                        _ => pending().await,
                    }
                }
            };
            spawn(holds(0)).await.unwrap();
            assert_eq!((lock.is_locked(), lock.statistics().cut_off), (false, 0));
            assert!(spawn(holds(1)).await.is_err());
            assert_eq!((lock.is_locked(), lock.statistics().cut_off), (false, 1));
            let holder = spawn(holds(2));
            settle().await;
            assert!(lock.is_locked());
            holder.terminate();
            // Not poisoned: the value is as they have left it.
            assert_eq!(*lock.lock().await, 3);
            assert_eq!(lock.statistics().cut_off, 2);
            // A coroutine that waits is terminated: the lock is not.
            let guard = lock.lock().await;
            let waits = spawn(holds(2));
            settle().await;
            waits.terminate();
            settle().await;
            assert_eq!((lock.statistics().waiting, lock.statistics().cut_off), (0, 2));
            drop(guard);
            assert!(!lock.is_locked());
        });
    }

    #[test]
    fn a_timeout_of_a_wait_for_a_lock_leaves_the_lock_to_others() {
        run_within(|| async {
            let lock = Lock::new(());
            let guard = lock.lock().await;
            assert!(timeout(Duration::from_millis(1), lock.lock()).await.is_err());
            assert_eq!(lock.statistics().waiting, 0);
            drop(guard);
            assert!(timeout(Duration::from_secs(60), lock.lock()).await.is_ok());
        });
    }

    #[test]
    fn an_owned_guard_frees_the_lock_from_another_coroutine() {
        run_within(|| async {
            let lock = Pointer::new(Lock::new(1));
            let mut guard = Lock::lock_owned(&lock).await;
            assert!(Lock::try_lock_owned(&lock).is_none());
            drop(spawn(async move {
                *guard += 1;
                yield_now().await;
                *guard += 1;
            }));
            let mut waits = Lock::lock_owned(&lock);
            assert!(poll(&mut waits).is_pending());
            drop(waits);
            assert_eq!(*lock.lock().await, 3);
            assert_eq!(**Lock::try_lock_owned(&lock).as_ref().unwrap(), 3);
        });
    }

    #[test]
    fn a_forgotten_guard_keeps_the_lock_and_harms_nothing_else() {
        let lock = Lock::new(1);
        std::mem::forget(lock.try_lock().unwrap());
        let mut wait = lock.lock();
        assert!(poll(&mut wait).is_pending() && lock.is_locked());
        drop(wait);
        assert_eq!(lock.into_inner(), 1);
    }

    #[test]
    fn a_forgotten_wait_keeps_its_place_and_harms_nothing_else() {
        let lock = Lock::new(1);
        let guard = lock.try_lock().unwrap();
        let mut wait = lock.lock();
        assert!(poll(&mut wait).is_pending());
        std::mem::forget(wait);
        drop(guard); // given to one that never runs
        assert!(lock.is_locked());
        assert_eq!(lock.into_inner(), 1);
    }

    #[test]
    fn a_lock_tells_who_has_it() {
        run_within(|| async {
            let lock = Pointer::new(Lock::new(()));
            let keeper = spawn({
                let lock = lock.clone();
                async move {
                    coro::current().set_name("the keeper");
                    let _guard = lock.lock().await;
                    pending::<()>().await;
                }
            });
            settle().await;
            let told = lock.statistics();
            assert!(told.is_held && told.holder.as_deref() == Some("the keeper"), "{told:?}");
            keeper.terminate();
            let guard = lock.lock().await;
            assert_eq!(lock.statistics().holder.as_deref(), Some("the future of run"));
            drop(guard);
            assert_eq!(lock.statistics().holder, None);
            let unnamed = spawn({
                let lock = lock.clone();
                async move {
                    let _guard = lock.lock().await;
                    pending::<()>().await;
                }
            });
            settle().await;
            let place = lock.statistics().holder.unwrap();
            assert!(place.contains("locks.rs"), "{place}");
            unnamed.terminate();
        });
    }

    #[test]
    fn a_lock_works_on_another_executor() {
        let lock = Lock::new(0);
        block_on(async {
            *lock.lock().await += 1;
            let guard = lock.lock().await;
            assert_eq!(lock.statistics().holder, None);
            drop(guard);
        });
        assert_eq!(lock.into_inner(), 1);
    }

    #[test]
    fn a_lock_that_is_always_free_lets_others_run() {
        run_within(|| async {
            let ran = Pointer::new(Cell::new(false));
            drop(spawn({
                let ran = ran.clone();
                async move { ran.set(true) }
            }));
            let lock = Lock::new(());
            for _ in 0..1_000 {
                drop(lock.lock().await);
            }
            assert!(ran.get());
        });
    }

    #[test]
    fn the_last_waker_of_a_wait_is_woken() {
        let lock = Lock::new(());
        let guard = lock.try_lock().unwrap();
        let (old, new) = (Foreign::new(), Foreign::new());
        let mut wait = lock.lock();
        assert!(poll_with(&mut wait, &old).is_pending());
        assert!(poll_with(&mut wait, &new).is_pending());
        assert_eq!(Arc::strong_count(&old), 1);
        drop(guard);
        assert_eq!((old.wakes(), new.wakes()), (0, 1));
        // Polled once more by another one, it is done.
        assert!(poll_with(&mut wait, &old).is_ready());
    }

    #[test]
    fn a_hundred_thousand_who_wait_may_leave_in_any_order() {
        let lock = Lock::new(());
        let guard = lock.try_lock().unwrap();
        let mut waits: Vec<_> = (0..100_000).map(|_| Some(lock.lock())).collect();
        for wait in waits.iter_mut().flatten() {
            assert!(poll(wait).is_pending());
        }
        // From the middle, where a queue that moves its rest would take long.
        for wait in &mut waits[25_000..75_000] {
            *wait = None;
        }
        assert_eq!(lock.statistics().waiting, 50_000);
        drop(guard);
        for wait in waits.iter_mut().flatten() {
            assert!(poll(wait).is_ready());
        }
        assert!(!lock.is_locked());
    }

    #[test]
    fn a_waker_that_uses_the_lock_when_it_is_woken_or_dropped_does_no_harm() {
        struct Uses(Pointer<Lock<u8>>);

        impl Uses {
            fn use_it(&self) {
                drop(self.0.try_lock());
                self.0.statistics();
            }
        }

        impl Drop for Uses {
            fn drop(&mut self) {
                self.use_it();
            }
        }

        // A waker is to be `Send`, which one of a single thread's lock is not: it goes by number.
        thread_local! {
            static USES: RefCell<Vec<Pointer<Uses>>> = const { RefCell::new(Vec::new()) };
        }

        struct Number;

        impl std::task::Wake for Number {
            fn wake(self: Arc<Self>) {
                USES.with_borrow(|uses| uses.iter().for_each(|uses| uses.use_it()));
            }
        }

        impl Drop for Number {
            fn drop(&mut self) {
                USES.with_borrow(|uses| uses.iter().for_each(|uses| uses.use_it()));
            }
        }

        let lock = Pointer::new(Lock::new(1));
        USES.with_borrow_mut(|uses| uses.push(Pointer::new(Uses(lock.clone()))));
        let guard = lock.try_lock().unwrap();
        let mut waits = [lock.lock(), lock.lock(), lock.lock()];
        for wait in &mut waits {
            let waker = Waker::from(Arc::new(Number));
            assert!(Pin::new(wait).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let [first, mut second, third] = waits;
        let waker = Waker::from(Arc::new(Number));
        assert!(Pin::new(&mut second).poll(&mut Context::from_waker(&waker)).is_pending());
        drop((waker, guard));
        drop(third);
        drop(first);
        assert!(poll(&mut second).is_ready());
        USES.with_borrow_mut(Vec::clear);
    }

    // ---- RwLock

    #[test]
    fn readers_share_and_a_writer_is_not_overtaken() {
        let lock = RwLock::new(0);
        let reader = lock.try_read().unwrap();
        let other = lock.try_read().unwrap();
        assert_eq!(lock.statistics().readers, 2);
        let (mut writing, mut reading) = (lock.write(), lock.read());
        assert!(poll(&mut writing).is_pending());
        // A reader would fit, but a writer waits.
        assert!(lock.try_read().is_none() && poll(&mut reading).is_pending());
        drop(reader);
        assert!(poll(&mut writing).is_pending());
        drop(other);
        let Poll::Ready(mut writer) = poll(&mut writing) else { panic!("it is its turn") };
        assert!(lock.statistics().is_written && lock.statistics().readers == 0);
        assert!(poll(&mut reading).is_pending() && lock.try_write().is_none());
        *writer = 1;
        drop(writer);
        assert!(matches!(poll(&mut reading), Poll::Ready(reader) if *reader == 1));
        assert_eq!(lock.statistics().waiting, 0);
    }

    #[test]
    fn a_writer_that_gives_up_lets_the_readers_behind_it_go_on() {
        let lock = RwLock::new(0);
        let _reader = lock.try_read().unwrap();
        let mut writing = lock.write();
        assert!(poll(&mut writing).is_pending());
        let wakers = [Foreign::new(), Foreign::new()];
        let mut reading = [lock.read(), lock.read()];
        for (reading, waker) in reading.iter_mut().zip(&wakers) {
            assert!(poll_with(reading, waker).is_pending());
        }
        drop(writing);
        let guards = reading.each_mut().map(poll);
        assert!(guards.iter().all(Poll::is_ready));
        assert_eq!((wakers[0].wakes(), wakers[1].wakes()), (1, 1));
    }

    #[test]
    fn a_chosen_writer_that_is_dropped_passes_the_lock_on() {
        let lock = RwLock::new(0);
        let reader = lock.try_read().unwrap();
        let (mut writing, mut next, mut reading) = (lock.write(), lock.write(), lock.read());
        assert!(poll(&mut writing).is_pending());
        assert!(poll(&mut next).is_pending() && poll(&mut reading).is_pending());
        drop(reader);
        drop(writing); // it had the lock
        let Poll::Ready(writer) = poll(&mut next) else { panic!("it is its turn") };
        let kept = RwLockWriteGuard::downgrade(writer);
        assert!(poll(&mut reading).is_ready());
        drop(kept);
        assert!(lock.try_write().is_some());
    }

    #[test]
    fn a_writer_among_readers_that_never_stop_gets_its_turn() {
        run_within(|| async {
            let lock = Pointer::new(RwLock::new(0));
            let mut readers = Coros::new();
            for _ in 0..4 {
                let lock = lock.clone();
                readers.spawn(async move {
                    while *lock.read().await == 0 {
                        let guard = lock.read().await;
                        yield_now().await;
                        drop(guard);
                    }
                }).await;
            }
            settle().await;
            *lock.write().await += 1;
            while readers.next().await.is_some() {}
            let mut lock = lock;
            assert_eq!(*Pointer::get_mut(&mut lock).unwrap().get_mut(), 1);
        });
    }

    // ---- Event

    #[test]
    fn who_waits_when_an_event_is_set_goes_on_also_if_it_is_cleared() {
        let event = Event::new();
        let wakers = [Foreign::new(), Foreign::new()];
        let mut waits = [event.wait(), event.wait()];
        for (wait, waker) in waits.iter_mut().zip(&wakers) {
            assert!(poll_with(wait, waker).is_pending());
        }
        assert_eq!(event.statistics().waiting, 2);
        event.set();
        event.clear();
        assert!(waits.each_mut().map(poll).iter().all(Poll::is_ready));
        assert_eq!((wakers[0].wakes(), wakers[1].wakes()), (1, 1));
        let mut late = event.wait();
        assert!(poll(&mut late).is_pending());
        drop(late);
        event.set();
        assert!(event.is_set() && poll(&mut event.wait()).is_ready());
    }

    #[test]
    fn a_wait_for_an_event_that_is_dropped_leaves_the_queue() {
        let event = Event::new();
        let mut waits: Vec<_> = (0..3).map(|_| event.wait()).collect();
        assert!(waits.iter_mut().all(|wait| poll(wait).is_pending()));
        drop(waits.remove(1));
        assert_eq!(event.statistics().waiting, 2);
        event.set();
        waits.clear(); // chosen, and never polled again
        assert_eq!(event.statistics().waiting, 0);
    }

    // ---- Condition

    #[test]
    fn a_condition_wakes_one_or_all_in_order() {
        run_within(|| async {
            let shared = Pointer::new((Lock::new(0), Condition::new()));
            let order = Pointer::new(RefCell::new(Vec::new()));
            let mut coros = Coros::new();
            for number in 0..5 {
                let (shared, order) = (shared.clone(), order.clone());
                coros.spawn(async move {
                    let guard = shared.1.wait(shared.0.lock().await).await;
                    order.borrow_mut().push((number, *guard));
                }).await;
            }
            settle().await;
            assert!(!shared.0.is_locked(), "waiting gives the lock up");
            assert_eq!(shared.1.statistics().waiting, 5);
            *shared.0.lock().await = 1;
            shared.1.notify_one();
            settle().await;
            assert_eq!(*order.borrow(), [(0, 1)]);
            *shared.0.lock().await = 2;
            shared.1.notify(2);
            settle().await;
            *shared.0.lock().await = 3;
            shared.1.notify_all();
            settle().await;
            assert_eq!(*order.borrow(), [(0, 1), (1, 2), (2, 2), (3, 3), (4, 3)]);
            shared.1.notify_all(); // nobody waits
            assert!(!shared.0.is_locked());
        });
    }

    #[test]
    fn a_wait_for_a_condition_that_is_dropped_passes_its_notification_on() {
        run_within(|| async {
            let (lock, condition) = (Lock::new(()), Condition::new());
            // Dropped before its first poll: the lock is free.
            drop(condition.wait(lock.lock().await));
            assert!(!lock.is_locked());
            // Dropped while it waits.
            let mut waits = Box::pin(condition.wait(lock.lock().await));
            assert!(poll(&mut waits).is_pending());
            assert!(!lock.is_locked());
            drop(waits);
            assert_eq!(condition.statistics().waiting, 0);
            // Dropped when it was notified, before it runs.
            let mut first = Box::pin(condition.wait(lock.lock().await));
            assert!(poll(&mut first).is_pending());
            let mut second = Box::pin(condition.wait(lock.lock().await));
            assert!(poll(&mut second).is_pending());
            condition.notify_one();
            drop(first);
            assert!(poll(&mut second).is_ready());
            // Dropped when it was notified and waits for the lock.
            let mut first = Box::pin(condition.wait(lock.lock().await));
            assert!(poll(&mut first).is_pending());
            let mut second = Box::pin(condition.wait(lock.lock().await));
            assert!(poll(&mut second).is_pending());
            let guard = lock.lock().await;
            condition.notify_one();
            assert!(poll(&mut first).is_pending());
            drop(first);
            drop(guard);
            assert!(poll(&mut second).is_ready());
            assert!(!lock.is_locked());
        });
    }

    #[test]
    fn after_the_timeout_of_a_condition_it_is_clear_who_has_the_lock() {
        run_within(|| async {
            let (lock, condition) = (Lock::new(()), Condition::new());
            let short = Duration::from_millis(1);
            // The timeout of the condition takes the lock again.
            let (guard, is_notified) = condition.wait_for(lock.lock().await, short).await;
            assert!(!is_notified && lock.is_locked());
            // A timeout around it does not.
            assert!(timeout(short, condition.wait(guard)).await.is_err());
            assert!(!lock.is_locked());
            assert_eq!(condition.statistics().waiting, 0);
            let long = Duration::from_secs(60);
            let mut waits = pin!(condition.wait_for(lock.lock().await, long));
            assert!(poll(&mut waits).is_pending());
            condition.notify_one();
            let (guard, is_notified) = waits.await;
            assert!(is_notified);
            assert!(std::ptr::eq(LockGuard::lock(&guard), &raw const lock));
        });
    }

    #[test]
    fn those_who_wait_for_a_condition_hear_of_a_holder_that_was_cut_off() {
        run_within(|| async {
            let shared = Pointer::new((Lock::new(0), Condition::new()));
            for is_panic in [false, true] {
                let before = shared.0.statistics().cut_off;
                let waits = spawn({
                    let shared = shared.clone();
                    async move {
                        let guard = shared.0.lock().await;
                        let is_early = |_: &mut i32| shared.0.statistics().cut_off == before;
                        drop(shared.1.wait_while(guard, is_early).await);
                    }
                });
                settle().await;
                let worker = spawn({
                    let shared = shared.clone();
                    async move {
                        let _guard = shared.0.lock().await;
                        assert!(!is_panic, "before it has notified");
                        pending::<()>().await;
                    }
                });
                settle().await;
                worker.terminate();
                waits.await.unwrap();
                assert_eq!(shared.1.statistics().waiting, 0);
            }
        });
    }

    // ---- Semaphore

    #[test]
    fn one_who_wants_many_permits_is_not_overtaken_by_many_who_want_few() {
        let semaphore = Semaphore::new(2);
        let one = semaphore.try_acquire(1).unwrap();
        let (mut many, mut few) = (semaphore.acquire(2), semaphore.acquire(1));
        assert!(poll(&mut many).is_pending());
        assert!(poll(&mut few).is_pending(), "one is there, but not for it");
        assert_eq!(semaphore.try_acquire(1).unwrap_err(), TryAcquireError::NoPermits);
        assert_eq!((semaphore.statistics().available, semaphore.statistics().waiting), (1, 2));
        drop(one);
        let Poll::Ready(Ok(permit)) = poll(&mut many) else { panic!("both are there") };
        assert_eq!(permit.count(), 2);
        drop(permit);
        assert!(poll(&mut few).is_ready());
        assert_eq!(semaphore.available(), 2);
    }

    #[test]
    fn a_wait_for_permits_that_is_dropped_lets_those_behind_it_move_up() {
        let semaphore = Semaphore::new(1);
        let (mut many, mut few) = (semaphore.acquire(5), semaphore.acquire(1));
        let waker = Foreign::new();
        assert!(poll(&mut many).is_pending() && poll_with(&mut few, &waker).is_pending());
        drop(many);
        assert_eq!(waker.wakes(), 1);
        let mut next = semaphore.acquire(1);
        assert!(poll(&mut next).is_pending());
        drop(few); // chosen
        assert!(matches!(poll(&mut next), Poll::Ready(Ok(_))));
        assert_eq!(semaphore.available(), 1);
    }

    #[test]
    fn permits_are_added_and_forgotten() {
        let semaphore = Pointer::new(Semaphore::new(0));
        let mut waits = semaphore.acquire(3);
        assert!(poll(&mut waits).is_pending());
        semaphore.add_permits(2);
        assert!(poll(&mut waits).is_pending());
        semaphore.add_permits(2);
        let Poll::Ready(Ok(permit)) = poll(&mut waits) else { panic!("there are 4") };
        permit.forget();
        assert_eq!(semaphore.available(), 1);
        let owned = Semaphore::try_acquire_owned(&semaphore, 1).unwrap();
        assert_eq!(owned.count(), 1);
        owned.forget();
        semaphore.add_permits(3);
        assert_eq!((semaphore.forget_permits(2), semaphore.forget_permits(2)), (2, 1));
        assert!(poll(&mut semaphore.acquire(0)).is_ready());
    }

    #[test]
    fn a_closed_semaphore_tells_those_who_wait_and_those_who_come() {
        let semaphore = Pointer::new(Semaphore::new(1));
        let permit = semaphore.try_acquire(1).unwrap();
        let mut chosen = semaphore.acquire(1);
        let mut waits = Semaphore::acquire_owned(&semaphore, 1);
        let waker = Foreign::new();
        assert!(poll(&mut chosen).is_pending() && poll_with(&mut waits, &waker).is_pending());
        drop(permit);
        semaphore.close();
        assert_eq!(waker.wakes(), 1);
        // It had its permit before.
        assert!(matches!(poll(&mut chosen), Poll::Ready(Ok(_))));
        assert!(matches!(poll(&mut waits), Poll::Ready(Err(AcquireError))));
        assert!(matches!(poll(&mut semaphore.acquire(1)), Poll::Ready(Err(AcquireError))));
        assert!(semaphore.is_closed() && semaphore.statistics().waiting == 0);
    }

    // ---- Barrier

    #[test]
    fn a_barrier_lets_all_go_round_by_round() {
        run_within(|| async {
            let barrier = Pointer::new(Barrier::new(3));
            let rounds = Pointer::new(RefCell::new([0; 5]));
            let leaders = Pointer::new(Cell::new(0));
            let mut coros = Coros::new();
            for _ in 0..3 {
                let (barrier, rounds, leaders) = (barrier.clone(), rounds.clone(), leaders.clone());
                coros.spawn(async move {
                    for round in 0..5 {
                        rounds.borrow_mut()[round] += 1;
                        let wait = barrier.wait().await;
                        assert_eq!(rounds.borrow()[round], 3);
                        leaders.set(leaders.get() + usize::from(wait.is_leader()));
                    }
                }).await;
            }
            while let Some(ended) = coros.next().await {
                ended.unwrap();
            }
            assert_eq!((leaders.get(), barrier.statistics().waiting), (5, 0));
        });
    }

    #[test]
    fn who_leaves_a_barrier_has_not_arrived() {
        let barrier = Barrier::new(2);
        let mut leaves = barrier.wait();
        assert!(poll(&mut leaves).is_pending());
        drop(leaves);
        let (mut first, mut second) = (barrier.wait(), barrier.wait());
        assert!(poll(&mut first).is_pending());
        assert!(matches!(poll(&mut second), Poll::Ready(wait) if wait.is_leader()));
        assert!(matches!(poll(&mut first), Poll::Ready(wait) if !wait.is_leader()));
        assert!(poll(&mut Barrier::new(0).wait()).is_ready());
    }

    // ---- OnceCell

    #[test]
    fn a_value_is_made_once_and_all_get_it() {
        run_within(|| async {
            let (cell, made) = (Pointer::new(OnceCell::new()), Pointer::new(Cell::new(0)));
            let mut coros = Coros::new();
            for _ in 0..100 {
                let (cell, made) = (cell.clone(), made.clone());
                coros.spawn(async move {
                    let make = async || {
                        made.set(made.get() + 1);
                        yield_now().await;
                        "made"
                    };
                    *cell.get_or_init(make).await
                }).await;
            }
            while let Some(value) = coros.next().await {
                assert_eq!(value.unwrap(), "made");
            }
            assert_eq!((made.get(), cell.get()), (1, Some(&"made")));
            assert_eq!(cell.set("other"), Err("other"));
            assert!(cell.statistics().is_set && cell.statistics().waiting == 0);
        });
    }

    #[test]
    fn when_one_who_makes_a_value_fails_panics_or_is_dropped_the_next_tries() {
        run_within(|| async {
            for how in 0..3 {
                let cell = Pointer::new(OnceCell::new());
                let first = spawn({
                    let cell = cell.clone();
                    async move {
                        let make = async || {
                            settle().await;
                            match how {
                                0 => return Err("fails"),
                                1 => panic!("while it makes the value"),
                                _ => pending::<()>().await,
                            }
                            Ok(0)
                        };
                        cell.get_or_try_init(make).await.copied()
                    }
                });
                settle().await;
                assert_eq!(cell.set(7), Err(7), "it is being made");
                let next = spawn({
                    let cell = cell.clone();
                    async move { *cell.get_or_init(async || 1).await }
                });
                settle().await;
                if how == 2 {
                    first.terminate();
                } else if how == 0 {
                    assert_eq!(first.await.unwrap(), Err("fails"));
                } else {
                    assert!(first.await.is_err());
                }
                assert_eq!(next.await.unwrap(), 1);
            }
        });
    }

    #[test]
    fn a_value_may_be_put_in_and_taken_out() {
        let mut cell = OnceCell::new();
        assert!(cell.get().is_none() && cell.get_mut().is_none());
        assert_eq!(cell.set(1), Ok(()));
        *cell.get_mut().unwrap() += 1;
        assert_eq!(cell.into_inner(), Some(2));
        let drops = Drops::default();
        let cell = OnceCell::new();
        assert!(cell.set(drops.guard()).is_ok() && cell.set(drops.guard()).is_err());
        drop(cell);
        assert_eq!(drops.count(), 2);
    }

    // ---- all of them

    #[test]
    fn a_lock_waits_in_a_race() {
        run_within(|| async {
            let (lock, event) = (Lock::new(()), Event::new());
            let guard = lock.lock().await;
            let mut waits = lock.lock();
            for _ in 0..3 {
                race(&mut waits, sleep(Duration::from_millis(1))).await;
            }
            assert_eq!(lock.statistics().waiting, 1, "it keeps its place");
            drop(guard);
            race(waits, event.wait()).await;
            assert!(!lock.is_locked());
        });
    }

    #[test]
    fn their_text_forms_show_how_they_are() {
        let lock = Lock::new(1);
        assert_eq!(format!("{lock:?}"), "Lock { value: 1 }");
        let guard = lock.try_lock();
        assert_eq!(format!("{lock:?} {guard:?}"), "Lock { value: <locked> } Some(1)");
        assert_eq!(format!("{:?}", RwLock::new(1)), "RwLock { value: 1 }");
        assert_eq!(format!("{:?}", Event::new()), "Event { is_set: false, waiting: 0 }");
        assert_eq!(format!("{:?}", Semaphore::new(2)), "Semaphore { available: 2, waiting: 0 }");
        assert_eq!(format!("{:?}", Barrier::new(2)), "Barrier { parties: 2, waiting: 0 }");
        assert_eq!(format!("{:?}", Condition::new()), "Condition { waiting: 0 }");
        assert_eq!(format!("{:?}", OnceCell::<u8>::new()), "OnceCell(None)");
    }
}

/// A test that needs two threads, and one for their races.
mod between_threads {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use asyncoro::sync::{Barrier, Condition, Event, Lock, OnceCell, RwLock, Semaphore};

    use super::*;

    /// Runs `work` in a scheduler on each of four threads.
    fn on_four_threads<F: Future<Output = ()>>(work: impl Fn(usize) -> F + Sync + Send + 'static) {
        within(move || {
            thread::scope(|scope| {
                for number in 0..4 {
                    let work = &work;
                    scope.spawn(move || asyncoro::run_until(work(number)));
                }
            });
        });
    }

    #[test]
    fn schedulers_share_a_lock_and_drop_waits_without_losing_it() {
        let lock = Arc::new(Lock::new(0));
        let counted = lock.clone();
        on_four_threads(move |_| {
            let lock = lock.clone();
            async move {
                for round in 0..500 {
                    if round % 3 == 0 {
                        // Given up after one poll, chosen or not.
                        let mut wait = lock.lock();
                        let _ = poll(&mut wait);
                    }
                    let mut guard = lock.lock().await;
                    let before = *guard;
                    if round % 7 == 0 {
                        yield_now().await;
                    }
                    *guard = before + 1;
                }
            }
        });
        assert_eq!(*counted.try_lock().unwrap(), 2_000);
    }

    #[test]
    fn schedulers_share_a_read_write_lock() {
        let lock = Arc::new(RwLock::new((0, 0)));
        let counted = lock.clone();
        on_four_threads(move |number| {
            let lock = lock.clone();
            async move {
                for _ in 0..300 {
                    if number == 0 {
                        let mut pair = lock.write().await;
                        pair.0 += 1;
                        yield_now().await;
                        pair.1 += 1;
                    } else {
                        let pair = lock.read().await;
                        yield_now().await;
                        assert_eq!(pair.0, pair.1);
                    }
                }
            }
        });
        assert_eq!(*counted.try_read().unwrap(), (300, 300));
    }

    #[test]
    fn schedulers_share_a_semaphore() {
        let (semaphore, inside) = (Arc::new(Semaphore::new(2)), Arc::new(AtomicUsize::new(0)));
        let counted = semaphore.clone();
        on_four_threads(move |number| {
            let (semaphore, inside) = (semaphore.clone(), inside.clone());
            async move {
                for round in 0..300 {
                    let wanted = 1 + (round + number) % 2;
                    let patience = Duration::from_micros(round as u64 % 5);
                    if timeout(patience, semaphore.acquire(2)).await.is_ok() {
                        continue;
                    }
                    let permit = semaphore.acquire(wanted).await.unwrap();
                    assert!(inside.fetch_add(wanted, Ordering::SeqCst) + wanted <= 2);
                    yield_now().await;
                    inside.fetch_sub(wanted, Ordering::SeqCst);
                    drop(permit);
                }
            }
        });
        assert_eq!(counted.available(), 2);
    }

    #[test]
    fn threads_meet_at_a_barrier_and_none_misses_an_event() {
        let (barrier, leaders) = (Arc::new(Barrier::new(4)), Arc::new(AtomicUsize::new(0)));
        let events: Arc<Vec<Event>> = Arc::new((0..300).map(|_| Event::new()).collect());
        let counted = leaders.clone();
        on_four_threads(move |number| {
            let (barrier, leaders, events) = (barrier.clone(), leaders.clone(), events.clone());
            async move {
                for (round, event) in events.iter().enumerate() {
                    if round % 4 == number {
                        event.set();
                    } else {
                        event.wait().await;
                    }
                    if barrier.wait().await.is_leader() {
                        leaders.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        });
        assert_eq!(counted.load(Ordering::SeqCst), 300);
    }

    #[test]
    fn no_notification_is_lost_between_threads() {
        let shared = Arc::new((Lock::new(0), Condition::new()));
        let counted = shared.clone();
        on_four_threads(move |number| {
            let shared = shared.clone();
            async move {
                let (lock, changed) = &*shared;
                for _ in 0..200 {
                    if number % 2 == 0 {
                        *lock.lock().await += 1;
                        changed.notify_one();
                    } else {
                        let guard = lock.lock().await;
                        *changed.wait_while(guard, |count| *count == 0).await -= 1;
                    }
                }
            }
        });
        assert_eq!(*counted.0.try_lock().unwrap(), 0);
    }

    #[test]
    fn threads_make_a_value_once() {
        for _ in 0..50 {
            let (cell, made) = (Arc::new(OnceCell::new()), Arc::new(AtomicUsize::new(0)));
            let counted = made.clone();
            on_four_threads(move |number| {
                let (cell, made) = (cell.clone(), made.clone());
                async move {
                    let make = async || {
                        made.fetch_add(1, Ordering::SeqCst);
                        yield_now().await;
                        number
                    };
                    let first = *cell.get_or_init(make).await;
                    assert_eq!(cell.get(), Some(&first));
                }
            });
            assert_eq!(counted.load(Ordering::SeqCst), 1);
        }
    }
}
