//! Which signals the threads of this package get: none.
//!
//! Unsafe: the signal mask of a thread.
#![allow(unsafe_code)]

use std::{mem, ptr};

/// Calls `f`, which starts threads that get no signals: CPython would notice one that such a thread
/// handles only when another thread wants the GIL.
pub(crate) fn without_signals<R>(f: impl FnOnce() -> R) -> R {
    struct Before(libc::sigset_t);

    impl Drop for Before {
        fn drop(&mut self) {
            // SAFETY: the set was filled by the call that replaced it.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, ptr::null_mut()) };
        }
    }

    // SAFETY: the sets are plain data, filled before they are used.
    let _before = unsafe {
        let (mut all, mut before) = (mem::zeroed(), mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        Before(before)
    };
    f()
}
