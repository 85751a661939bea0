//! What both owners of a cell look at, whatever its future is: who is still there, whether the
//! coroutine is to end, where it was spawned, how it is woken, what shows its error.
//!
//! All of it is atomics. Unsafe: the address of a location that lives for ever is kept beside a bit
//! and made a reference again; a function pointer is kept in an atomic pointer, and only what
//! [`Head::set_log`] has put there is made a function again.
#![allow(unsafe_code)]

use std::{mem, panic::Location, ptr};

use crate::{
    coro::{state::JoinState, who::Who},
    primitives::{AtomicPtr, AtomicUsize, Ordering},
};

/// What both owners look at, whatever the future is.
pub(super) struct Head {
    pub(super) join: JoinState,
    pub(super) mark: Mark,
    /// The key that wakes the coroutine; until the scheduler has given it a place, what names only
    /// the scheduler, or zero.
    pub(super) key: AtomicUsize,
    /// The [`Log`] that an error of a detached coroutine is shown to, or null.
    log: AtomicPtr<()>,
}

impl Head {
    pub(super) fn new(spawned: &'static Location<'static>) -> Head {
        Head {
            join: JoinState::new(),
            mark: Mark::new(spawned),
            key: AtomicUsize::new(0),
            log: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Keeps `log`, which is one for the result of this cell. What detaches makes it known to the
    /// scheduler's owner.
    pub(super) fn set_log(&self, log: Log) {
        self.log.store(log as *mut (), Ordering::Relaxed);
    }

    pub(super) fn log(&self) -> Option<Log> {
        let log = self.log.load(Ordering::Relaxed);
        // SAFETY: null, which is none, or put there by `set_log`.
        unsafe { mem::transmute::<*mut (), Option<Log>>(log) }
    }
}

/// Where a coroutine was spawned, and whether it is to end, in one word: a location's address is
/// even.
pub(super) struct Mark(AtomicUsize);

const TERMINATE: usize = 1;
const _: () = assert!(align_of::<Location<'_>>() > TERMINATE, "there is a bit for TERMINATE");

impl Mark {
    fn new(spawned: &'static Location<'static>) -> Mark {
        Mark(AtomicUsize::new(ptr::from_ref(spawned).expose_provenance()))
    }

    #[inline]
    pub(super) fn spawned(&self) -> &'static Location<'static> {
        let address = self.0.load(Ordering::Relaxed) & !TERMINATE;
        // SAFETY: `new` has exposed the address of a location that lives for ever.
        unsafe { &*ptr::with_exposed_provenance(address) }
    }

    pub(super) fn terminate(&self) {
        self.0.fetch_or(TERMINATE, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_to_end(&self) -> bool {
        self.0.load(Ordering::Relaxed) & TERMINATE != 0
    }
}

/// Shows a result, which is a `Result<Result<T, E>, Ended>`, to the log.
pub(super) type Log = fn(*const (), Who<'_>);
