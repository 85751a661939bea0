//! The part of a cell that both owners use, whatever its future is: ownership, the request to end,
//! where it was spawned, the key that wakes it, the function that logs its error.
//!
//! All fields are atomics. Unsafe: the address of a location that lives for ever is stored together
//! with a bit and converted back to a reference; a function pointer is stored in an atomic pointer,
//! and only a value from [`Head::set_log`] is converted back to a function.
#![allow(unsafe_code)]

use std::{mem, panic::Location, ptr};

use crate::{
    coro::{state::JoinState, who::Who},
    primitives::{AtomicPtr, AtomicUsize, Ordering},
};

/// The part of a cell that both owners use, whatever its future is.
pub(super) struct Head {
    pub(super) join: JoinState,
    pub(super) mark: Mark,
    /// The key that wakes the coroutine. Until it has a place, this key names only the scheduler,
    /// or is zero.
    pub(super) key: AtomicUsize,
    /// The [`Log`] that gets an error of a detached coroutine, or null.
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

    /// Stores `log`, which must fit the result of this cell. The detaching publishes it to the
    /// scheduler.
    pub(super) fn set_log(&self, log: Log) {
        self.log.store(log as *mut (), Ordering::Relaxed);
    }

    pub(super) fn log(&self) -> Option<Log> {
        let log = self.log.load(Ordering::Relaxed);
        // SAFETY: null, which is `None`, or stored by `set_log`.
        unsafe { mem::transmute::<*mut (), Option<Log>>(log) }
    }
}

/// Where a coroutine was spawned, and whether it must end, in one word: a location's address is
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

/// A function that logs a result, which must be a `Result<Result<T, E>, Failure>`.
pub(super) type Log = fn(*const (), Who<'_>);
