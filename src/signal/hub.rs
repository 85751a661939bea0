//! Passes signals from the handlers to the futures, by one socket pair and one thread per process.
//!
//! A handler, made by `signal-hook`, sets the flag of its signal, then writes a byte into the pair.
//! The thread reads the byte, counts the flags, and wakes; it is detached and ends with the
//! process. Invariants:
//! - making a future first counts the signals that the thread has not counted yet, so that an
//!   earlier signal is never taken for the next one;
//! - the flags, not the bytes, tell which signal came, so that a byte which a forked child writes
//!   into the shared pair counts for nothing;
//! - a forked child has a hub of its own and never touches its parent's, nor its lock.

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
    sync::wait_queue::WaitQueue,
};

/// The process's signal handlers, their socket pair, and the counts.
pub(super) struct Hub {
    /// The number of the process whose thread this is.
    process: u32,
    /// A flag for each kind, set by its handler.
    caught: [Arc<AtomicBool>; SignalKind::ALL.len()],
    /// The end that the handlers write a byte to, to wake the thread.
    write_end: UnixStream,
    state: Mutex<HubState>,
}

#[derive(Default)]
pub(super) struct HubState {
    handled: [bool; SignalKind::ALL.len()],
    /// How many signals of each kind came; several that come before the thread counts them count as
    /// one.
    counts: [u64; SignalKind::ALL.len()],
    pub(super) waiting: WaitQueue<()>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum SignalKind {
    Interrupt,
    Terminate,
}

impl SignalKind {
    const ALL: [SignalKind; 2] = [SignalKind::Interrupt, SignalKind::Terminate];

    fn number(self) -> i32 {
        match self {
            SignalKind::Interrupt => SIGINT,
            SignalKind::Terminate => SIGTERM,
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

    /// Tells whether this hub belongs to a process that this one was forked from.
    pub(super) fn is_inherited(&self) -> bool {
        self.process != fork::generation()
    }

    fn start() -> io::Result<Arc<Hub>> {
        let (read_end, write_end) = UnixStream::pair()?;
        let (process, caught, state) = (fork::generation(), Default::default(), Mutex::default());
        let hub = Arc::new(Hub { process, caught, write_end, state });
        let listener = hub.clone();
        let thread = thread::Builder::new().name("asyncoro-signal".to_owned());
        thread.spawn(move || listener.listen(&read_end))?;
        Ok(hub)
    }

    /// Runs the thread: counts and wakes whenever a handler has run.
    fn listen(&self, mut read_end: &UnixStream) {
        loop {
            match read_end.read(&mut [0; 64]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Cannot happen: `write_end` stays open.
                Ok(0) | Err(_) => {
                    return log::error(format_args!("signals are no longer received"));
                }
                Ok(_) => wake(self.locked(|state| state.count(self))),
            }
        }
    }

    pub(super) fn locked<R>(&self, act: impl FnOnce(&mut HubState) -> R) -> R {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl HubState {
    /// Installs the handlers of `kinds` that are not installed yet.
    pub(super) fn handle(&mut self, hub: &Hub, kinds: &[SignalKind]) -> io::Result<()> {
        for &kind in kinds {
            if mem::replace(&mut self.handled[kind as usize], true) {
                continue;
            }
            let handled = handle(kind, &hub.caught[kind as usize], &hub.write_end);
            self.handled[kind as usize] = handled.is_ok();
            handled?;
        }
        Ok(())
    }

    /// Counts what the handlers caught since the last call; returns the wakers to wake.
    pub(super) fn count(&mut self, hub: &Hub) -> Vec<Waker> {
        let mut any = false;
        for (count, caught) in self.counts.iter_mut().zip(&hub.caught) {
            if caught.swap(false, Ordering::SeqCst) {
                *count += 1;
                any = true;
            }
        }
        if any { self.waiting.take_wakers() } else { Vec::new() }
    }

    pub(super) fn counted(&self, kinds: &[SignalKind]) -> u64 {
        kinds.iter().map(|&kind| self.counts[kind as usize]).sum()
    }
}

/// Installs a handler that sets `caught`, then writes to `write_end`: actions run in the order of
/// registration.
fn handle(kind: SignalKind, caught: &Arc<AtomicBool>, write_end: &UnixStream) -> io::Result<()> {
    let write_end = write_end.try_clone()?;
    let flagging = flag::register(kind.number(), caught.clone())?;
    pipe::register(kind.number(), write_end).inspect_err(|_| {
        unregister(flagging);
    })?;
    Ok(())
}

/// Wakes all of `waiting`, even if one of these foreign wakers panics.
pub(super) fn wake(waiting: Vec<Waker>) {
    for waker in waiting {
        coro::waker::wake(waker);
    }
}
