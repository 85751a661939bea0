//! `ThreadBound`: values of one scheduler that are carried, and dropped, by other threads.

use std::{
    cell::{Cell, RefCell},
    fmt::Debug,
    future::{pending, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    thread::{self, ThreadId},
};

use asyncoro::{
    AsynCoro,
    coro::{Scheduler, yield_now},
    interop::ThreadBound,
    spawn,
};

use crate::{
    fork::{alone, well_in_child},
    pairs::{Kind, pair},
    within::{Drops, logged, panic_of, poll_once, run_within, within},
};

/// Calls `f` on another thread and returns what it returns.
fn elsewhere<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::Builder::new().name("elsewhere".to_owned()).spawn(f).unwrap();
    thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}

#[test]
fn at_home_it_is_the_value() {
    run_within(|| async {
        let mut bound = ThreadBound::new(Rc::new(Cell::new(1)));
        bound.set(2);
        let twin = bound.clone();
        assert!(Rc::ptr_eq(&twin, &bound) && bound.is_home());
        *bound = Rc::new(Cell::new(3));
        assert_eq!(format!("{bound:?}"), "ThreadBound(Cell { value: 3 })");
        // Through another thread and back.
        let bound = elsewhere(move || bound);
        assert_eq!((bound.into_inner().get(), twin.get()), (3, 2));
    });
}

#[test]
fn used_on_another_thread_it_panics_and_names_both() {
    let names_both = |text: String| {
        assert!(text.contains("ThreadBound<alloc::rc::Rc<u8>>"), "{text}");
        assert!(text.contains("belongs to the thread 'its home' (ThreadId("), "{text}");
        assert!(text.contains("used on the thread 'elsewhere' (ThreadId("), "{text}");
        assert!(text.contains("`asyncoro::on(&scheduler, ..)`"), "{text}");
    };
    let make = || ThreadBound::new(Rc::new(7_u8));
    let scheduler = AsynCoro::builder().name("its home").start().unwrap();
    let bound = scheduler.spawn(move || async move { (make(), make(), make()) });
    let (mut one, two, mut three) = bound.value().unwrap();
    within(move || {
        elsewhere(move || {
            assert!(!one.is_home());
            names_both(panic_of(|| **one));
            names_both(panic_of(|| drop(one.clone())));
            names_both(panic_of(|| *one = Rc::new(8)));
            names_both(panic_of(|| _ = one.as_pin_mut()));
            names_both(panic_of(|| two.into_inner()));
            // A log line is no use of the value.
            let shown = format!("{:?}", &mut three as &mut dyn Debug);
            assert!(shown.starts_with("ThreadBound(of the thread 'its home'"), "{shown}");
        });
        let future = scheduler.spawn(|| async { ThreadBound::new(async {}) }).value().unwrap();
        elsewhere(move || {
            let text = panic_of(|| poll_once(Pin::new(&mut { future })));
            assert!(text.contains("belongs to the thread 'its home'"), "{text}");
        });
        scheduler.terminate();
    });
}

#[test]
fn without_a_running_scheduler_there_is_none() {
    assert!(
        panic_of(|| ThreadBound::new(1)).contains("ThreadBound::new needs a running scheduler")
    );
}

/// A value whose drop tells where it was dropped, and whether in a scheduler.
struct Tells(Rc<RefCell<Vec<(ThreadId, bool)>>>);

impl Drop for Tells {
    fn drop(&mut self) {
        let spawned = std::panic::catch_unwind(|| drop(spawn(async {})));
        self.0.borrow_mut().push((thread::current().id(), spawned.is_ok()));
    }
}

#[test]
fn dropped_on_another_thread_it_is_dropped_at_home_in_its_scheduler() {
    run_within(|| async {
        let seen = Rc::default();
        let bound = ThreadBound::new(Tells(Rc::clone(&seen)));
        elsewhere(move || drop(bound));
        assert!(seen.borrow().is_empty(), "not in the drop, but soon");
        while seen.borrow().is_empty() {
            yield_now().await;
        }
        assert_eq!(*seen.borrow(), [(thread::current().id(), true)]);
    });
}

#[test]
fn the_scheduler_is_woken_for_a_value_that_comes_home() {
    run_within(|| async {
        struct Wakes(Rc<RefCell<Option<Waker>>>);
        impl Drop for Wakes {
            fn drop(&mut self) {
                self.0.borrow_mut().take().expect("it waits").wake();
            }
        }
        for _ in 0..100 {
            let waker = Rc::new(RefCell::new(None));
            let bound = ThreadBound::new(Wakes(Rc::clone(&waker)));
            let dropped = Rc::downgrade(&waker);
            let mut bound = Some(bound);
            poll_fn(move |cx| match bound.take() {
                Some(bound) => {
                    *waker.borrow_mut() = Some(cx.waker().clone());
                    thread::spawn(move || drop(bound));
                    Poll::Pending
                }
                None => Poll::Ready(()),
            })
            .await;
            assert!(dropped.upgrade().is_none());
        }
    });
}

#[test]
fn what_came_home_before_the_end_of_the_scheduler_is_dropped_in_it() {
    for until in [true, false] {
        within(move || {
            let seen = Rc::default();
            let inner = Rc::clone(&seen);
            let main = async move {
                let bound = ThreadBound::new(Tells(inner));
                elsewhere(move || drop(bound));
            };
            if until {
                asyncoro::run_until(main);
            } else {
                asyncoro::run(main);
            }
            assert_eq!(*seen.borrow(), [(thread::current().id(), true)]);
        });
    }
}

#[test]
fn dropped_at_home_it_is_dropped_at_once_in_whatever_runs_there() {
    within(|| {
        let drops = Drops::default();
        let scheduler = Scheduler::new().unwrap();
        let make = || scheduler.enter(async { ThreadBound::new(drops.guard()) });
        let (one, two, three) = (make(), make(), make());
        drop(one);
        assert_eq!(drops.count(), 1, "no scheduler runs");
        asyncoro::run(async { drop(two) });
        assert_eq!(drops.count(), 2, "another one runs");
        drop(scheduler);
        drop(three);
        assert_eq!(drops.count(), 3, "it has ended");
    });
}

#[test]
fn after_the_end_of_its_scheduler_it_is_leaked_elsewhere_and_that_is_logged() {
    within(|| {
        let drops = Drops::default();
        let bound = asyncoro::run(async { ThreadBound::new(drops.guard()) });
        let log = elsewhere(move || logged(|| drop(bound)));
        assert!(log.contains("WARN") && log.contains("dropped on the thread 'elsewhere'"), "{log}");
        assert!(log.contains("after its scheduler had ended, so it is leaked"), "{log}");
        assert_eq!(drops.count(), 0);
    });
}

#[test]
fn after_the_end_of_its_thread_it_is_leaked_and_refused_all_the_same() {
    within(|| {
        let drops = Drops::default();
        let guard = drops.guard();
        let mut bound = elsewhere(move || asyncoro::run(async move { ThreadBound::new(guard) }));
        assert!(!bound.is_home());
        let text = panic_of(|| _ = bound.as_pin_mut());
        assert!(text.contains("belongs to the thread 'elsewhere'"), "{text}");
        let log = logged(|| drop(bound));
        assert!(log.contains("so it is leaked"), "{log}");
        assert_eq!(drops.count(), 0);
    });
}

#[test]
fn a_panic_of_its_drop_goes_to_who_drops_it_at_home_and_to_the_log_from_elsewhere() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("it went off");
        }
    }
    within(|| {
        let log = logged(|| {
            asyncoro::run(async {
                let (here, there) = (ThreadBound::new(Bomb), ThreadBound::new(Bomb));
                assert_eq!(panic_of(|| drop(here)), "it went off");
                elsewhere(move || drop(there));
            });
        });
        let line = "the drop of a value that has come back to its thread panicked: it went off";
        assert!(log.contains(line), "{log}");
    });
}

#[test]
fn a_socket_dropped_elsewhere_still_sends_what_it_has_queued() {
    run_within(|| async {
        let (near, far) = pair(Kind::Tcp4);
        near.send_msg(b"before the end").await.unwrap();
        let near = ThreadBound::new(near);
        elsewhere(move || drop(near));
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "before the end");
        assert_eq!(far.recv_msg().await.unwrap(), None);
    });
}

#[test]
fn a_future_that_is_not_send_and_not_unpin_passes_for_one_that_is_and_is_woken_from_elsewhere() {
    run_within(|| async {
        for _ in 0..1000 {
            let local = Rc::new(Cell::new(0));
            let inner = Rc::clone(&local);
            let (give, take) = mpsc::channel::<Waker>();
            let waking = thread::spawn(move || take.recv().unwrap().wake());
            let work = async move {
                let mut polls = 0;
                poll_fn(|cx| {
                    polls += 1;
                    if polls > 1 {
                        return Poll::Ready(());
                    }
                    give.send(cx.waker().clone()).unwrap();
                    Poll::Pending
                })
                .await;
                inner.set(polls);
            };
            let work: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(ThreadBound::new(work));
            spawn(work).await.unwrap();
            assert_eq!(local.get(), 2);
            waking.join().unwrap();
        }
    });
}

/// A value that is wrong to drop on any thread but one, and which counts its drops without an
/// atomic: a sanitizer of threads sees it.
struct Counts {
    count: Rc<Cell<usize>>,
    all: usize,
    waiting: Rc<RefCell<Option<Waker>>>,
}

impl Drop for Counts {
    fn drop(&mut self) {
        self.count.set(self.count.get() + 1);
        if self.count.get() == self.all
            && let Some(waker) = self.waiting.borrow_mut().take()
        {
            waker.wake();
        }
    }
}

#[test]
fn a_hundred_thousand_dropped_on_foreign_threads_all_come_home() {
    const ALL: usize = 100_000;
    const THREADS: usize = 4;
    run_within(|| async {
        let (count, waiting) = (Rc::new(Cell::new(0)), Rc::default());
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (give, take) = mpsc::channel::<ThreadBound<Counts>>();
                (give, thread::spawn(move || take.into_iter().for_each(drop)))
            })
            .collect();
        for number in 0..ALL {
            let (count, waiting) = (Rc::clone(&count), Rc::clone(&waiting));
            let bound = ThreadBound::new(Counts { count, all: ALL, waiting });
            threads[number % THREADS].0.send(bound).unwrap();
            if number % 1000 == 0 {
                yield_now().await;
            }
        }
        poll_fn(|cx| {
            *waiting.borrow_mut() = Some(cx.waker().clone());
            if count.get() == ALL { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        for (give, thread) in threads {
            drop(give);
            thread.join().unwrap();
        }
        assert_eq!(Rc::strong_count(&count), 1);
    });
}

#[test]
fn dropped_while_its_scheduler_ends_it_is_dropped_at_home_or_leaked_1000_times() {
    struct Home(ThreadId, Arc<AtomicUsize>, Arc<AtomicBool>);
    impl Drop for Home {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.2.fetch_or(self.0 != thread::current().id(), Ordering::SeqCst);
        }
    }
    // Its many warnings would take the place of those that other tests look for.
    alone(
        "thread_bound::dropped_while_its_scheduler_ends_it_is_dropped_at_home_or_leaked_1000_times",
        || {
            let (drops, wrong) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
            for _ in 0..1000 {
                let value = Home(thread::current().id(), Arc::clone(&drops), Arc::clone(&wrong));
                let start = Arc::new(Barrier::new(2));
                let scheduler = Scheduler::new().unwrap();
                let bound = scheduler.enter(async { ThreadBound::new(value) });
                let foreign = thread::spawn({
                    let start = Arc::clone(&start);
                    move || {
                        start.wait();
                        logged(|| drop(bound));
                    }
                });
                start.wait();
                let before = drops.load(Ordering::SeqCst);
                drop(scheduler);
                let at_home = drops.load(Ordering::SeqCst) - before;
                foreign.join().unwrap();
                assert!(at_home <= 1);
                assert_eq!(drops.load(Ordering::SeqCst) - before, at_home, "and none later");
            }
            assert!(!wrong.load(Ordering::SeqCst));
        },
    );
}

#[test]
fn in_the_child_of_a_fork_it_is_dropped_by_its_own_thread_and_leaked_by_others() {
    alone(
        "thread_bound::in_the_child_of_a_fork_it_is_dropped_by_its_own_thread_and_leaked_by_others",
        || {
            let (drops, others) = (Drops::default(), Drops::default());
            let scheduler = Scheduler::new().unwrap();
            let mine = scheduler.enter(async { ThreadBound::new(drops.guard()) });
            let guard = others.guard();
            let elsewhere = AsynCoro::start().unwrap();
            let theirs =
                elsewhere.spawn(move || async move { ThreadBound::new(guard) }).value().unwrap();
            let well = well_in_child(|| {
                assert!(mine.is_home() && !theirs.is_home());
                drop(mine);
                assert_eq!(drops.count(), 1);
                drop(theirs);
                assert_eq!(others.count(), 0);
            });
            assert!(well);
        },
    );
}

#[test]
fn a_future_that_waits_for_ever_is_dropped_at_home_wherever_its_task_ends() {
    run_within(|| async {
        let drops = Drops::default();
        let guard = drops.guard();
        let mut future = Box::pin(ThreadBound::new(async move {
            let _guard = guard;
            pending::<()>().await;
        }));
        assert!(poll_once(future.as_mut()).is_pending());
        elsewhere(move || drop(future));
        while drops.count() == 0 {
            yield_now().await;
        }
    });
}
