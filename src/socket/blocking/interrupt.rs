//! What a thread does when a signal interrupts a blocking verb.
//!
//! Nothing, as a rule: the verb goes on waiting. A language whose signal handlers run later, in the
//! thread itself, has to be asked then, and may want the wait to end.

use std::{cell::RefCell, io, ptr, rc::Rc, time::Duration};

use super::BlockingSocket;
use crate::foreign;

type Check = Rc<dyn Fn() -> io::Result<()>>;

thread_local! {
    static CHECK: RefCell<Option<Check>> = const { RefCell::new(None) };
    /// The turns that this thread has, or waits for, below whoever is being asked, by address.
    static BELOW: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// How long a thread that can be interrupted waits for its turn before it asks: a condition
/// variable is not ended by a signal.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

impl BlockingSocket {
    /// Has `check` called whenever a signal interrupts a verb's wait on this thread; an error of
    /// it ends the verb. It replaces the one before.
    ///
    /// `check` may use sockets; a verb on the interrupted one, in the direction that waits, is an
    /// error of kind `Deadlock`.
    ///
    /// A signal that comes between two waits is found at the next one's end. A thread that waits
    /// for its turn asks every 50 ms, since a signal does not end that wait. A panic of `check`
    /// goes to the log and ends the verb with an error.
    ///
    /// ```
    /// use asyncoro::BlockingSocket;
    ///
    /// // SIGINT ends a wait, and the program can end in an orderly way.
    /// BlockingSocket::on_interrupt(|| Err(std::io::ErrorKind::Interrupted.into()));
    /// ```
    pub fn on_interrupt(check: impl Fn() -> io::Result<()> + 'static) {
        let old = CHECK.replace(Some(Rc::new(check)));
        drop(old);
    }
}

/// Asks what this thread has been told to ask, while it has a turn or waits for it.
pub(crate) fn check<T>(turn: &T) -> io::Result<()> {
    struct Above;
    impl Drop for Above {
        fn drop(&mut self) {
            BELOW.with_borrow_mut(|below| below.pop());
        }
    }
    let Some(check) = CHECK.with_borrow(Clone::clone) else { return Ok(()) };
    BELOW.with_borrow_mut(|below| below.push(ptr::from_ref(turn).addr()));
    let _above = Above;
    // An error and no panic, so that a message which has begun to leave is queued whole.
    foreign::contain("the function of on_interrupt", || check())
        .unwrap_or_else(|| Err(io::Error::other("the function of on_interrupt has panicked")))
}

/// Refuses to wait for a turn that this very thread has, or waits for, below: it would do so for
/// ever.
pub(crate) fn refuse_below<T>(turn: &T) -> io::Result<()> {
    let address = ptr::from_ref(turn).addr();
    if BELOW.with_borrow(|below| below.contains(&address)) {
        let text = "this thread is in the middle of a verb in that direction of the socket, whose \
                    wait a signal has interrupted";
        return Err(io::Error::new(io::ErrorKind::Deadlock, text));
    }
    Ok(())
}

/// Whether this thread asks anybody.
pub(crate) fn is_set() -> bool {
    CHECK.with_borrow(Option::is_some)
}
