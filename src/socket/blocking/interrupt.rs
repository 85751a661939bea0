//! Handles a signal that interrupts a blocking verb.
//!
//! By default the verb continues to wait. A language whose signal handlers run later, in the thread
//! itself, must be called then, and may want the wait to end.

use std::{cell::RefCell, io, ptr, rc::Rc, time::Duration};

use crate::foreign;

type Check = Rc<dyn Fn() -> io::Result<()>>;

thread_local! {
    static CHECK: RefCell<Option<Check>> = const { RefCell::new(None) };
    /// Addresses of the locks that this thread has or waits for while its check runs.
    static BELOW: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Longest wait for a lock between two calls of the check: a signal does not end the wait of a
/// condition variable.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

/// Sets the check of this thread; it replaces an earlier one.
pub(crate) fn set(check: impl Fn() -> io::Result<()> + 'static) {
    let old = CHECK.replace(Some(Rc::new(check)));
    drop(old);
}

/// Calls the check of this thread, which has the lock or waits for it.
pub(crate) fn check<T>(lock: &T) -> io::Result<()> {
    struct Above;
    impl Drop for Above {
        fn drop(&mut self) {
            BELOW.with_borrow_mut(|below| below.pop());
        }
    }
    let Some(check) = CHECK.with_borrow(Clone::clone) else { return Ok(()) };
    BELOW.with_borrow_mut(|below| below.push(ptr::from_ref(lock).addr()));
    let _above = Above;
    // An error, not a panic, so that the rest of a message that was sent in part is queued.
    foreign::contain("the function of on_interrupt", || check())
        .unwrap_or_else(|| Err(io::Error::other("the function of on_interrupt has panicked")))
}

/// Refuses to wait for a lock that this thread itself has or waits for, since the wait would never
/// end.
pub(crate) fn refuse_below<T>(lock: &T) -> io::Result<()> {
    let address = ptr::from_ref(lock).addr();
    if BELOW.with_borrow(|below| below.contains(&address)) {
        let text = "this thread is in the middle of a verb in that direction of the socket, whose \
                    wait a signal has interrupted";
        return Err(io::Error::new(io::ErrorKind::Deadlock, text));
    }
    Ok(())
}

/// Tells whether this thread has a check.
pub(crate) fn is_set() -> bool {
    CHECK.with_borrow(Option::is_some)
}
