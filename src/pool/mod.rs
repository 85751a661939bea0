//! Runs blocking functions on threads, so that a coroutine can wait for one without stopping the
//! others.
//!
//! [`run`] hands a function to the process's pool and returns a [`Call`] to await, on any executor.
//! Nothing waits for a thread of the pool: a function that never returns occupies one thread, and
//! delays neither the end of a scheduler nor that of the process.

// The caller and the job of each call share one slot; whoever comes to it last drops the value. The
// user's code (the function, wakers, destructors) never runs under a lock.

mod threads;

use std::{
    fmt,
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
};

use self::threads::Pool;
pub use self::threads::{DEFAULT_MAX_THREADS, Statistics};
use crate::{
    coro,
    foreign::{self, panic_text},
    fork, log,
    primitives::{Mutex, lock},
};

/// Runs a blocking function on a thread of the pool, beginning now; the [`Call`] resolves to its
/// value.
///
/// The function is queued at the call, not at the first poll, behind earlier ones. The pool starts
/// a thread when none is idle and it has fewer than its maximum; threads that were idle for 10 s
/// end. At the maximum, functions wait in the queue, which holds at most one entry for each
/// [`Call`] that is alive. A function that waits for another function of the pool may then wait
/// forever.
///
/// If the pool has no thread and cannot start one, the function runs at once, on the calling
/// thread.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let text = asyncoro::pool::run(|| std::fs::read_to_string("Cargo.toml")).await?;
///     assert!(text.contains("[package]"));
///     Ok(())
/// })
/// # }
/// ```
///
/// # Panics
/// A panic of the function resumes in whoever awaits the call; if nobody does, it is logged.
///
/// # Cancel
/// Dropping the [`Call`] removes a function that has not begun from the queue; it never runs. One
/// that has begun runs to its end, and its value is dropped on its thread.
pub fn run<T, F>(function: F) -> Call<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    run_on(&threads::of_this_process(), function)
}

/// Sets the most threads that the pool may have; the default is [`DEFAULT_MAX_THREADS`].
///
/// If it is raised, waiting functions start at once; if it is lowered, threads end as their
/// functions return.
///
/// ```
/// asyncoro::pool::set_max_threads(8);
/// assert_eq!(asyncoro::pool::statistics().max_threads, 8);
/// ```
///
/// # Panics
/// If `max_threads` is 0.
pub fn set_max_threads(max_threads: usize) {
    assert!(max_threads > 0, "the pool needs at least one thread");
    threads::of_this_process().set_max_threads(max_threads);
}

/// Returns the pool's current numbers.
///
/// ```
/// let before = asyncoro::pool::statistics();
/// assert!(before.idle <= before.threads);
/// ```
pub fn statistics() -> Statistics {
    threads::of_this_process().statistics()
}

/// The future of a function's value; made by [`run`].
///
/// # Panics
/// Awaiting it resumes the function's panic. It panics if it was polled after it had finished, or
/// if the process has forked since the call, since the threads stay with the parent.
#[must_use = "a call that is dropped before its function begins never runs it"]
pub struct Call<T> {
    slot: Arc<Mutex<Slot<T>>>,
    pool: Arc<Pool>,
    ticket: u64,
}

/// Passes the value from the job to the caller.
enum Slot<T> {
    /// The function has not ended; its caller waits with this waker.
    Waiting(Option<Waker>),
    /// The function has ended; its caller has not taken the result yet.
    Ended(thread::Result<T>),
    /// The caller has taken the result, or has dropped its `Call`.
    Closed,
}

impl<T> Future for Call<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        assert!(self.is_ours(), "a call of asyncoro::pool was awaited in a forked child");
        let next = Slot::Waiting(Some(context.waker().clone()));
        // Reads the slot and stores the waker in one step; the old content is dropped after the
        // lock is released.
        let previous = {
            let mut slot = lock(&self.slot);
            let next = if let Slot::Waiting(_) = *slot { next } else { Slot::Closed };
            mem::replace(&mut *slot, next)
        };
        match previous {
            Slot::Waiting(_) => Poll::Pending,
            Slot::Ended(Ok(value)) => Poll::Ready(value),
            Slot::Ended(Err(panic)) => resume_unwind(panic),
            Slot::Closed => panic!("a call of asyncoro::pool was awaited after it had ended"),
        }
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        // A thread of the parent may have held the locks when the process forked.
        if !self.is_ours() {
            return;
        }
        let previous = mem::replace(&mut *lock(&self.slot), Slot::Closed);
        match previous {
            Slot::Waiting(_) => drop(self.pool.withdraw(self.ticket)),
            Slot::Ended(result) => discard(result),
            Slot::Closed => (),
        }
    }
}

impl<T> Call<T> {
    fn is_ours(&self) -> bool {
        self.pool.process == fork::generation()
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

fn run_on<T, F>(pool: &Arc<Pool>, function: F) -> Call<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let slot = Arc::new(Mutex::new(Slot::Waiting(None)));
    let job_slot = Arc::clone(&slot);
    let job = move || finish(&job_slot, catch_unwind(AssertUnwindSafe(function)));
    let ticket = pool.submit(job);
    Call { slot, pool: Arc::clone(pool), ticket }
}

/// Stores the result for the caller and wakes it, or drops the result if the caller has dropped its
/// `Call`.
fn finish<T>(slot: &Mutex<Slot<T>>, result: thread::Result<T>) {
    let mut guard = lock(slot);
    match mem::replace(&mut *guard, Slot::Closed) {
        Slot::Waiting(waker) => {
            *guard = Slot::Ended(result);
            drop(guard);
            if let Some(waker) = waker {
                coro::waker::wake(waker);
            }
        }
        Slot::Closed => {
            drop(guard);
            discard(result);
        }
        Slot::Ended(_) => unreachable!("a job ends once"),
    }
}

/// Drops a result that nobody awaits; contains and logs panics.
fn discard<T>(result: thread::Result<T>) {
    match result {
        Ok(value) => {
            foreign::contain("the drop of a value of asyncoro::pool", || drop(value));
        }
        Err(panic) => {
            let reason = panic_text(&*panic);
            log::error(format_args!(
                "a function of asyncoro::pool that nobody awaited panicked: {reason}"
            ));
            foreign::discard(panic);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        task::Wake,
        time::Duration,
    };

    use super::{threads::tests::eventually, *};

    fn pool(max_threads: usize) -> Arc<Pool> {
        Pool::new(fork::generation(), max_threads, Duration::from_millis(200))
    }

    /// Runs a future outside of any scheduler.
    fn block_on<F: Future>(future: F) -> F::Output {
        struct Unpark(thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(thread::current())).into();
        let mut future = std::pin::pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park(),
            }
        }
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Counts its drops, and sends the thread of each.
    struct Witness(Arc<Count>, mpsc::Sender<thread::ThreadId>);

    impl Drop for Witness {
        fn drop(&mut self) {
            self.0.0.fetch_add(1, Ordering::SeqCst);
            let _ = self.1.send(thread::current().id());
        }
    }

    #[test]
    fn a_thousand_calls_on_four_threads_all_give_their_values() {
        let pool = pool(4);
        let calls: Vec<_> = (0..1000_u64).map(|n| run_on(&pool, move || n * n)).collect();
        for (n, call) in (0..).zip(calls) {
            assert_eq!(block_on(call), n * n);
        }
        assert!(pool.statistics().threads <= 4);
    }

    #[test]
    fn the_pool_of_the_process_serves_any_executor() {
        assert_eq!(block_on(run(|| 7)), 7);
        assert!(statistics().threads >= 1);
    }

    #[test]
    fn a_panic_goes_on_in_the_caller_and_the_pool_lives_on() {
        let pool = pool(1);
        let call = run_on(&pool, || -> u8 { panic!("mine") });
        let panic = catch_unwind(AssertUnwindSafe(|| block_on(call))).unwrap_err();
        assert_eq!(panic_text(&*panic), "mine");
        drop(run_on(&pool, || panic!("nobody's")));
        assert_eq!(block_on(run_on(&pool, || 7)), 7);
        assert_eq!(pool.statistics().threads, 1);
    }

    #[test]
    fn a_call_dropped_before_it_began_never_runs_and_leaves_the_queue() {
        let pool = pool(1);
        let (open, gate) = mpsc::channel::<()>();
        let stuck = run_on(&pool, move || gate.recv());
        let held = Arc::new(());
        let inner = Arc::clone(&held);
        let call = run_on(&pool, move || panic!("ran with {inner:?}"));
        eventually(|| pool.statistics().queued == 1);
        drop(call);
        assert_eq!(pool.statistics().queued, 0);
        assert_eq!(Arc::strong_count(&held), 1, "what the function held is dropped too");
        open.send(()).unwrap();
        block_on(stuck).unwrap();
    }

    #[test]
    fn the_value_of_a_call_dropped_in_mid_run_is_dropped_on_its_thread() {
        let pool = pool(1);
        let (open, gate) = mpsc::channel::<()>();
        let (began, beginning) = mpsc::channel();
        let (dropped, drops) = mpsc::channel();
        let call = run_on(&pool, move || {
            began.send(thread::current().id()).unwrap();
            gate.recv().unwrap();
            Witness(Arc::default(), dropped)
        });
        let its_thread = beginning.recv().unwrap();
        drop(call);
        open.send(()).unwrap();
        assert_eq!(drops.recv().unwrap(), its_thread);
    }

    #[test]
    fn drop_and_end_at_the_same_time_leave_nothing_behind() {
        let pool = pool(2);
        let (made, gone) = (Arc::<Count>::default(), Arc::<Count>::default());
        let (sender, _receiver) = mpsc::channel();
        for n in 0..1000 {
            let (made, witness) = (Arc::clone(&made), Witness(Arc::clone(&gone), sender.clone()));
            let mut call = run_on(&pool, move || {
                made.0.fetch_add(1, Ordering::SeqCst);
                witness
            });
            if n % 2 == 0 {
                let _ = Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop()));
            }
            if n % 3 == 0 {
                thread::yield_now();
            }
        }
        eventually(|| gone.get() == 1000);
        assert!(made.get() <= 1000);
        assert_eq!(pool.statistics().queued, 0);
    }

    #[test]
    fn the_waker_of_the_last_poll_is_woken_and_no_other() {
        let pool = pool(1);
        let (open, gate) = mpsc::channel::<()>();
        let mut call = run_on(&pool, move || gate.recv());
        let wakers = [Arc::<Count>::default(), Arc::<Count>::default()];
        for count in &wakers {
            let waker = Waker::from(Arc::clone(count));
            assert!(Pin::new(&mut call).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        open.send(()).unwrap();
        eventually(|| wakers[1].get() == 1);
        assert_eq!(wakers[0].get(), 0);
        block_on(call).unwrap();
    }

    #[test]
    fn a_waker_that_panics_does_not_cost_the_thread() {
        struct Bad;
        impl Wake for Bad {
            fn wake(self: Arc<Self>) {
                panic!("the waker's");
            }
        }
        let pool = pool(1);
        let (open, gate) = mpsc::channel::<()>();
        let mut call = run_on(&pool, move || gate.recv());
        let waker = Waker::from(Arc::new(Bad));
        assert!(Pin::new(&mut call).poll(&mut Context::from_waker(&waker)).is_pending());
        open.send(()).unwrap();
        assert_eq!(block_on(run_on(&pool, || 7)), 7);
        block_on(call).unwrap();
    }
}
