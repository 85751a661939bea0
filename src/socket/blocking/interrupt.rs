//! What a thread does when a signal interrupts a blocking verb.
//!
//! Nothing, as a rule: the verb goes on waiting. A language whose signal handlers run later, in the
//! thread itself, has to be asked then, and may want the wait to end.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use super::BlockingSocket;
use crate::foreign;

type Check = Rc<dyn Fn() -> io::Result<()>>;

thread_local! {
    static CHECK: RefCell<Option<Check>> = const { RefCell::new(None) };
}

/// How long a thread that can be interrupted waits for its turn before it asks: a condition
/// variable is not ended by a signal.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

impl BlockingSocket {
    /// Has `check` called whenever a signal interrupts a verb's wait on this thread; an error of
    /// it ends the verb. It replaces the one before.
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

/// Asks what this thread has been told to ask.
pub(crate) fn check() -> io::Result<()> {
    let check = CHECK.with_borrow(Clone::clone);
    let Some(check) = check else { return Ok(()) };
    // An error and no panic, so that a message which has begun to leave is queued whole.
    foreign::contain("the function of on_interrupt", || check())
        .unwrap_or_else(|| Err(io::Error::other("the function of on_interrupt has panicked")))
}

/// Whether this thread asks anybody.
pub(crate) fn is_set() -> bool {
    CHECK.with_borrow(Option::is_some)
}
