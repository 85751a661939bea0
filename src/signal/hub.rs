//! From the signal handlers to the futures: one socket pair and one thread for the process.
//!
//! `signal-hook` does in a handler what may be done there: it sets the flag of the signal, then
//! writes a byte into the pair. The thread reads that, counts, and wakes; it is detached and ends
//! with the process. What must stay true:
//! - whoever makes a new future counts first what the thread has not come to yet, so that an
//!   earlier signal is never taken for the next one;
//! - the flags, not the bytes, say which signal it was, so that one which a fork(2)ed child gets
//!   and rings with in the shared pair is not ours;
//! - a child has a hub of its own, and leaves its parent's alone, lock and all.

use std::{
    io::{self, Read},
    mem,
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    thread,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    low_level::{pipe, unregister},
};

use crate::{
    coro,
    fork::{self, Global},
    log,
    sync::line::Line,
};

/// What there is once in the process: the thread, its socket pair, and what they count.
pub(super) struct Hub {
    /// The process that has the thread.
    process: u32,
    /// Set by the handler of each kind.
    caught: [Arc<AtomicBool>; Kind::ALL.len()],
    /// Where the handlers write a byte to wake the thread.
    bell: UnixStream,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    handled: [bool; Kind::ALL.len()],
    /// Signals of each kind; those that came while one was waiting to be counted count as one.
    counts: [u64; Kind::ALL.len()],
    pub(super) waiting: Line<()>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Interrupt,
    Terminate,
}

impl Kind {
    const ALL: [Kind; 2] = [Kind::Interrupt, Kind::Terminate];

    fn number(self) -> i32 {
        match self {
            Kind::Interrupt => SIGINT,
            Kind::Terminate => SIGTERM,
        }
    }
}

impl Hub {
    pub(super) fn of_the_process() -> io::Result<Arc<Hub>> {
        static HUB: Global<Mutex<Option<Arc<Hub>>>> = Global::new();
        let hub = HUB.of_this_process(|_| Mutex::default());
        let mut hub = hub.lock().unwrap_or_else(PoisonError::into_inner);
        match &*hub {
            Some(hub) => Ok(hub.clone()),
            None => Ok(hub.insert(Hub::start()?).clone()),
        }
    }

    /// Whether it is that of a process that this one was forked from.
    pub(super) fn is_inherited(&self) -> bool {
        self.process != fork::generation()
    }

    fn start() -> io::Result<Arc<Hub>> {
        let (ear, bell) = UnixStream::pair()?;
        let (process, caught, state) = (fork::generation(), Default::default(), Mutex::default());
        let hub = Arc::new(Hub { process, caught, bell, state });
        let listener = hub.clone();
        let thread = thread::Builder::new().name("asyncoro-signal".to_owned());
        thread.spawn(move || listener.listen(&ear))?;
        Ok(hub)
    }

    /// The thread: counts and wakes whenever a handler has run, as long as the process lives.
    fn listen(&self, mut ear: &UnixStream) {
        loop {
            match ear.read(&mut [0; 64]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Neither an end nor an error can come while `bell` is open, and it stays open.
                Ok(0) | Err(_) => {
                    return log::error(format_args!("signals are no longer received"));
                }
                Ok(_) => wake(self.locked(|state| state.count(self))),
            }
        }
    }

    pub(super) fn locked<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// Installs the handlers of `kinds` that are not there yet.
    pub(super) fn handle(&mut self, hub: &Hub, kinds: &[Kind]) -> io::Result<()> {
        for &kind in kinds {
            if mem::replace(&mut self.handled[kind as usize], true) {
                continue;
            }
            let handled = handle(kind, &hub.caught[kind as usize], &hub.bell);
            self.handled[kind as usize] = handled.is_ok();
            handled?;
        }
        Ok(())
    }

    /// Counts what the handlers caught since this was done last; returns whom to wake.
    pub(super) fn count(&mut self, hub: &Hub) -> Vec<Waker> {
        let mut any = false;
        for (count, caught) in self.counts.iter_mut().zip(&hub.caught) {
            if caught.swap(false, Ordering::SeqCst) {
                *count += 1;
                any = true;
            }
        }
        if any { self.waiting.alarm() } else { Vec::new() }
    }

    pub(super) fn counted(&self, kinds: &[Kind]) -> u64 {
        kinds.iter().map(|&kind| self.counts[kind as usize]).sum()
    }
}

/// Installs a handler that sets `caught`, then rings `bell`: actions run in the order of
/// registration.
fn handle(kind: Kind, caught: &Arc<AtomicBool>, bell: &UnixStream) -> io::Result<()> {
    let bell = bell.try_clone()?;
    let flagging = flag::register(kind.number(), caught.clone())?;
    pipe::register(kind.number(), bell).inspect_err(|_| {
        unregister(flagging);
    })?;
    Ok(())
}

/// Wakes them all, also if one of those wakers, which are not ours, panics: the thread must live
/// on.
pub(super) fn wake(waiting: Vec<Waker>) {
    for waker in waiting {
        coro::waker::wake(waker);
    }
}
