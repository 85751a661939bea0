//! What the builder of a scheduler decides.

use std::{fmt, sync::Arc, time::Duration};

use crate::driver::{DEFAULT_SPIN, Kind};

/// What the builder decides.
#[derive(Clone, Debug)]
pub(in crate::coro) struct Settings {
    pub(in crate::coro) driver: Kind,
    pub(in crate::coro) spin: Duration,
    /// How long the end of the scheduler waits for queued messages to leave.
    pub(in crate::coro) drain: Duration,
    /// How long a dropped socket may go on sending what is queued.
    pub(in crate::coro) linger: Duration,
    /// How long a resume may take before the log names the coroutine; `None` for no such look.
    pub(in crate::coro) slow_resume: Option<Duration>,
    pub(in crate::coro) around_waits: Option<AroundWaits>,
}

impl Settings {
    /// Makes the defaults.
    pub(in crate::coro) fn new() -> Settings {
        Settings {
            driver: Kind::from_environment(),
            spin: DEFAULT_SPIN,
            drain: Duration::from_secs(1),
            linger: Duration::from_secs(5),
            slow_resume: None,
            around_waits: None,
        }
    }
}

/// What is called before a scheduler waits, and after, for its embedder.
#[derive(Clone)]
pub(in crate::coro) struct AroundWaits {
    pub(in crate::coro) before: Arc<dyn Fn() + Send + Sync>,
    pub(in crate::coro) after: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for AroundWaits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AroundWaits")
    }
}
