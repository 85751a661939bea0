//! The threads of the pool: a queue of jobs, a stack of idle threads, and one pool for each
//! process.
//!
//! Invariants:
//! - A thread is idle (on the stack) or not. Submitting a job takes an idle thread off the stack
//!   and wakes it, so that two jobs never count on the same thread. A thread goes on the stack only
//!   when the queue is empty. So while a thread is idle, each queued job has a woken thread of its
//!   own; and a woken thread checks the queue before it may end.
//! - The stack is last in, first out: the threads at its bottom get no work and end, even while a
//!   few jobs keep those on top busy.
//! - While there are no threads, the queue is empty.
//! - The clock is the system's, not the driver's, since no scheduler runs these threads.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    thread::{self, Thread},
    time::{Duration, Instant},
};

use crate::{
    foreign,
    fork::{self, Global},
    log,
    primitives::{AtomicUsize, Mutex, MutexGuard, Ordering, lock},
};

/// The most threads that the pool may have, unless [`set_max_threads`](super::set_max_threads) sets
/// another number.
///
/// Blocking functions wait (for a disk, a name server) rather than compute, so it is not the number
/// of cores. 64 allows for dozens of stuck look-ups beside working calls, and is far below the
/// limits on threads that containers have.
pub const DEFAULT_MAX_THREADS: usize = 64;

/// The pool's numbers; returned by [`statistics`](super::statistics).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Threads that exist.
    pub threads: usize,
    /// Threads that wait for a function.
    pub idle: usize,
    /// Functions that wait for a thread.
    pub queued: usize,
    /// The most threads that there may be.
    pub max_threads: usize,
}

/// How long a thread stays idle before it ends.
const IDLE_AFTER: Duration = Duration::from_secs(10);

pub(super) type Job = Box<dyn FnOnce() + Send>;

pub(super) struct Pool {
    /// The number of the process that has the threads; a forked child has none of them.
    pub(super) process: u32,
    idle_after: Duration,
    start: fn(Arc<Pool>) -> io::Result<()>,
    /// Changes only under the lock; an atomic so that a forked child can read it without the lock.
    max_threads: AtomicUsize,
    state: Mutex<PoolState>,
}

struct PoolState {
    /// The jobs by ticket: the first is the oldest, and any can be withdrawn.
    queue: BTreeMap<u64, Job>,
    next_ticket: u64,
    threads: usize,
    idle: Vec<Thread>,
}

/// Returns the pool of this process; makes it at first use, and anew after a fork.
pub(super) fn of_this_process() -> Arc<Pool> {
    fork::watch();
    of_process(&POOLS, fork::generation())
}

impl Pool {
    pub(super) fn new(process: u32, max_threads: usize, idle_after: Duration) -> Arc<Pool> {
        Self::with_start(process, max_threads, idle_after, start)
    }

    fn with_start(
        process: u32,
        max_threads: usize,
        idle_after: Duration,
        start: fn(Arc<Pool>) -> io::Result<()>,
    ) -> Arc<Pool> {
        let state =
            PoolState { queue: BTreeMap::new(), next_ticket: 0, threads: 0, idle: Vec::new() };
        let (max_threads, state) = (AtomicUsize::new(max_threads), Mutex::new(state));
        Arc::new(Pool { process, idle_after, start, max_threads, state })
    }

    /// Queues `job` and wakes or starts a thread for it; returns the ticket to withdraw it with.
    pub(super) fn submit(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) -> u64 {
        let job: Job = Box::new(job);
        let mut state = lock(&self.state);
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.queue.insert(ticket, job);
        if let Some(thread) = state.idle.pop() {
            thread.unpark();
        } else if state.threads < self.max_threads()
            && let Err(error) = self.add_thread(&mut state)
        {
            let nobody_comes = state.threads == 0;
            let stranded = nobody_comes.then(|| state.queue.remove(&ticket)).flatten();
            drop(state);
            no_thread(&error);
            if let Some(job) = stranded {
                contained(job);
            }
        }
        ticket
    }

    /// Removes a job that has not begun from the queue; the caller drops it without the lock.
    pub(super) fn withdraw(&self, ticket: u64) -> Option<Job> {
        lock(&self.state).queue.remove(&ticket)
    }

    pub(super) fn set_max_threads(self: &Arc<Self>, max_threads: usize) {
        let mut state = lock(&self.state);
        self.max_threads.store(max_threads, Ordering::Relaxed);
        // Threads over the maximum end; the others stay idle.
        state.idle.iter().for_each(Thread::unpark);
        if !state.idle.is_empty() {
            return;
        }
        let missing = state.queue.len().min(max_threads.saturating_sub(state.threads));
        let started = (0..missing).try_for_each(|_| self.add_thread(&mut state));
        drop(state);
        if let Err(error) = started {
            no_thread(&error);
        }
    }

    pub(super) fn statistics(&self) -> Statistics {
        let state = lock(&self.state);
        Statistics {
            threads: state.threads,
            idle: state.idle.len(),
            queued: state.queue.len(),
            max_threads: self.max_threads(),
        }
    }

    fn max_threads(&self) -> usize {
        self.max_threads.load(Ordering::Relaxed)
    }

    /// Starts a thread. It first waits for the lock that the caller holds, so it is counted before
    /// it runs.
    fn add_thread(self: &Arc<Self>, state: &mut PoolState) -> io::Result<()> {
        (self.start)(Arc::clone(self))?;
        state.threads += 1;
        Ok(())
    }

    /// Runs jobs until this thread is to end.
    fn work(&self) {
        while let Some(job) = self.next_job() {
            contained(job);
            let mut state = lock(&self.state);
            if state.threads > self.max_threads() {
                state.threads -= 1;
                return;
            }
        }
    }

    /// Returns the next job, or `None` if this thread is to end.
    fn next_job(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        loop {
            if let Some((_, job)) = state.queue.pop_first() {
                return Some(job);
            }
            state = self.rest(state)?;
        }
    }

    /// Keeps this thread idle until somebody takes it off the stack; returns `None` if it is to
    /// end.
    fn rest<'a>(
        &'a self,
        mut state: MutexGuard<'a, PoolState>,
    ) -> Option<MutexGuard<'a, PoolState>> {
        let this = thread::current();
        let until = Instant::now() + self.idle_after;
        state.idle.push(this.clone());
        while let Some(place) = state.idle.iter().position(|idle| idle.id() == this.id()) {
            let now = Instant::now();
            if now >= until || state.threads > self.max_threads() {
                state.idle.remove(place);
                state.threads -= 1;
                return None;
            }
            drop(state);
            thread::park_timeout(until - now);
            state = lock(&self.state);
        }
        Some(state)
    }
}

fn start(pool: Arc<Pool>) -> io::Result<()> {
    thread::Builder::new().name("asyncoro-pool".to_owned()).spawn(move || pool.work()).map(drop)
}

/// Runs a job, which catches its function's panic itself; contains the panics of destructors.
fn contained(job: Job) {
    foreign::contain("a job of asyncoro::pool", job);
}

fn no_thread(error: &io::Error) {
    log::warn(format_args!(
        "asyncoro::pool cannot start a thread, functions wait or run in place: {error}"
    ));
}

static POOLS: Global<Arc<Pool>> = Global::new();

/// Returns the pool of a process; the first call in a child makes one with the maximum of its
/// parent's.
fn of_process(pools: &Global<Arc<Pool>>, process: u32) -> Arc<Pool> {
    let pool = pools.of_generation(process, |parent| {
        let max_threads = parent.map_or(DEFAULT_MAX_THREADS, |pool| pool.max_threads());
        Pool::new(process, max_threads, IDLE_AFTER)
    });
    Arc::clone(pool)
}

#[cfg(all(test, not(loom)))]
pub(super) mod tests {
    use std::{
        sync::mpsc::{self, Receiver, Sender},
        thread::ThreadId,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    pub(crate) fn eventually(condition: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < until, "it did not come true in 20 s");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn pool(max_threads: usize) -> Arc<Pool> {
        Pool::new(fork::generation(), max_threads, LONG)
    }

    /// Submits a job that sends its thread's id, and ends when its gate is opened or dropped.
    fn stuck(pool: &Arc<Pool>) -> (Sender<()>, Receiver<ThreadId>) {
        let (open, gate) = mpsc::channel::<()>();
        let (began, beginning) = mpsc::channel();
        pool.submit(move || {
            let _ = began.send(thread::current().id());
            let _ = gate.recv();
        });
        (open, beginning)
    }

    /// Runs a job to its end and returns its thread's id.
    fn quick(pool: &Arc<Pool>) -> ThreadId {
        let (sender, receiver) = mpsc::channel();
        pool.submit(move || sender.send(thread::current().id()).unwrap());
        receiver.recv_timeout(Duration::from_secs(20)).expect("the job runs")
    }

    #[test]
    fn jobs_begin_in_the_order_of_their_calls() {
        let pool = pool(1);
        let (open, _) = stuck(&pool);
        let (sender, receiver) = mpsc::channel();
        for n in 0..100 {
            let sender = sender.clone();
            pool.submit(move || sender.send(n).unwrap());
        }
        drop((open, sender));
        assert!(receiver.iter().eq(0..100));
    }

    #[test]
    fn stuck_jobs_stop_nobody_below_the_bound_and_at_the_bound_jobs_wait() {
        let pool = pool(3);
        let first_two = [stuck(&pool), stuck(&pool)];
        for (_, began) in &first_two {
            began.recv().unwrap();
        }
        for _ in 0..10 {
            quick(&pool);
        }

        let (open, began) = stuck(&pool);
        began.recv().unwrap();
        let (ran, running) = mpsc::channel();
        pool.submit(move || ran.send(()).unwrap());
        let now = pool.statistics();
        assert_eq!((now.threads, now.idle, now.queued), (3, 0, 1));
        drop(open);
        running.recv().unwrap();
    }

    #[test]
    fn each_job_has_a_thread_of_its_own_while_there_is_room() {
        for _ in 0..200 {
            let pool = pool(8);
            quick(&pool);
            // Some of these find the first thread idle, some find it woken but not yet running.
            let jobs: Vec<_> = (0..8).map(|_| stuck(&pool)).collect();
            for (_, began) in &jobs {
                began.recv().unwrap();
            }
            assert_eq!(pool.statistics().threads, 8);
        }
    }

    #[test]
    fn idle_threads_leave_and_new_ones_come() {
        let pool = Pool::new(fork::generation(), 4, Duration::from_millis(10));
        let jobs: Vec<_> = (0..4).map(|_| stuck(&pool)).collect();
        assert_eq!(pool.statistics().threads, 4);
        drop(jobs);
        eventually(|| pool.statistics().threads == 0);
        assert_eq!(pool.statistics().idle, 0);
        quick(&pool);
        // The threads let go of the pool when they leave.
        eventually(|| Arc::strong_count(&pool) == 1);
    }

    #[test]
    fn the_thread_that_has_rested_least_is_called_first() {
        let pool = pool(2);
        let [(open_a, began_a), (open_b, began_b)] = [stuck(&pool), stuck(&pool)];
        let (_, b) = (began_a.recv().unwrap(), began_b.recv().unwrap());
        drop(open_a);
        eventually(|| pool.statistics().idle == 1);
        drop(open_b);
        for _ in 0..10 {
            eventually(|| pool.statistics().idle == 2);
            assert_eq!(quick(&pool), b);
        }
    }

    #[test]
    fn a_lower_bound_sends_threads_away_and_a_higher_one_starts_waiting_jobs() {
        let pool = pool(4);
        let jobs: Vec<_> = (0..4).map(|_| stuck(&pool)).collect();
        pool.set_max_threads(2);
        assert_eq!(pool.statistics().threads, 4, "nobody is interrupted");
        drop(jobs);
        eventually(|| pool.statistics().threads == 2 && pool.statistics().idle == 2);
        pool.set_max_threads(1);
        eventually(|| pool.statistics().threads == 1);

        let jobs: Vec<_> = (0..4).map(|_| stuck(&pool)).collect();
        pool.set_max_threads(4);
        for (_, began) in &jobs {
            began.recv().unwrap();
        }
        assert_eq!(pool.statistics().threads, 4);
    }

    #[test]
    fn without_any_thread_a_job_runs_in_place() {
        let none = |_| Err(io::ErrorKind::WouldBlock.into());
        let pool = Pool::with_start(fork::generation(), 4, LONG, none);
        assert_eq!(quick(&pool), thread::current().id());
        let now = pool.statistics();
        assert_eq!((now.threads, now.queued), (0, 0));
    }

    #[test]
    fn without_a_further_thread_jobs_wait_for_those_there_are() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let one = |pool| match STARTED.fetch_add(1, Ordering::SeqCst) {
            0 => start(pool),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        };
        let pool = Pool::with_start(fork::generation(), 4, LONG, one);
        let (open, began) = stuck(&pool);
        let its_thread = began.recv().unwrap();
        let (sender, receiver) = mpsc::channel();
        pool.submit(move || sender.send(thread::current().id()).unwrap());
        assert_eq!(pool.statistics().queued, 1);
        drop(open);
        assert_eq!(receiver.recv().unwrap(), its_thread);
    }

    #[test]
    fn a_forked_child_has_a_pool_of_its_own_with_the_bound_of_its_parent() {
        let pools = Global::new();
        let parent = of_process(&pools, 1);
        assert!(Arc::ptr_eq(&parent, &of_process(&pools, 1)));
        parent.set_max_threads(5);
        let child = of_process(&pools, 2);
        assert!(!Arc::ptr_eq(&parent, &child));
        assert_eq!((child.process, child.max_threads()), (2, 5));
        assert!(Arc::ptr_eq(&child, &of_process(&pools, 2)));
    }
}
