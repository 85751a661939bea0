//! Keeps threads away from an interpreter that is ending.
//!
//! Before CPython 3.14 a daemon thread that wants the GIL then is ended by pthread_exit(3), deep
//! under calls of ours: wherever Rust has called Python. That unwinds the stack, which Rust's
//! frames do not allow: it aborts the process, or drops values without the GIL. CPython 3.14 lets
//! such a thread sleep for ever instead, and so does this file:
//!
//! - [`guard`] leaves a function with the thread, which pthread_exit(3) calls before it unwinds
//!   anything, and which sleeps for ever if the interpreter is ending. Every way from a thread into
//!   code of ours that calls Python begins with it.
//! - [`detach`] and [`take_back`] take the GIL back for this package, and do not even try to if the
//!   interpreter is ending.
//!
//! Unsafe: the C library's list of a thread's clean-up functions. An entry is a block of its own
//! on the heap, not in a stack frame, so that the first frame that is left is past it, and it is
//! removed before it is freed.
#![allow(unsafe_code)]

use std::{ffi::c_int, thread};

use pyo3::{ffi, prelude::*};

/// Makes this thread sleep for ever, should CPython end it because the interpreter is ending.
#[inline]
pub(crate) fn guard() {
    cleanup::register();
}

/// Tells whether the interpreter is ending or has ended: no other thread gets the GIL any more.
pub(crate) fn is_ending() -> bool {
    unsafe extern "C" {
        #[cfg_attr(not(Py_3_13), link_name = "_Py_IsFinalizing")]
        fn Py_IsFinalizing() -> c_int;
    }
    // SAFETY: both only read a variable, and need neither the GIL nor an interpreter.
    unsafe { ffi::Py_IsInitialized() == 0 || Py_IsFinalizing() != 0 }
}

/// Sleeps for ever if the interpreter is ending.
fn stay_away() {
    if is_ending() {
        loop {
            thread::park();
        }
    }
}

/// Runs `work` without the GIL.
pub(crate) fn detach<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    guard();
    // Only the thread that ends the interpreter has the GIL then, and gets it again.
    let ends_it = is_ending();
    py.detach(|| {
        let result = work();
        if !ends_it {
            stay_away();
        }
        result
    })
}

/// Takes the GIL again with the thread state that was saved when it was released.
///
/// # Safety
/// This thread has saved `state` when it released the GIL, and restores it once.
pub(crate) unsafe fn take_back(state: *mut ffi::PyThreadState) {
    stay_away();
    // SAFETY: the caller promises it.
    unsafe { ffi::PyEval_RestoreThread(state) };
}

#[cfg(all(target_os = "linux", not(Py_3_14)))]
mod cleanup {
    use std::{
        cell::Cell,
        ffi::{c_int, c_void},
        mem::MaybeUninit,
        ptr,
    };

    /// Room for `struct _pthread_cleanup_buffer`: four words in glibc, three in musl.
    type Entry = MaybeUninit<[*mut c_void; 4]>;

    unsafe extern "C" {
        /// pthread_cleanup_push(3), which is a macro, as the function that it once was.
        fn _pthread_cleanup_push(
            entry: *mut Entry,
            routine: unsafe extern "C" fn(*mut c_void),
            argument: *mut c_void,
        );
        fn _pthread_cleanup_pop(entry: *mut Entry, execute: c_int);
    }

    struct Registered(*mut Entry);

    thread_local! {
        static IS_REGISTERED: Cell<bool> = const { Cell::new(false) };
        static REGISTERED: Registered = Registered::new();
    }

    #[inline]
    pub(super) fn register() {
        if !IS_REGISTERED.get() {
            register_now();
        }
    }

    #[cold]
    fn register_now() {
        IS_REGISTERED.set(true);
        // A thread that is past its end has no need of it.
        let _ = REGISTERED.try_with(|_| ());
    }

    impl Registered {
        fn new() -> Registered {
            let entry = Box::into_raw(Box::new(Entry::uninit()));
            // SAFETY: the entry is ours alone until it is removed.
            unsafe { _pthread_cleanup_push(entry, sleep, ptr::null_mut()) };
            Registered(entry)
        }
    }

    impl Drop for Registered {
        fn drop(&mut self) {
            // SAFETY: this thread has added it, and is at its end: what was added later is gone.
            unsafe {
                _pthread_cleanup_pop(self.0, 0);
                drop(Box::from_raw(self.0));
            }
        }
    }

    unsafe extern "C" fn sleep(_: *mut c_void) {
        crate::exiting::stay_away();
    }
}

#[cfg(not(all(target_os = "linux", not(Py_3_14))))]
mod cleanup {
    pub(super) fn register() {}
}
