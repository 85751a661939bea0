//! Futures that resolve when the process receives SIGINT or SIGTERM.
//!
//! A [`Signal`] counts from when it was made, and never resolves at an earlier signal.

// Wakers are cloned, woken and dropped without the hub's lock.

use std::{
    fmt,
    future::Future,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use self::hub::{Hub, SignalKind, wake};
use crate::sync::wait_queue::Ticket;

mod hub;

/// Resolves at the next SIGINT, which Ctrl-C on a terminal sends.
///
/// It counts from this call on, whether or not the future was polled yet. If several futures wait,
/// the same signal resolves all of them.
///
/// From the first call on **SIGINT no longer ends the process**, even after the future is dropped:
/// the program has to end itself. A handler that was installed before still runs.
///
/// # Example
/// ```
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let interrupted = asyncoro::signal::ctrl_c();
///     # signal_hook::low_level::raise(signal_hook::consts::SIGINT)?;
///     interrupted.await?;
///     println!("bye");
///     Ok(())
/// })
/// # }
/// ```
///
/// # Errors
/// The system's error when the handler, its socket pair or its thread could not be created.
///
/// # Cancel
/// Dropping it leaves only the handler installed. Awaited again by `&mut`, it resolves at once if
/// one or more signals came since it last resolved.
///
/// # Platform
/// Unix. It works in a child made by fork(2), too; a future that the child has inherited counts
/// from its first poll there.
pub fn ctrl_c() -> Signal {
    Signal::new(&[SignalKind::Interrupt])
}

/// Resolves at the next SIGTERM, which `kill`, service managers and containers send to end a
/// process.
///
/// Otherwise it is like [`ctrl_c`].
///
/// # Example
/// ```
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let terminated = asyncoro::signal::terminate();
///     # signal_hook::low_level::raise(signal_hook::consts::SIGTERM)?;
///     terminated.await
/// })
/// # }
/// ```
///
/// # Errors
/// As [`ctrl_c`].
pub fn terminate() -> Signal {
    Signal::new(&[SignalKind::Terminate])
}

/// Resolves when the process is asked to end: at the next SIGINT or SIGTERM, whichever comes first.
///
/// Otherwise it is like [`ctrl_c`], for both signals.
///
/// # Example
/// ```
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let mut shutdown = asyncoro::signal::shutdown();
///     asyncoro::spawn(async { /* serve */ });
///     # signal_hook::low_level::raise(signal_hook::consts::SIGTERM)?;
///     (&mut shutdown).await?;
///     println!("ending; once more Ctrl-C to end at once");
///     # signal_hook::low_level::raise(signal_hook::consts::SIGINT)?;
///     shutdown.await
/// })
/// # }
/// ```
///
/// # Errors
/// As [`ctrl_c`].
pub fn shutdown() -> Signal {
    Signal::new(&[SignalKind::Interrupt, SignalKind::Terminate])
}

/// The future of [`ctrl_c`], [`terminate`] and [`shutdown`].
#[must_use = "a signal is seen only when this is awaited"]
pub struct Signal {
    kinds: &'static [SignalKind],
    watch: io::Result<Watch>,
}

/// A `Signal` whose handlers are installed.
struct Watch {
    hub: Arc<Hub>,
    /// How many signals of these kinds were counted when it was made or last resolved.
    seen: u64,
    ticket: Option<Ticket>,
}

impl Signal {
    fn new(kinds: &'static [SignalKind]) -> Self {
        Self { kinds, watch: Watch::new(kinds) }
    }
}

impl Future for Signal {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let kinds = self.kinds;
        if self.watch.as_ref().is_ok_and(|watch| watch.hub.is_inherited()) {
            self.watch = Watch::new(kinds);
        }
        match &mut self.watch {
            Ok(watch) => watch.poll(kinds, context.waker()).map(Ok),
            failed => {
                // The next poll reports the outcome of another attempt.
                let failed = mem::replace(failed, Watch::new(kinds));
                Poll::Ready(failed.map(drop))
            }
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

impl Watch {
    fn new(kinds: &[SignalKind]) -> io::Result<Self> {
        let hub = Hub::of_the_process()?;
        let (seen, waiting) = hub.locked(|state| {
            state.handle(&hub, kinds)?;
            let waiting = state.count(&hub);
            io::Result::Ok((state.counted(kinds), waiting))
        })?;
        wake(waiting);
        Ok(Self { hub, seen, ticket: None })
    }

    fn poll(&mut self, kinds: &[SignalKind], waker: &Waker) -> Poll<()> {
        let mut own = None;
        loop {
            let (polled, _left) = self.hub.locked(|state| {
                let counted = state.counted(kinds);
                if counted == self.seen {
                    let waits = state.waiting.wait((), &mut self.ticket, waker, &mut own);
                    return (waits.then_some(Poll::Pending), None);
                }
                self.seen = counted;
                let left = self.ticket.take().and_then(|ticket| state.waiting.remove(ticket));
                (Some(Poll::Ready(())), left)
            });
            match polled {
                Some(poll) => return poll,
                None => own = Some(waker.clone()),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket
            && !self.hub.is_inherited()
        {
            drop(self.hub.locked(|state| state.waiting.remove(ticket)));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{
        process::Command,
        sync::{Mutex, MutexGuard, PoisonError},
        thread,
        time::Duration,
    };

    use signal_hook::{
        consts::{SIGINT, SIGTERM},
        low_level::raise,
    };

    use super::*;
    use crate::sync::block_on;

    /// Lets one test run at a time, since all tests of this process share its signals.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_once(signal: &mut Signal) -> Poll<io::Result<()>> {
        Pin::new(signal).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Waits long enough for the thread to count the signals that were raised.
    fn settle() {
        thread::sleep(Duration::from_millis(20));
    }

    #[test]
    fn every_waiting_signal_resolves_and_others_do_not() {
        let _alone = alone();
        let waiting: Vec<_> =
            (0..3).map(|_| ctrl_c()).map(|signal| thread::spawn(|| block_on(signal))).collect();
        let unpolled = ctrl_c();
        let mut other = terminate();
        let either = shutdown();
        assert!(poll_once(&mut other).is_pending());
        settle(); // most of the threads wait by now, but need not
        raise(SIGINT).unwrap();
        for thread in waiting {
            thread.join().unwrap().unwrap();
        }
        block_on(unpolled).unwrap();
        block_on(either).unwrap();
        assert!(poll_once(&mut other).is_pending());
        raise(SIGTERM).unwrap();
        block_on(other).unwrap();
    }

    #[test]
    fn a_signal_sent_by_another_process_resolves() {
        let _alone = alone();
        let (terminated, either) = (terminate(), shutdown());
        let id = std::process::id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        block_on(terminated).unwrap();
        block_on(either).unwrap();
    }

    #[test]
    fn an_earlier_signal_resolves_nothing() {
        let _alone = alone();
        drop(ctrl_c());
        for _ in 0..1000 {
            raise(SIGINT).unwrap();
            let mut late = ctrl_c();
            assert!(poll_once(&mut late).is_pending());
        }
        raise(SIGINT).unwrap();
        let mut late = ctrl_c();
        settle();
        assert!(poll_once(&mut late).is_pending());
        raise(SIGINT).unwrap();
        block_on(late).unwrap();
    }

    #[test]
    fn awaited_again_it_resolves_at_what_came_since() {
        let _alone = alone();
        let mut signal = ctrl_c();
        raise(SIGINT).unwrap();
        block_on(&mut signal).unwrap();
        assert!(poll_once(&mut signal).is_pending());
        raise(SIGINT).unwrap();
        raise(SIGINT).unwrap();
        settle();
        block_on(&mut signal).unwrap();
    }

    #[test]
    fn a_dropped_signal_leaves_no_waker_behind() {
        let _alone = alone();
        struct Nobody;
        impl std::task::Wake for Nobody {
            fn wake(self: Arc<Self>) {
                panic!("a dropped signal was woken");
            }
        }
        let nobody = Arc::new(Nobody);
        let mut dropped = ctrl_c();
        let mut kept = ctrl_c();
        let waker = Waker::from(nobody.clone());
        assert!(Pin::new(&mut dropped).poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(poll_once(&mut kept).is_pending());
        drop((dropped, waker));
        assert_eq!(Arc::strong_count(&nobody), 1);
        raise(SIGINT).unwrap();
        block_on(kept).unwrap();
    }

    #[test]
    fn a_waker_that_panics_does_not_end_the_thread() {
        let _alone = alone();
        struct Panics;
        impl std::task::Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("this panic is part of a test");
            }
        }
        let mut first = ctrl_c();
        let waker = Waker::from(Arc::new(Panics));
        assert!(Pin::new(&mut first).poll(&mut Context::from_waker(&waker)).is_pending());
        let mut second = ctrl_c();
        for _ in 0..2 {
            raise(SIGINT).unwrap();
            block_on(&mut second).unwrap();
        }
        assert!(poll_once(&mut first).is_ready());
    }

    #[test]
    fn it_crosses_threads() {
        fn crosses<T: Send + Sync + Unpin>() {}
        crosses::<Signal>();
    }
}
