//! The settings that the builder of a scheduler collects.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    coro::batching::BatchSettings,
    driver::{BackendKind, DEFAULT_SPIN},
};

/// The settings of a scheduler.
#[derive(Clone, Debug)]
pub(in crate::coro) struct EngineSettings {
    pub(in crate::coro) driver: BackendKind,
    pub(in crate::coro) spin: Duration,
    pub(in crate::coro) batching: BatchSettings,
    /// How long the end of the scheduler waits until queued messages are sent.
    pub(in crate::coro) drain: Duration,
    /// How long a dropped socket may continue to send what is queued.
    pub(in crate::coro) linger: Duration,
    /// Longest resume before the log names the coroutine; `None` for no such check.
    pub(in crate::coro) slow_resume: Option<Duration>,
    /// Whether it is noted who has spawned whom.
    pub(in crate::coro) keeps_parents: bool,
    pub(in crate::coro) around_waits: Option<Around>,
    pub(in crate::coro) around_queueing: Option<Around>,
}

impl EngineSettings {
    /// Returns the defaults.
    pub(in crate::coro) fn new() -> EngineSettings {
        EngineSettings {
            driver: BackendKind::from_environment(),
            spin: DEFAULT_SPIN,
            batching: BatchSettings::from_environment(),
            drain: Duration::from_secs(1),
            linger: Duration::from_secs(5),
            slow_resume: None,
            keeps_parents: false,
            around_waits: None,
            around_queueing: None,
        }
    }
}

/// The embedder's functions that are called before and after something.
#[derive(Clone)]
pub(in crate::coro) struct Around {
    pub(in crate::coro) before: Arc<dyn Fn() + Send + Sync>,
    pub(in crate::coro) after: Arc<dyn Fn() + Send + Sync>,
}

impl Around {
    pub(in crate::coro) fn new(
        before: impl Fn() + Send + Sync + 'static,
        after: impl Fn() + Send + Sync + 'static,
    ) -> Around {
        Around { before: Arc::new(before), after: Arc::new(after) }
    }
}

impl fmt::Debug for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Around")
    }
}
