//! What a fork(2) leaves of a scheduler: nothing, in the child.
//!
//! The child has a copy of the scheduler's memory but shares the kernel's list of sources with the
//! parent; going on with it would steal the parent's events. So a handler counts forks, the child's
//! thread forgets its scheduler, and whoever holds one of an older generation is told so.
//!
//! Unsafe: registering the handler with pthread_atfork(3).
#![allow(unsafe_code)]

use std::sync::{
    Once,
    atomic::{AtomicU32, Ordering},
};

use super::current;

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// How many forks lie between the first process and this one, since the first scheduler.
pub(super) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Has forks counted from now on.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler only stores to an atomic and to a thread-local without a destructor,
        // both of which are allowed in the child of a process with several threads.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    current::forget();
}
