//! The scheduler's state for objects with a descriptor: the driver, the table of registered
//! sources, and the lists of sources that are called later.
//!
//! Nothing here calls a source, so all of it is generic over the type of a source (`S`);
//! `engine/watch.rs`, which does, first takes the source out of its list.

pub(super) mod batches;
pub(super) mod lingering;
pub(super) mod settling;
mod sources;
mod way;

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::{Rc, Weak},
    task::Waker,
    time::{Duration, Instant},
};

use self::{batches::Batches, lingering::Lingering, settling::Settling, sources::Sources};
use crate::{
    coro::{batching::BatchSettings, waker},
    driver::{Driver, Interest, Token},
};

/// The scheduler's state for sources.
pub(super) struct Io<S: ?Sized> {
    pub(super) driver: RefCell<Driver>,
    pub(super) sources: RefCell<Sources<S>>,
    /// Duplicates for sources whose own descriptor was registered already, by token.
    duplicates: RefCell<HashMap<u64, OwnedFd>>,
    /// Whether the driver distinguishes a hang-up from data.
    pub(super) tells_hangup: bool,
    /// What was received ahead of verbs, and the ring.
    pub(super) batches: RefCell<Batches>,
    /// Sources that are flushed at the end of this turn.
    pub(super) dirty: RefCell<Vec<Rc<S>>>,
    /// Sources that have used up their share of this turn.
    pub(super) unfinished: RefCell<Vec<Rc<S>>>,
    pub(super) lingering: RefCell<Lingering<S>>,
    /// Sources that continue after a pause, ordered by time.
    pub(super) retries: RefCell<VecDeque<Retry<S>>>,
    pub(super) settling: RefCell<Settling<S>>,
    /// Whether a verb has tried to send since the last wait.
    pub(super) tried_to_send: Cell<bool>,
    /// Wakers of coroutines that wait until this process closes a descriptor.
    wait_for_close: RefCell<Vec<Waker>>,
    pub(super) sleeps: Cell<u64>,
    pub(super) events: Cell<u64>,
    pub(super) flushes: Cell<u64>,
}

/// A source that continues after a pause.
pub(super) struct Retry<S: ?Sized> {
    pub(super) source: Weak<S>,
    pub(super) at: Instant,
}

/// Pause of a source where the system lacks memory or watches, for which there is no event.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(20);

impl<S: ?Sized> Io<S> {
    pub(super) fn new(driver: Driver, batching: BatchSettings) -> Io<S> {
        Io {
            tells_hangup: driver.tells_hangup(),
            driver: RefCell::new(driver),
            sources: RefCell::new(Sources::new()),
            duplicates: RefCell::default(),
            batches: RefCell::new(Batches::new(batching)),
            dirty: RefCell::new(Vec::new()),
            unfinished: RefCell::new(Vec::new()),
            lingering: RefCell::new(Lingering::new()),
            retries: RefCell::new(VecDeque::new()),
            settling: RefCell::new(Settling::new()),
            tried_to_send: Cell::new(false),
            wait_for_close: RefCell::default(),
            sleeps: Cell::new(0),
            events: Cell::new(0),
            flushes: Cell::new(0),
        }
    }

    /// Returns the number of sources registered with the driver.
    pub(super) fn registered(&self) -> usize {
        self.sources.borrow().registered()
    }

    pub(super) fn register(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        source: Weak<S>,
    ) -> io::Result<Token> {
        let token = self.sources.borrow_mut().insert(source);
        let added = self.driver.borrow().add(fd, interest, token);
        let added = match added {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.register_duplicate(fd, interest, token)
            }
            added => added,
        };
        match added {
            Ok(()) => Ok(token),
            Err(error) => {
                self.sources.borrow_mut().remove(token);
                Err(error)
            }
        }
    }

    /// Registers a source whose descriptor another source has registered, such as two sockets that
    /// borrow it: both get all events.
    #[cold]
    fn register_duplicate(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> io::Result<()> {
        let duplicate = fd.try_clone_to_owned()?;
        self.driver.borrow().add(duplicate.as_fd(), interest, token)?;
        self.duplicates.borrow_mut().insert(token.0, duplicate);
        Ok(())
    }

    fn take_duplicate(&self, token: Token) -> Option<OwnedFd> {
        let mut duplicates = self.duplicates.borrow_mut();
        if duplicates.is_empty() { None } else { duplicates.remove(&token.0) }
    }

    pub(super) fn reregister(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> io::Result<()> {
        let duplicates = self.duplicates.borrow();
        // Usually there are none, and nothing is looked up.
        let fd = duplicates.get(&token.0).map_or(fd, AsFd::as_fd);
        self.driver.borrow().modify(fd, interest, token)
    }

    /// Removes a source. The kernel's list stays as it is if it belongs to another process.
    pub(super) fn deregister(&self, fd: BorrowedFd<'_>, token: Token, list: KernelsList) {
        let duplicate = self.take_duplicate(token);
        let fd = duplicate.as_ref().map_or(fd, AsFd::as_fd);
        if list == KernelsList::Own {
            self.driver.borrow().remove(fd);
        }
        self.sources.borrow_mut().remove(token);
    }

    /// Makes [`Io::pop_retry`] return `source` after [`RETRY_PAUSE`].
    pub(super) fn retry_later(&self, source: Weak<S>) {
        let at = Driver::after(RETRY_PAUSE);
        self.retries.borrow_mut().push_back(Retry { source, at });
    }

    /// Takes out a source whose pause is over.
    pub(super) fn pop_retry(&self, now: Instant) -> Option<Retry<S>> {
        let mut retries = self.retries.borrow_mut();
        if retries.front()?.at <= now { retries.pop_front() } else { None }
    }

    /// Keeps `waker` until this process closes a descriptor.
    pub(super) fn wake_on_close(&self, waker: &Waker) {
        let waker = waker.clone();
        let mut waiting = self.wait_for_close.borrow_mut();
        if !waiting.iter().any(|other| other.will_wake(&waker)) {
            waiting.push(waker);
        }
    }

    /// Wakes the coroutines that wait until this process closes a descriptor.
    pub(super) fn descriptor_closed(&self) {
        if !self.wait_for_close.borrow().is_empty() {
            self.wait_for_close.take().into_iter().for_each(waker::wake);
        }
    }

    /// Returns when the next source must be called without an event.
    #[cold]
    pub(super) fn next_chore(&self) -> Option<Instant> {
        let lingering = self.lingering.borrow().first();
        let retry = self.retries.borrow().front().map(|retry| retry.at);
        lingering.into_iter().chain(retry).chain(self.settling.borrow().next()).min()
    }
}

/// The owner of the kernel's list of descriptors: a child of fork(2) shares it with its parent and
/// must not change it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KernelsList {
    Own,
    Parents,
}
