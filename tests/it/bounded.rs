//! Helpers: a scheduler with a time limit, and a thread whose sleep a test can wait for.

use std::{
    fs,
    future::Future,
    panic,
    path::PathBuf,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use asyncoro::time::timeout;

/// How long a test may take; far more than it needs on a slow machine.
const BOUND: Duration = Duration::from_secs(60);

/// Runs a future on a new scheduler.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    asyncoro::run_until(async { timeout(BOUND, future).await.expect("the test hangs") })
}

/// A thread whose sleep a test can wait for.
pub(crate) struct Watched<T> {
    place: PathBuf,
    handle: JoinHandle<T>,
}

impl<T: Send + 'static> Watched<T> {
    pub(crate) fn spawn(work: impl FnOnce() -> T + Send + 'static) -> Watched<T> {
        let (tell, told) = mpsc::channel();
        let handle = thread::spawn(move || {
            let own = fs::read_link("/proc/thread-self").expect("/proc is there");
            tell.send(PathBuf::from("/proc").join(own).join("stat")).expect("somebody listens");
            work()
        });
        Watched { place: told.recv().expect("it tells"), handle }
    }

    /// Returns once the thread sleeps in a system call, or has ended.
    pub(crate) fn asleep(self) -> Watched<T> {
        let is_awake = || {
            let stat = fs::read_to_string(&self.place).unwrap_or_default();
            // The state follows the name, which is in brackets.
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('R'))
        };
        while is_awake() {
            thread::yield_now();
        }
        self
    }

    pub(crate) fn join(self) -> T {
        self.handle.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    }
}
