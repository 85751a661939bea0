//! The locks of `sync`, each test for both forms: that of one thread and that of all.

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending},
    pin::Pin,
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
    forms::{each_form, on_four_threads, poll, poll_with, settle},
    within::{Foreign, block_on, panic_of, run_within},
};

each_form! {
    { Barrier, Condition, Event, Lock, OnceCell, RwLock, RwLockWriteGuard, Semaphore }

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
    fn there_are_never_more_permits_than_can_be_counted() {
        let semaphore = Semaphore::new(usize::MAX);
        let permit = semaphore.try_acquire(1).unwrap();
        semaphore.add_permits(1);
        assert!(panic_of(|| semaphore.add_permits(1)).contains("too many permits"));
        // It comes back to all that there can be.
        drop(permit);
        assert_eq!(semaphore.available(), usize::MAX);
        assert!(semaphore.try_acquire(usize::MAX).is_ok());
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

/// Races between threads.
mod between_threads {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use asyncoro::sync::{Lock, RwLock, Semaphore};

    use super::*;

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
}
