//! What a thread does when a signal interrupts a blocking verb.
//!
//! Nothing, as a rule: the verb goes on waiting. A language whose signal handlers run later, in the
//! thread itself, has to be asked then, and may want the wait to end.

use std::{cell::RefCell, io, ptr, rc::Rc, time::Duration};

use crate::foreign;

type Check = Rc<dyn Fn() -> io::Result<()>>;

thread_local! {
    static CHECK: RefCell<Option<Check>> = const { RefCell::new(None) };
    /// The locks that this thread has, or waits for, below whoever is being asked, by address.
    static BELOW: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// How long a thread that can be interrupted waits for a lock before it asks: a condition
/// variable is not ended by a signal.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

/// Asks `check` from now on; it replaces the one before.
pub(crate) fn set(check: impl Fn() -> io::Result<()> + 'static) {
    let old = CHECK.replace(Some(Rc::new(check)));
    drop(old);
}

/// Asks what this thread has been told to ask, while it has a lock or waits for it.
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
    // An error and no panic, so that a message which has begun to leave is queued whole.
    foreign::contain("the function of on_interrupt", || check())
        .unwrap_or_else(|| Err(io::Error::other("the function of on_interrupt has panicked")))
}

/// Refuses to wait for a lock that this very thread has, or waits for, below: it would do so for
/// ever.
pub(crate) fn refuse_below<T>(lock: &T) -> io::Result<()> {
    let address = ptr::from_ref(lock).addr();
    if BELOW.with_borrow(|below| below.contains(&address)) {
        let text = "this thread is in the middle of a verb in that direction of the socket, whose \
                    wait a signal has interrupted";
        return Err(io::Error::new(io::ErrorKind::Deadlock, text));
    }
    Ok(())
}

/// Tells whether this thread asks anybody.
pub(crate) fn is_set() -> bool {
    CHECK.with_borrow(Option::is_some)
}
