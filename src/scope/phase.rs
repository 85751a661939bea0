//! `Core`: the phase of a scope, without its children; scopes within one another, and how they are
//! found.

use std::{
    cell::{Cell, RefCell},
    future::{self, Future},
    rc::{Rc, Weak},
    sync::Arc,
    time::Instant,
};

use super::nest::Yard;
use crate::sync::local::Event;

thread_local! {
    /// The innermost scope that is being polled on this thread.
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// What a scope and those within it have to know of each other.
pub(super) struct Core {
    /// The earlier of its own and those around it.
    pub(super) deadline: Option<Instant>,
    /// Set once the scope is to end.
    stopping: Event,
    closed: Cell<bool>,
    /// Whether its children are being polled, so that nobody has to be woken.
    pub(super) is_polled: Cell<bool>,
    inner: RefCell<Vec<Weak<Core>>>,
    yard: Arc<Yard>,
}

impl Core {
    /// Makes one within the scope that is being polled.
    pub(super) fn new(deadline: Option<Instant>, yard: &Arc<Yard>) -> Rc<Core> {
        let outer = current();
        let outer_deadline = outer.as_ref().and_then(|outer| outer.deadline);
        let core = Rc::new(Core {
            deadline: deadline.into_iter().chain(outer_deadline).min(),
            stopping: Event::new(),
            closed: Cell::new(false),
            is_polled: Cell::new(false),
            inner: RefCell::default(),
            yard: Arc::clone(yard),
        });
        if let Some(outer) = outer {
            if outer.is_stopping() {
                core.stopping.set();
            }
            let mut inner = outer.inner.borrow_mut();
            if inner.len() == inner.capacity() {
                inner.retain(|inner| inner.strong_count() > 0);
                // If most live, the next look is as many scopes away.
                let living = inner.len();
                inner.reserve(living);
            }
            inner.push(Rc::downgrade(&core));
        }
        core
    }

    /// Begins the soft phase, here and in all scopes within.
    pub(super) fn stop(&self) {
        if self.is_stopping() {
            return;
        }
        self.stopping.set();
        self.yard.wake();
        let inner = self.inner.take();
        inner.iter().filter_map(Weak::upgrade).for_each(|inner| inner.stop());
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_set()
    }

    /// Notes that the scope has ended.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.stop();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Wakes whoever polls the scope, for what was changed from outside.
    pub(super) fn wake(&self) {
        if !self.is_polled.get() {
            self.yard.wake();
        }
    }

    pub(super) fn stopping(self: &Rc<Core>) -> impl Future<Output = ()> + use<> {
        let core = Rc::clone(self);
        async move { core.stopping.wait().await }
    }
}

fn current() -> Option<Rc<Core>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// A guard: while it lives, a scope is the innermost one, and is being polled.
pub(super) struct Entered {
    core: Rc<Core>,
    before: Option<Rc<Core>>,
}

pub(super) fn enter(core: &Rc<Core>) -> Entered {
    core.is_polled.set(true);
    let before = CURRENT.with(|current| current.replace(Some(Rc::clone(core))));
    Entered { core: Rc::clone(core), before }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.core.is_polled.set(false);
        let before = self.before.take();
        let _ = CURRENT.try_with(|current| current.replace(before));
    }
}

/// Tells whether the innermost scope in which this is called is to end ([`Scope::stop`]); `false`
/// outside of all.
///
/// [`Scope::stop`]: super::Scope::stop
pub fn is_stopping() -> bool {
    current().is_some_and(|core| core.is_stopping())
}

/// Waits until the innermost scope in which this is called is to end; for ever outside of all.
///
/// # Example
/// ```
/// use asyncoro::{
///     future::{Winner, race},
///     scope::{scope, stopping},
///     time::sleep,
/// };
/// use std::time::Duration;
///
/// /// Works until it is done, or is to stop.
/// async fn work() -> &'static str {
///     match race(sleep(Duration::from_secs(60)), stopping()).await {
///         Winner::First(()) => "done",
///         Winner::Second(()) => "stopped",
///     }
/// }
///
/// asyncoro::run(async {
///     let worked = scope(async |s| {
///         let worker = s.spawn(work());
///         s.stop();
///         worker.await.unwrap()
///     })
///     .await;
///     assert_eq!(worked, "stopped");
/// });
/// ```
///
/// # Cancel
/// Nothing is lost.
pub fn stopping() -> impl Future<Output = ()> {
    let core = current();
    async move {
        match core {
            Some(core) => core.stopping().await,
            None => future::pending().await,
        }
    }
}
